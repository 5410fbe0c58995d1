package frr

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

func routerBGP(extra string) map[string]string {
	return map[string]string{
		"bgpd": "router bgp " + fmt.Sprint(routingtest.Peer) + "\n bgp router-id " + routingtest.Router + `
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 3 9
 neighbor 10.77.30.1 remote-as 65010
 neighbor 2001:db8:30::1 remote-as 65010
` + extra + ` address-family ipv4 unicast
  network 198.18.7.0/24
 address-family ipv6 unicast
  neighbor 2001:db8:30::1 activate
  neighbor 10.77.30.1 activate
`, "bfdd": "bfd\n",
	}
}

func wantBGP(prefixes ...string) routing.Config {
	return routing.Config{
		ASN: routingtest.ASN, RouterID: addr(routingtest.Node), ViaFRR: true,
		Peers: []routing.Peer{
			{Name: "edge", Address: addr(routingtest.Router), ASN: routingtest.Peer, LocalAddress: addr(routingtest.Node)},
			{Name: "six", Address: addr(routingtest.Router6), ASN: routingtest.Peer, LocalAddress: addr(routingtest.Node6)},
		},
		Prefixes: pfx(prefixes...),
	}
}

func TestE2EBGP(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.StartDaemons(routerBGP(""))
	s := e2eSpeaker(t, runDir(t))
	med := uint32(77)
	want := wantBGP("203.0.113.10/32", "203.0.113.11/32", "2001:db8::10/128")
	want.Prefixes[0].MED, want.Prefixes[0].Prepend, want.Prefixes[0].Communities = &med, 2, []string{"65010:100", "65010:1:2"}
	keep(t, l, s, want)
	stands := func(peer string) func() bool {
		return func() bool { return s.Peers()[peer].State == "established" }
	}
	up := func() bool { return stands("edge")() && stands("six")() }
	t.Logf("established after %s", l.Eventually("established", up))
	for _, p := range []string{"203.0.113.10", "203.0.113.11", "2001:db8::10"} {
		l.Eventually(p, func() bool { return l.HasRoute(p) })
	}
	seen := l.Ask("show bgp ipv4 unicast 203.0.113.10/32 json")
	for _, want := range []string{"65010:100", "65010:1:2", `"metric":77`, "65010 65010 65010"} {
		if !strings.Contains(seen, want) {
			t.Errorf("the router does not see %s:\n%s", want, seen)
		}
	}
	if learned := routingtest.Run(t, "ip route show proto bgp"); learned != "" {
		t.Errorf("the node learned %q", learned)
	}
	edge, six := l.Established(routingtest.Node, stands("edge")), l.Established(routingtest.Node6, stands("six"))
	// An attribute, a prefix, what is added for a peer: no session is touched.
	low := uint32(5)
	want.Prefixes = pfx("203.0.113.10/32", "2001:db8::10/128")
	want.Prefixes[0].MED = &low
	want.Peers = slices.Clone(want.Peers)
	want.Peers[0].Export = routing.Export{Prepend: 1, MED: 10, Communities: []string{"65010:7"}}
	keep(t, l, s, want)
	took := l.Eventually("new attributes", func() bool {
		seen := l.Ask("show bgp ipv4 unicast 203.0.113.10/32 json")
		return strings.Contains(seen, `"metric":15`) && strings.Contains(seen, "65010:7") && !l.HasRoute("203.0.113.11")
	})
	t.Logf("changed attributes seen after %s; uptime unbroken: edge %v, six %v", took, l.Establishments(routingtest.Node), l.Establishments(routingtest.Node6))
	if l.Establishments(routingtest.Node) != edge || l.Establishments(routingtest.Node6) != six {
		t.Error("a session was touched")
	}
	// Another hold time: that session starts anew, the other does not.
	want.Peers = slices.Clone(want.Peers) // what Set was given is not ours to change
	want.Peers[1].HoldTime = 12 * time.Second
	keep(t, l, s, want)
	took = l.Eventually("six again", func() bool { return l.Establishments(routingtest.Node6) > six && up() })
	t.Logf("another hold time: that session again after %s", took)
	if l.Establishments(routingtest.Node) != edge {
		t.Error("edge was touched")
	}
	// The next bgpd comes with the next Set: until then the route is gone, and from
	// then on, until that one is heard, it says so.
	routingtest.Kill(t, pidOf(t, s, "bgpd"), syscall.SIGKILL)
	t.Logf("bgpd killed: gone after %s", l.Eventually("the route goes", func() bool { return !l.HasRoute("203.0.113.10") }))
	mute := func() bool { bgp, _ := s.Mute(); return bgp }
	l.Eventually("it says so", func() bool { _, _ = s.Set(t.Context(), want); return mute() })
	follow(t, s, func() routing.Config { return want })
	t.Logf("back after %s", l.Eventually("back", func() bool { return l.HasRoute("203.0.113.10") && l.HasRoute("2001:db8::10") && !mute() }))
}

