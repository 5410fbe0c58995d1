package gobgp

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

const families = ` neighbor 10.77.30.1 remote-as 65010
 address-family ipv6 unicast
  neighbor 10.77.30.1 activate
 exit-address-family
`

func e2eSpeaker(t *testing.T, opts Options) *Speaker {
	t.Helper()
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level()}))
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func level() slog.Level {
	if os.Getenv("VIPILOT_E2E_DEBUG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func wanted(prefixes ...routing.Prefix) routing.Config {
	return routing.Config{
		ASN: routingtest.ASN, RouterID: netip.MustParseAddr(routingtest.Node),
		Peers: []routing.Peer{{
			Name: "edge", Address: netip.MustParseAddr(routingtest.Router), ASN: routingtest.Peer,
			LocalAddress: netip.MustParseAddr(routingtest.Node),
		}},
		Prefixes: prefixes,
	}
}

func prefix(s string) routing.Prefix {
	return routing.Prefix{Prefix: netip.MustParsePrefix(s), VIP: "v"}
}

func set(t *testing.T, s *Speaker, c routing.Config) {
	t.Helper()
	changed, err := s.Set(t.Context(), c)
	if err != nil || !changed {
		t.Fatalf("Set = %v, %v", changed, err)
	}
	if changed, err := s.Set(t.Context(), c); err != nil || changed {
		t.Fatalf("same Set again = %v, %v", changed, err)
	}
}

func established(t *testing.T, l *routingtest.Lab, s *Speaker, peer string) time.Duration {
	t.Helper()
	return l.Eventually(peer+" established", s.stands(peer))
}

// stands tells whether the session with a peer is up.
func (s *Speaker) stands(peer string) func() bool {
	return func() bool { return s.Peers()[peer].State == "established" }
}

func TestE2EAnnounce(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.Start(families)
	s := e2eSpeaker(t, Options{})
	med := uint32(77)
	rich := prefix("203.0.113.10/32")
	rich.Communities, rich.MED, rich.Prepend = []string{"65010:100", "65010:1:2"}, &med, 2
	c := wanted(rich, prefix("2001:db8::10/128"))
	set(t, s, c)
	t.Logf("established after %s", established(t, l, s, "edge"))
	t.Logf("IPv4 route after %s", l.Eventually("route", func() bool { return l.HasRoute("203.0.113.10") }))
	seen := l.Ask("show bgp ipv4 unicast 203.0.113.10/32 json")
	for _, want := range []string{"65010:100", "65010:1:2", `"metric":77`, "65010 65010 65010", `"hostname"`} {
		if want != `"hostname"` && !strings.Contains(seen, want) {
			t.Errorf("the router does not see %s:\n%s", want, seen)
		}
	}
	t.Logf("IPv6 route over the IPv4 session after %s", l.Eventually("IPv6 route", func() bool { return l.HasRoute("2001:db8::10") }))
	if seen := l.Ask("show bgp ipv6 unicast 2001:db8::10/128"); !strings.Contains(seen, routingtest.Node6) {
		t.Errorf("IPv6 next hop:\n%s", seen)
	}
	if got := s.Peers()["edge"]; got.PrefixesAnnounced != 2 {
		t.Errorf("peer = %+v", got)
	}

	l.Configure("address-family ipv4 unicast", "network 198.18.0.0/24") // must not be learned
	// An attribute changes: no session is touched.
	low := uint32(5)
	rich.MED, rich.Prepend = &low, 0
	set(t, s, wanted(rich, prefix("203.0.113.11/32")))
	l.Eventually("metric 5", func() bool {
		return strings.Contains(l.Ask("show bgp ipv4 unicast 203.0.113.10/32 json"), `"metric":5`)
	})
	took := l.Eventually("withdrawn", func() bool { return !l.HasRoute("2001:db8::10") && l.HasRoute("203.0.113.11") })
	t.Logf("IPv6 withdrawn and new IPv4 announced after %s", took)

	start := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	l.Eventually("all gone", func() bool { return !l.HasRoute("203.0.113.10") && !l.HasRoute("203.0.113.11") })
	t.Logf("all gone %s after Close", time.Since(start).Round(time.Millisecond))
}

func TestE2EOtherSessionStays(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.Start(` neighbor 10.77.30.1 remote-as 65010
 neighbor 2001:db8:30::1 remote-as 65010
 address-family ipv6 unicast
  neighbor 2001:db8:30::1 activate
 exit-address-family
`)
	s := e2eSpeaker(t, Options{})
	six := routing.Peer{
		Name: "six", Address: netip.MustParseAddr(routingtest.Router6), ASN: routingtest.Peer,
		LocalAddress: netip.MustParseAddr(routingtest.Node6),
	}
	c := wanted(prefix("203.0.113.10/32"), prefix("2001:db8::10/128"))
	c.Peers = append(c.Peers, six)
	set(t, s, c)
	established(t, l, s, "edge")
	established(t, l, s, "six")
	l.Eventually("both routes", func() bool { return l.HasRoute("203.0.113.10") && l.HasRoute("2001:db8::10") })

	edge, other := l.Established(routingtest.Node, s.stands("edge")), l.Established(routingtest.Node6, s.stands("six"))
	c.Peers = []routing.Peer{c.Peers[0], six}
	c.Peers[1].HoldTime = 12 * time.Second
	set(t, s, c)
	l.Eventually("six restarted", func() bool { return l.Establishments(routingtest.Node6) > other })
	if now := l.Establishments(routingtest.Node); now != edge {
		t.Errorf("edge was established %v times, then %v", edge, now)
	}
	c.Peers = c.Peers[:1]
	c.Peers[0].Name = "renamed"
	set2 := func() bool { _, err := s.Set(t.Context(), c); return err == nil }
	if !set2() || l.Establishments(routingtest.Node) != edge || s.Peers()["renamed"].State != "established" {
		t.Errorf("a new name touched the session: %+v", s.Peers())
	}
	c.ASN = 65011
	l.Configure("no neighbor 10.77.30.1", "neighbor 10.77.30.1 remote-as 65011")
	set(t, s, c)
	t.Logf("established with the new ASN after %s", established(t, l, s, "renamed"))
	l.Eventually("route again", func() bool { return l.HasRoute("203.0.113.10") })
}

func TestE2ESecurity(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.Start(" neighbor 10.77.30.1 remote-as 65010\n neighbor 10.77.30.1 password secret\n neighbor 10.77.30.1 ttl-security hops 1\n")
	s := e2eSpeaker(t, Options{})
	c := wanted(prefix("203.0.113.10/32"))
	fault := func(want string) {
		t.Helper()
		took := l.Eventually(want, func() bool { return strings.Contains(s.Peers()["edge"].Error, want) })
		t.Logf("%q after %s", s.Peers()["edge"].Error, took)
	}
	change := func(f func(*routing.Peer)) {
		t.Helper()
		p := c.Peers[0]
		f(&p)
		c.Peers = []routing.Peer{p}
		set(t, s, c)
	}
	change(func(p *routing.Peer) { p.Password, p.TTLSecurity = "wrong", true })
	fault("password_file")
	change(func(p *routing.Peer) { p.Password, p.TTLSecurity = "secret", false })
	fault("ttl_security")
	change(func(p *routing.Peer) { p.TTLSecurity = true })
	t.Logf("MD5 and GTSM: established after %s", established(t, l, s, "edge"))
	if e := s.Peers()["edge"].Error; e != "" {
		t.Errorf("established with error %q", e)
	}
	change(func(p *routing.Peer) { p.ASN = 65001 })
	fault("ASN")
	change(func(p *routing.Peer) { p.ASN, p.LocalAddress = routingtest.Peer, netip.MustParseAddr("10.77.30.99") })
	fault("local address")
	change(func(p *routing.Peer) {
		p.Address, p.LocalAddress = netip.MustParseAddr("10.77.30.1"), netip.Addr{}
		p.Password, p.TTLSecurity = "", false // either hides the refusal
	})
	fault("connection refused")
	change(func(p *routing.Peer) { p.Address = netip.MustParseAddr("10.77.30.77") })
	fault("no route")
}

func TestE2EReconnect(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.Start(families)
	s := e2eSpeaker(t, Options{})
	set(t, s, wanted(prefix("203.0.113.10/32")))
	established(t, l, s, "edge")
	soonest := time.Hour
	for range 3 {
		l.Eventually("route", func() bool { return l.HasRoute("203.0.113.10") })
		before := l.Established(routingtest.Node, s.stands("edge"))
		l.Ask("clear bgp 10.77.30.1")
		took := l.Eventually("established again", func() bool { return l.Establishments(routingtest.Node) > before && s.stands("edge")() })
		t.Logf("established again after %s", took)
		soonest = min(soonest, took)
	}
	if soonest > 4*time.Second { // GoBGP by itself stays idle for five
		t.Errorf("reconnect took %s and longer", soonest)
	}
	l.Configure("neighbor 10.77.30.1 shutdown")
	l.Eventually("reason", func() bool { return s.Peers()["edge"].Error != "" })
	time.Sleep(5 * time.Second) // longer than GoBGP's patience with a router that refuses
	t.Logf("shut down by the router: %+v", s.Peers()["edge"])
	l.Configure("no neighbor 10.77.30.1 shutdown")
	t.Logf("established after %s", established(t, l, s, "edge"))
}

func TestE2EReadOnlyAPI(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	socket := filepath.Join(t.TempDir(), "speaker.sock")
	s := e2eSpeaker(t, Options{APISocket: socket})
	c := wanted(prefix("203.0.113.10/32"))
	c.Peers[0].Password = "do-not-show"
	set(t, s, c)
	peers, raw := listPeers(t, socket)
	if len(peers) != 1 || bytes.Contains(raw, []byte("do-not-show")) {
		t.Errorf("peers over the API: %v", peers)
	}
	if err := addPathOver(t, socket); err == nil || !strings.Contains(err.Error(), "only reads") {
		t.Errorf("AddPath over the API = %v", err)
	}
	if out, err := exec.Command("ss", "-Hltn").Output(); err == nil && strings.Contains(string(out), ":179 ") {
		t.Errorf("something listens on the BGP port:\n%s", out)
	}
}
