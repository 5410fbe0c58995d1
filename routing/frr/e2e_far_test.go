package frr

import (
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// TestE2EFar has a router several hops away, spoken to from an address that is
// not the wire's. Local preference stays at home.
func TestE2EFar(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.StartFar("")
	s := e2eSpeaker(t, runDir(t))
	want := wantBGP("203.0.113.10/32")
	want.Prefixes[0].LocalPreference = 300
	want.Peers = []routing.Peer{{Name: "far", Address: addr(routingtest.FarRouter), ASN: routingtest.Peer, LocalAddress: addr(routingtest.FarNode), Multihop: 3}}
	keep(t, l, s, want)
	l.Eventually("established", func() bool { return s.Peers()["far"].State == "established" })
	l.Eventually("route", func() bool { return l.HasRoute("203.0.113.10") })
	said := l.Ask("show bgp ipv4 unicast 203.0.113.10/32 json")
	if !strings.Contains(said, `"peerId":"`+routingtest.FarNode+`"`) || strings.Contains(said, "locPrf") {
		t.Errorf("the router has\n%s", said)
	}
}

// TestE2EInternal has a router of our own ASN: local preference counts, and is
// changed without the session lost.
func TestE2EInternal(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.Start(" neighbor 10.77.30.1 remote-as 65000\n")
	s := e2eSpeaker(t, runDir(t))
	want := wantBGP("203.0.113.10/32", "203.0.113.11/32")
	want.ASN, want.Peers, want.Prefixes[0].LocalPreference = routingtest.Peer, want.Peers[:1], 300
	keep(t, l, s, want)
	for address, preference := range map[string]string{"203.0.113.10/32": `"locPrf":300`, "203.0.113.11/32": `"locPrf":100`} {
		l.Eventually(preference, func() bool {
			return strings.Contains(l.Ask("show bgp ipv4 unicast "+address+" json"), preference)
		})
	}
	before := l.Established(routingtest.Node, func() bool { return s.Peers()["edge"].State == "established" })
	want.Peers = slices.Clone(want.Peers)
	want.Peers[0].Export.LocalPreference = 222
	keep(t, l, s, want)
	l.Eventually("222", func() bool {
		return strings.Contains(l.Ask("show bgp ipv4 unicast 203.0.113.11/32 json"), `"locPrf":222`)
	})
	if now := l.Establishments(routingtest.Node); now != before {
		t.Errorf("the session was touched: established %v times, then %v", before, now)
	}
}
