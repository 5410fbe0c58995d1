package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// redeclare replaces a part of the fleet's configuration.
func (f *fleet) redeclare(services string, pairs ...string) {
	f.t.Helper()
	files := f.FleetConfig()
	files["services.yaml"] = services
	fleet := files["fleet.yaml"]
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(fleet, pairs[i]) {
			f.t.Fatalf("the fleet has no %q:\n%s", pairs[i], fleet)
		}
		fleet = strings.Replace(fleet, pairs[i], pairs[i+1], 1)
	}
	files["fleet.yaml"] = fleet
	f.must(f.WriteConfig(files))
}

// routed says whether the router's kernel sends the VIP to exactly that node.
func (f *fleet) routedTo(protocol string, n *lab.Node) func() error {
	return func() error { return f.Router.Leads(f.ctx, protocol, lab.VIP, n) }
}

// The classic pair announcing public addresses by OSPF (scenario 5): the
// router follows the election, and HAProxy's death.
func TestOSPFFollowsTheMaster(t *testing.T) {
	f := start(t, todoService)
	f.redeclare(todoService, "protocols: [bgp]", "protocols: [ospf]",
		"routing:\n", "routing:\n  ospf: {interfaces: [eth0], hello_interval: 1s, dead_interval: 4s, network: broadcast}\n")
	ospfd, err := f.Router.StartOSPF(f.ctx)
	f.must(err)
	t.Cleanup(ospfd.Kill)
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	f.boot()
	f.await("route to lb1", f.routedTo("ospf", f.LB1))
	f.awaitStatus(f.LB1, "announced, neighbors full", func(r status.Report) error {
		if len(r.VIPs["public"].Announced) != 1 {
			return fmt.Errorf("public %+v", r.VIPs["public"])
		}
		return lab.HearsRouter(r)
	})
	f.awaitStatus(f.LB2, "neighbors full", lab.HearsRouter)
	report, err := f.LB1.Status(f.ctx)
	f.must(err)
	f.LB1.KillController()
	f.must(f.LB1.Signal(f.ctx, "KILL", report.Components.HAProxy.PID))
	t.Logf("HAProxy of the master killed, its controller dead: route to lb2 after %s", f.await("route to lb2", f.routedTo("ospf", f.LB2)))
	f.steady(time.Second)
}

// A node of an anycast pair loses power: BFD tells the router long before the
// hold time does (scenario 6).
func TestBFDFindsADeadNode(t *testing.T) {
	services := strings.Replace(todoService, "vip: public", "vip: any", 1)
	f := start(t, services)
	f.redeclare(services, "hold_time: 3s", "hold_time: 9s, bfd: {interval: 100ms, multiplier: 3}",
		"vips:\n", "vips:\n  any: {addresses: [203.0.113.53], ha: anycast, announce: {protocols: [bgp]}}\n")
	undo, err := f.Router.GuardPeers(f.ctx)
	f.must(err)
	t.Cleanup(undo)
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	f.boot()
	f.await("two equal routes", func() error { return f.routed("203.0.113.53/32", f.LB1.Address, f.LB2.Address) })
	for _, n := range f.Nodes() {
		f.awaitStatus(n, "BFD up", func(r status.Report) error {
			if p := r.Components.Speaker.Peers["edge"]; p.BFD != "up" {
				return fmt.Errorf("peer %+v, frr %+v", p, r.Components.FRR)
			}
			return nil
		})
	}
	f.must(f.Cut(f.ctx, f.LB1.Host)) // the router's port stays up: only silence tells
	gone := f.await("route by lb2 alone", func() error { return f.routed("203.0.113.53/32", f.LB2.Address) })
	session, err := f.Router.Session(f.ctx, f.LB1.Address)
	f.must(err)
	t.Logf("node cut off: route gone after %s (%s)", gone.Round(time.Millisecond), session.LastReset)
	if !strings.Contains(session.LastReset, "BFD") { // but the hold timer
		t.Errorf("BFD did not tell: %+v", session)
	}
}
