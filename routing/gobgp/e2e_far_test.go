package gobgp

import (
	"net/netip"
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
	l.StartFar()
	s := e2eSpeaker(t, Options{})
	p := prefix("203.0.113.10/32")
	p.LocalPreference = 300
	c := wanted(p)
	c.Peers = []routing.Peer{{Name: "far", Address: netip.MustParseAddr(routingtest.FarRouter), ASN: routingtest.Peer,
		LocalAddress: netip.MustParseAddr(routingtest.FarNode), Multihop: 3}}
	set(t, s, c)
	l.Eventually("established", func() bool { return s.Peers()["far"].State == "established" })
	l.Eventually("route", func() bool { return l.HasRoute("203.0.113.10") })
	said := l.Ask("show bgp ipv4 unicast 203.0.113.10/32 json")
	if !strings.Contains(said, `"peerId":"`+routingtest.FarNode+`"`) || strings.Contains(said, "locPrf") {
		t.Errorf("the router has\n%s", said)
	}
}
