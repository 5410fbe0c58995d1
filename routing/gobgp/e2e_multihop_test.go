package gobgp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// TestE2EMultihop speaks to a router's address that is not on the wire, from one
// of the node's that is not there either, with a hold time of its own. Local
// preference stays at home, nothing that the router says comes into the kernel, and
// when that session is made anew, one that is left alone stays.
func TestE2EMultihop(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.StartFar(` neighbor 10.77.30.1 remote-as 65010
 address-family ipv4 unicast
  network 198.18.0.0/24
 exit-address-family
`)
	s := e2eSpeaker(t, Options{})
	p := prefix("203.0.113.10/32")
	p.LocalPreference = 300
	c := wanted(p)
	far := routing.Peer{Name: "far", Address: netip.MustParseAddr(routingtest.FarRouter), ASN: routingtest.Peer,
		LocalAddress: netip.MustParseAddr(routingtest.FarNode), HoldTime: 6 * time.Second, Multihop: 3}
	c.Peers = append(c.Peers, far)
	set(t, s, c)
	established(t, l, s, "edge")
	t.Logf("established beyond the wire after %s", established(t, l, s, "far"))
	neighbor := func(address string) string { return l.Ask("show bgp neighbors " + address + " json") }
	for address, want := range map[string]string{routingtest.FarNode: `"bgpTimerHoldTimeMsecs":6000`, routingtest.Node: `"bgpTimerHoldTimeMsecs":9000`} {
		if said := neighbor(address); !strings.Contains(said, want) {
			t.Errorf("no %s at neighbor %s:\n%s", want, address, said)
		}
	}
	for _, address := range []string{routingtest.FarNode, routingtest.Node} {
		l.Eventually("the router says its prefix", func() bool {
			return strings.Contains(l.Ask("show bgp ipv4 unicast neighbors "+address+" advertised-routes json"), "198.18.0.0/24")
		})
		l.Eventually("the prefix by "+address, func() bool {
			return strings.Contains(l.Ask("show bgp ipv4 unicast neighbors "+address+" routes json"), "203.0.113.10/32")
		})
	}
	if routes := routingtest.Run(t, "ip route show 198.18.0.0/24"); routes != "" {
		t.Errorf("the router's prefix came into the kernel: %s", routes)
	}

	said := l.Ask("show bgp ipv4 unicast 203.0.113.10/32 json")
	if !strings.Contains(said, `"peerId":"`+routingtest.FarNode+`"`) || strings.Contains(said, "locPrf") {
		t.Errorf("the router has\n%s", said)
	}

	edge, before := l.Established(routingtest.Node, s.stands("edge")), l.Established(routingtest.FarNode, s.stands("far"))
	far.Multihop = 2
	c.Peers = []routing.Peer{c.Peers[0], far}
	set(t, s, c)
	took := l.Eventually("established anew", func() bool { return l.Establishments(routingtest.FarNode) > before && s.stands("far")() })
	t.Logf("established anew after %s", took)
	if now := l.Establishments(routingtest.Node); now != edge || !s.stands("edge")() {
		t.Errorf("the other session was touched: established %d times, then %d; %+v", edge, now, s.Peers())
	}
}
