package gobgp

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// TestE2EMultihop speaks to a router's loopback address from an address of its
// own choice, with a hold time of its own, takes nothing that the router says into the
// kernel, and meanwhile a session that is left alone stays.
func TestE2EMultihop(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	const far, own = "10.77.31.1", "10.77.30.7"
	routingtest.Run(t, "ip addr add "+own+"/24 dev eth0")
	routingtest.Run(t, "ip route add "+far+"/32 via "+routingtest.Router)
	l.Start(` neighbor 10.77.30.1 remote-as 65010
 neighbor 10.77.30.7 remote-as 65010
 neighbor 10.77.30.7 ebgp-multihop 3
 neighbor 10.77.30.7 update-source 10.77.31.1
 address-family ipv4 unicast
  network 198.18.0.0/24
 exit-address-family
`)
	if out, err := exec.Command("ip", "-n", "vipilot-routing-b", "addr", "add", far+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := e2eSpeaker(t, Options{})
	c := wanted(prefix("203.0.113.10/32"))
	loopback := routing.Peer{Name: "far", Address: netip.MustParseAddr(far), ASN: routingtest.Peer, LocalAddress: netip.MustParseAddr(own), HoldTime: 6 * time.Second, Multihop: 3}
	c.Peers = append(c.Peers, loopback)
	set(t, s, c)
	established(t, l, s, "edge")
	t.Logf("established over two hops after %s", established(t, l, s, "far"))
	neighbor := func(address string) string { return l.Ask("show bgp neighbors " + address + " json") }
	for address, want := range map[string]string{own: `"bgpTimerHoldTimeMsecs":6000`, routingtest.Node: `"bgpTimerHoldTimeMsecs":9000`} {
		if said := neighbor(address); !strings.Contains(said, want) {
			t.Errorf("no %s at neighbor %s:\n%s", want, address, said)
		}
	}
	for _, address := range []string{own, routingtest.Node} {
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

	before := l.Establishments(routingtest.Node)
	c.Peers = []routing.Peer{c.Peers[0], loopback}
	c.Peers[1].Multihop = 0
	set(t, s, c)
	l.Eventually("one hop does not reach it", func() bool { return s.Peers()["far"].State != "established" })
	if now := l.Establishments(routingtest.Node); now != before || s.Peers()["edge"].State != "established" {
		t.Errorf("the other session was touched: established %d times, then %d; %+v", before, now, s.Peers())
	}
	c.Peers = []routing.Peer{c.Peers[0], loopback}
	set(t, s, c)
	t.Logf("established again after %s", established(t, l, s, "far"))
}
