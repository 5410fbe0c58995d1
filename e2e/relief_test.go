package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// hears has the router speak to a node, or not.
func (f *fleet) hears(n *lab.Node, yes bool) {
	f.t.Helper()
	line := "neighbor " + n.Address + " shutdown"
	if yes {
		line = "no " + line
	}
	_, err := f.Router.Run(f.ctx, "vtysh", "-d", "bgpd", "-c", "configure terminal", "-c", fmt.Sprintf("router bgp %d", lab.RouterASN), "-c", line)
	f.must(err)
}

// A VIP that does not preempt leaves a node that no router hears, stays where it
// has gone, and is always held by one node where routers hear none.
func TestReliefWithoutPreemption(t *testing.T) {
	f := start(t, todoService)
	f.redeclare(todoService, "preempt_delay: 1s", "preempt: false")
	t.Cleanup(func() { f.hears(f.LB1, true); f.hears(f.LB2, true) })
	f.todo(f.App1, "web-1")
	f.must(f.LB1.StartVipilot(f.ctx))
	f.awaitMaster(f.LB1) // who comes second does not preempt
	f.must(f.LB2.StartVipilot(f.ctx))
	f.ready(f.LB2)
	role := func(n *lab.Node, want string) {
		t.Helper()
		f.awaitStatus(n, want, 20*time.Second, func(r status.Report) error {
			if got := r.VIPs["public"].Role; got != want {
				return fmt.Errorf("%s of public, want %s", got, want)
			}
			return nil
		})
	}
	f.hears(f.LB1, false)
	t.Logf("lb1 is heard no more: route to lb2 after %s", f.awaitMaster(f.LB2))
	role(f.LB1, "backup")
	f.hears(f.LB1, true)
	f.awaitStatus(f.LB1, "heard again", 30*time.Second, func(r status.Report) error {
		if r.Components.Speaker.Deaf || r.Components.Speaker.Peers["edge"].State != "established" {
			return fmt.Errorf("speaker %+v", r.Components.Speaker)
		}
		return nil
	})
	f.awaitMaster(f.LB2)

	f.hears(f.LB1, false)
	f.hears(f.LB2, false)
	for _, n := range f.Nodes() {
		f.awaitStatus(n, "deaf", 20*time.Second, func(r status.Report) error {
			if !r.Components.Speaker.Deaf {
				return fmt.Errorf("speaker %+v", r.Components.Speaker)
			}
			return nil
		})
	}
	f.steady(3 * time.Second)
	holders := 0
	for _, n := range f.Nodes() {
		r, err := n.Status(f.ctx)
		f.must(err)
		if r.VIPs["public"].Role == "master" {
			holders++
		}
	}
	if holders != 1 {
		t.Errorf("%d nodes hold the VIP while routers hear none", holders)
	}
}
