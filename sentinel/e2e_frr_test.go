package sentinel

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// newFRRBench is a bench whose sentinel may start FRR, with a router of these daemons.
func newFRRBench(t *testing.T, router map[string]string) *bench {
	t.Helper()
	l := routingtest.Enter(t)
	if l == nil {
		return nil
	}
	l.StartDaemons(router)
	dir, err := os.MkdirTemp("/run", "vipilot-sentinel-") // FRR's user must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bench{Lab: l, t: t, dir: dir}
	b.startHAProxy()
	t.Cleanup(func() {
		b.end()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("sentinel's log:\n%s", log)
		}
		if left := routingtest.Run(t, "ps ax"); strings.Contains(left, dir+"/frr") {
			t.Errorf("left running:\n%s", left)
		}
	})
	b.connect()
	return b
}

// end ends the sentinel, and FRR with it. One that a test has killed, or that its
// dead man's switch has, leaves FRR to the next one, which is started for that.
func (b *bench) end() {
	b.connect()
	defer b.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for b.orders.TrackFile != "" { // it was given any
		_, err := b.client.Set(ctx, b.orders)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			b.t.Errorf("the sentinel that is to end FRR: %v", err)
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := b.client.Close(ctx); err != nil {
		b.t.Errorf("end the sentinel: %v", err)
	}
}

// TestE2EFRRGate: the gate before FRR holds without a controller.
func TestE2EFRRGate(t *testing.T) {
	b := newFRRBench(t, map[string]string{"ospfd": "interface eth0\n ip ospf area 0\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n ip ospf network point-to-point\nrouter ospf\n ospf router-id " +
		routingtest.Router + "\n timers throttle spf 0 50 200\n timers lsa min-arrival 0\n"})
	if b == nil {
		return
	}
	l := b.Lab
	want := remote.Want{Gate: b.gate, TrackFile: filepath.Join(b.dir, "track"), Routing: routing.Config{OSPF: &routing.OSPF{
		RouterID: netip.MustParseAddr(routingtest.Node), Area: netip.MustParseAddr("0.0.0.0"), HelloInterval: time.Second, DeadInterval: 4 * time.Second,
		Interfaces: []routing.OSPFInterface{{Name: "eth0"}}, Prefixes: []routing.Prefix{{Prefix: netip.MustParsePrefix(vip + "/32"), VIP: "v", WhileHeld: true}},
	}}}
	b.set(want)
	routed := func() bool { return l.HasRouteBy("ospf", vip) }
	routingtest.Run(t, "ip addr add "+vip+"/32 dev eth0")
	l.Eventually("route", routed)
	t.Cleanup(func() { s, _ := b.client.State(); t.Logf("state: %+v", s) })
	b.state("what FRR does", func(s remote.State) bool {
		return len(s.Announced) == 1 && len(s.Neighbors) == 1 && s.FRR["ospfd"].PID > 0
	})
	b.cancel() // the controller is dead from here on
	routingtest.Run(t, "ip addr del "+vip+"/32 dev eth0")
	t.Logf("election lost: no route after %s", l.Eventually("no route", func() bool { return !routed() }))
	routingtest.Run(t, "ip addr add "+vip+"/32 dev eth0")
	t.Logf("election won: route after %s", l.Eventually("route", routed))
	routingtest.Kill(t, b.client.Status().PID, syscall.SIGKILL)
	t.Logf("sentinel dead: no route after %s", l.Eventually("no route", func() bool { return !routed() }))
	b.connect()
	b.set(want)
	t.Logf("another sentinel: route after %s", l.Eventually("route", routed))
	b.cancel()
	routingtest.Kill(t, b.gate.PID, syscall.SIGKILL)
	t.Logf("HAProxy dead: no route after %s", l.Eventually("no route", func() bool { return !routed() }))
}

// TestE2EBFDBesideGoBGP: the router watches GoBGP's session with our bfdd.
func TestE2EBFDBesideGoBGP(t *testing.T) {
	b := newFRRBench(t, map[string]string{"bfdd": "bfd\n", "bgpd": `router bgp 65000
 bgp router-id 10.77.30.2
 no bgp ebgp-requires-policy
 neighbor 10.77.30.1 remote-as 65010
 neighbor 10.77.30.1 ttl-security hops 1
 neighbor 10.77.30.1 bfd 3 300 300
`})
	if b == nil {
		return
	}
	l := b.Lab
	want := b.want()
	want.Routing.Peers[0].BFD = routing.BFD{Interval: 300 * time.Millisecond, Multiplier: 3}
	want.Routing.Peers[0].TTLSecurity = true
	b.set(want)
	t.Cleanup(func() {
		s, _ := b.client.State()
		t.Logf("state: %+v\n%s", s, l.Ask("show bfd peers"))
	})
	l.Eventually("route", func() bool { return l.HasRoute(fixed) })
	var state remote.State
	took := l.Eventually("BFD up", func() bool {
		state, _ = b.client.State()
		return state.Peers["edge"].BFD == "up" && state.FRR["bfdd"].PID > 0 && strings.Contains(l.Ask("show bfd peers json"), `"status":"up"`)
	})
	t.Logf("BFD up after %s", took)
	for _, pid := range []int{state.FRR["bfdd"].PID, state.PID} { // the node hangs; its wire stays
		routingtest.Kill(t, pid, syscall.SIGSTOP)
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	}
	t.Logf("node silent: no route after %s", l.Eventually("no route", func() bool { return !l.HasRoute(fixed) }))
}