func TestE2EBGPSecurity(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.StartDaemons(routerBGP(" neighbor 10.77.30.1 password secret\n neighbor 10.77.30.1 ttl-security hops 1\n"))
	s := e2eSpeaker(t, runDir(t))
	want := wantBGP("203.0.113.10/32")
	want.Peers = want.Peers[:1]
	fault := func(text string, change func(*routing.Peer)) {
		t.Helper()
		p := want.Peers[0]
		change(&p)
		want.Peers = []routing.Peer{p}
		keep(t, l, s, want)
		took := l.Eventually(text, func() bool {
			p := s.Peers()["edge"]
			return p.State != "" && strings.Contains(p.Error+p.State, text)
		})
		t.Logf("%+v after %s", s.Peers()["edge"], took)
	}
	fault("password_file", func(p *routing.Peer) { p.Password, p.TTLSecurity = "wrong", true })
	fault("ttl_security", func(p *routing.Peer) { p.Password, p.TTLSecurity = "secret", false })
	fault("established", func(p *routing.Peer) { p.TTLSecurity = true })
	fault("ASN", func(p *routing.Peer) { p.ASN = 65001 })
}

// TestE2EBFD has the wire cut in silence: the router is to notice by BFD.
func TestE2EBFD(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	lines := ""
	for _, node := range []string{routingtest.Node, routingtest.Node6} {
		lines += " neighbor " + node + " bfd 3 300 300\n neighbor " + node + " timers 100 300\n"
	}
	l.StartDaemons(routerBGP(lines))
	s := e2eSpeaker(t, runDir(t))
	want := wantBGP("203.0.113.10/32")
	for i := range want.Peers {
		want.Peers[i].BFD = routing.BFD{Interval: 300 * time.Millisecond, Multiplier: 3}
		want.Peers[i].HoldTime = 5 * time.Minute // longer than anybody waits here
	}
	keep(t, l, s, want)
	l.Eventually("route and BFD", func() bool { // at the router as well, which is to miss it
		p := s.Peers()
		return p["edge"].State == "established" && p["six"].State == "established" && p["edge"].BFD == "up" && p["six"].BFD == "up" &&
			strings.Count(l.Ask("show bfd peers json"), `"status":"up"`) == 2 && l.HasRoute("203.0.113.10")
	})
	t.Logf("peers: %+v", s.Peers())
	stopped := make(map[string]int)
	for _, name := range []string{"bfdd", "bgpd"} { // a node that hangs: the wire stays, nothing is said
		stopped[name] = pidOf(t, s, name)
		routingtest.Kill(t, stopped[name], syscall.SIGSTOP)
		t.Cleanup(func() { _ = syscall.Kill(stopped[name], syscall.SIGCONT) })
	}
	took := l.Eventually("no route", func() bool { return !l.HasRoute("203.0.113.10") })
	t.Logf("node silent: route gone after %s", took)
	for _, name := range []string{"bfdd", "bgpd"} {
		_ = syscall.Kill(stopped[name], syscall.SIGCONT)
	}
	t.Logf("node back: route after %s", l.Eventually("route", func() bool { return l.HasRoute("203.0.113.10") }))
}
