package gobgp

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// TestE2EExport changes what is added for a peer, and a path to a standby's
// and back; the session stays.
func TestE2EExport(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.Start(families)
	s := e2eSpeaker(t, Options{})
	med := uint32(100)
	p := prefix("203.0.113.10/32")
	p.Standby = &routing.Standby{MED: &med, Prepend: 2}
	six := prefix("2001:db8::10/128")
	c := wanted(p, six)
	set(t, s, c)
	established(t, l, s, "edge")
	sees := func(prefix string, words ...string) {
		t.Helper()
		took := l.Eventually(strings.Join(words, " "), func() bool {
			said := l.Ask("show bgp " + prefix + " json")
			for _, word := range words {
				if !strings.Contains(said, word) {
					return false
				}
			}
			return true
		})
		t.Logf("%s: %v after %s", prefix, words, took)
	}
	add := func(e routing.Export) {
		t.Helper()
		peer := c.Peers[0]
		peer.Export = e
		c.Peers = []routing.Peer{peer}
		set(t, s, c)
	}
	before := l.Established(routingtest.Node, s.stands("edge"))
	add(routing.Export{MED: 7, Prepend: 1, Communities: []string{"65010:1", "65010:2:3"}})
	sees("ipv4 unicast 203.0.113.10/32", `"metric":7`, `"string":"65010 65010"`, "65010:1", "65010:2:3")
	sees("ipv6 unicast 2001:db8::10/128", `"metric":7`, routingtest.Node6)
	c.Prefixes[0] = p.AsStandby()
	set(t, s, c)
	sees("ipv4 unicast 203.0.113.10/32", `"metric":107`, `"string":"65010 65010 65010 65010"`)
	add(routing.Export{})
	sees("ipv4 unicast 203.0.113.10/32", `"metric":100`, `"string":"65010 65010 65010"`)
	if now := l.Establishments(routingtest.Node); now != before {
		t.Errorf("the session was touched: established %d times, then %d", before, now)
	}
}

// TestE2EInternal has a router of our own ASN: local preference counts.
func TestE2EInternal(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.Start(" neighbor 10.77.30.1 remote-as 65000\n")
	s := e2eSpeaker(t, Options{})
	p, q := prefix("203.0.113.10/32"), prefix("203.0.113.11/32")
	p.LocalPreference = 300
	c := wanted(p, q)
	c.ASN = routingtest.Peer
	set(t, s, c)
	established(t, l, s, "edge")
	for address, want := range map[string]string{"203.0.113.10/32": `"locPrf":300`, "203.0.113.11/32": `"locPrf":100`} {
		l.Eventually(want, func() bool { return strings.Contains(l.Ask("show bgp ipv4 unicast "+address+" json"), want) })
	}
	c.Peers[0].Export.LocalPreference = 222
	c.Peers = append([]routing.Peer(nil), c.Peers...)
	set(t, s, c)
	l.Eventually("222", func() bool {
		return strings.Contains(l.Ask("show bgp ipv4 unicast 203.0.113.11/32 json"), `"locPrf":222`)
	})
}

// TestE2EManyPrefixes measures 10,000 prefixes until the router has them all.
func TestE2EManyPrefixes(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.Start(" neighbor 10.77.30.1 remote-as 65010\n")
	s := e2eSpeaker(t, Options{})
	c := wanted()
	set(t, s, c)
	established(t, l, s, "edge")
	for i := range 10000 {
		a := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		c.Prefixes = append(c.Prefixes, routing.Prefix{Prefix: netip.PrefixFrom(a, 32)})
	}
	count := func() int {
		var summary struct {
			IPv4 struct {
				Peers map[string]struct{ PfxRcd int }
			} `json:"ipv4Unicast"`
		}
		_ = json.Unmarshal([]byte(l.Ask("show bgp summary json")), &summary)
		return summary.IPv4.Peers[routingtest.Node].PfxRcd
	}
	began := time.Now()
	set(t, s, c)
	l.Eventually("10,000 prefixes", func() bool { return count() == 10000 })
	t.Logf("10,000 prefixes at the router after %s", time.Since(began).Round(time.Millisecond))
	c.Prefixes = nil
	began = time.Now()
	set(t, s, c)
	l.Eventually("none", func() bool { return count() == 0 })
	t.Logf("10,000 withdrawn after %s", time.Since(began).Round(time.Millisecond))
}
