package frr

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// runDir is one that FRR's user can enter, unlike t.TempDir.
func runDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "vipilot-frr-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "frr")
}

func e2eSpeaker(t *testing.T, dir string) *Speaker {
	t.Helper()
	s := New(Options{RunDir: dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// keep calls Set as the sentinel does, until it is settled.
func keep(t *testing.T, l *routingtest.Lab, s *Speaker, want routing.Config) time.Duration {
	t.Helper()
	return l.Eventually("settled", func() bool {
		if _, err := s.Set(t.Context(), want); err != nil {
			t.Logf("Set: %v", err)
			time.Sleep(100 * time.Millisecond)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.settled
	})
}

func follow(t *testing.T, s *Speaker, want func() routing.Config) {
	done := t.Context().Done()
	go func() {
		for {
			select {
			case <-done:
				return
			case <-s.Changes():
				_, _ = s.Set(t.Context(), want())
			}
		}
	}()
}

// Also a route that a node might learn.
const fast = ` default-information originate always
 timers throttle spf 0 50 200
 timers throttle lsa all 0
 timers lsa min-arrival 0
`

func routerOSPF(bfd bool) map[string]string {
	interfaceLines := "interface eth0\n ip ospf area 0\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n ip ospf network point-to-point\n"
	six := "interface eth0\n ipv6 ospf6 area 0\n ipv6 ospf6 hello-interval 1\n ipv6 ospf6 dead-interval 4\n ipv6 ospf6 network point-to-point\n"
	configs := map[string]string{}
	if bfd {
		profile := " ip ospf bfd\n"
		interfaceLines += profile
		six += " ipv6 ospf6 bfd\n"
		configs["bfdd"] = "bfd\n"
	}
	configs["ospfd"] = interfaceLines + "router ospf\n ospf router-id " + routingtest.Router + "\n" + fast
	configs["ospf6d"] = six + "router ospf6\n ospf6 router-id " + routingtest.Router + "\n default-information originate always\n timers throttle spf 0 50 200\n timers lsa min-arrival 0\n"
	return configs
}

func wantOSPF(prefixes ...string) routing.Config {
	c := ospfOnly()
	c.OSPF.RouterID, c.OSPF.Interfaces = addr(routingtest.Node), []routing.OSPFInterface{{Name: "eth0"}}
	c.OSPF.Prefixes = pfx(prefixes...)
	return c
}

func pidOf(t *testing.T, s *Speaker, name string) int {
	t.Helper()
	return s.Daemons()[name].PID
}

func TestE2EOSPF(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.StartDaemons(routerOSPF(false))
	dir := runDir(t)
	s := e2eSpeaker(t, dir)
	want := wantOSPF("203.0.113.10/32", "2001:db8::10/128")
	t.Logf("FRR started and told after %s", keep(t, l, s, want))
	has := func(p string) func() bool { return func() bool { return l.HasRouteBy("ospf", p) } }
	hasNot := func(p string) func() bool { return func() bool { return !l.HasRouteBy("ospf", p) } }
	l.Eventually("neighbors full", func() bool {
		full := 0
		for _, n := range s.Neighbors() {
			if n.State == "full" {
				full++
			}
		}
		return full == 2
	})
	t.Logf("neighbors: %+v", s.Neighbors())
	for daemon, question := range map[string]string{"ospfd": "show ip ospf route", "ospf6d": "show ipv6 ospf6 route"} {
		l.Eventually(daemon+" hears of a default route", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			said, err := s.daemons[daemon].vty.run(t.Context(), question)
			return err == nil && (strings.Contains(said, "0.0.0.0/0") || strings.Contains(said, "::/0"))
		})
	}
	learnedNothing := func() {
		t.Helper()
		if learned := routingtest.Run(t, "ip route show proto ospf") + routingtest.Run(t, "ip -6 route show proto ospf"); learned != "" {
			t.Errorf("the node learned %q", learned)
		}
	}
	vip := func(verb string) {
		routingtest.Run(t, "ip addr "+verb+" 203.0.113.10/32 dev eth0")
		flags := " nodad"
		if verb == "del" {
			flags = ""
		}
		routingtest.Run(t, "ip addr "+verb+" 2001:db8::10/128 dev eth0"+flags)
	}
	for range 3 { // also twice within five seconds
		vip("add")
		t.Logf("VIP appears: route after %s, IPv6 after %s", l.Eventually("route", has("203.0.113.10")), l.Eventually("IPv6 route", has("2001:db8::10")))
		vip("del")
		t.Logf("VIP goes: no route after %s, IPv6 after %s", l.Eventually("no route", hasNot("203.0.113.10")), l.Eventually("no IPv6 route", hasNot("2001:db8::10")))
	}
	vip("add")
	l.Eventually("route", has("203.0.113.10"))
	l.Eventually("IPv6 route", has("2001:db8::10"))
	// The gate closes and opens: HAProxy's life.
	keep(t, l, s, wantOSPF())
	t.Logf("gate closes: no route after %s, IPv6 after %s", l.Eventually("no route", hasNot("203.0.113.10")), l.Eventually("no IPv6 route", hasNot("2001:db8::10")))
	keep(t, l, s, want)
	t.Logf("gate opens: route after %s, IPv6 after %s", l.Eventually("route", has("203.0.113.10")), l.Eventually("IPv6 route", has("2001:db8::10")))

	learnedNothing()

	// Another speaker takes over what runs; nothing is started, nothing said.
	pids := fmt.Sprint(s.Daemons())
	s.Leave()
	next := e2eSpeaker(t, dir)
	keep(t, l, next, want)
	if fmt.Sprint(next.Daemons()) != pids || !l.HasRouteBy("ospf", "203.0.113.10") {
		t.Errorf("successor: daemons %v, were %s", next.Daemons(), pids)
	}
	follow(t, next, func() routing.Config { return want })
	for _, name := range []string{"mgmtd", "ospfd", "zebra", "ospf6d"} {
		old := pidOf(t, next, name)
		if old == 0 && name == "mgmtd" {
			continue // FRR 8 has none
		}
		routingtest.Kill(t, old, syscall.SIGKILL)
		took := l.Eventually(name+" again", func() bool { now := pidOf(t, next, name); return now != 0 && now != old })
		l.Eventually("settled", func() bool { // zebra's end has the others started anew, two seconds later
			next.mu.Lock()
			defer next.mu.Unlock()
			return next.settled && next.widowed.IsZero() && next.alive()
		})
		back := l.Eventually("routes back", func() bool {
			full := 0
			for _, n := range next.Neighbors() {
				if n.State == "full" {
					full++
				}
			}
			return full == 2 && l.HasRouteBy("ospf", "203.0.113.10") && l.HasRouteBy("ospf", "2001:db8::10")
		})
		t.Logf("%s killed: again after %s, routes in place after %s more", name, took, back)
	}
	learnedNothing()
	start := time.Now()
	if err := next.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("closed after %s", time.Since(start))
	l.Eventually("no route", hasNot("203.0.113.10"))
	if left := routingtest.Run(t, "ps ax"); strings.Contains(left, dir) {
		t.Errorf("left running:\n%s", left)
	}
}

func TestE2EAttach(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.StartDaemons(routerOSPF(false))
	// A system's FRR on the node, with a configuration of its own.
	dir := runDir(t)
	system := New(Options{RunDir: dir + "-system"})
	t.Cleanup(func() { _ = system.Close() })
	own := wantOSPF()
	own.ASN, own.RouterID, own.ViaFRR, own.Prefixes = routingtest.ASN, addr(routingtest.Node), true, pfx("198.18.9.0/24")
	own.Peers = []routing.Peer{{Name: "theirs", Address: addr(routingtest.Router2), ASN: routingtest.Peer}}
	keep(t, l, system, own)
	v, err := dial(t.Context(), dir+"-system", "ospfd")
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	for _, line := range []string{"no redistribute connected route-map vipilot-ospf4", "passive-interface eth9"} {
		if err := v.configure(t.Context(), directive{[]string{"router ospf"}, line}); err != nil {
			t.Fatal(err)
		}
	}
	_ = v.leave(t.Context())
	six, err := dial(t.Context(), dir+"-system", "ospf6d")
	if err != nil {
		t.Fatal(err)
	}
	defer six.close()
	_ = six.configure(t.Context(), directive{[]string{"router ospf6"}, "no redistribute connected route-map vipilot-ospf6"})

	s := e2eSpeaker(t, dir)
	want := wantOSPF("203.0.113.10/32", "2001:db8::10/128")
	want.FRR = routing.FRR{Attach: true, Dir: dir + "-system"}
	want.ASN, want.RouterID, want.ViaFRR, want.Prefixes = routingtest.ASN, addr(routingtest.Node), true, pfx("203.0.113.11/32")
	want.Peers = []routing.Peer{
		{Name: "ours", Address: addr(routingtest.Router), ASN: routingtest.Peer},
		{Name: "theirs", Address: addr(routingtest.Router2), ASN: 65099, Password: "would-change-it"},
	}
	keep(t, l, s, want)
	routingtest.Run(t, "ip addr add 203.0.113.10/32 dev eth0")
	t.Logf("attached: route after %s", l.Eventually("route", func() bool { return l.HasRouteBy("ospf", "203.0.113.10") }))
	bgp, err := system.daemons["bgpd"].vty.run(t.Context(), "show running-config")
	if err != nil || !strings.Contains(bgp, "neighbor 10.77.30.3 remote-as 65000") || strings.Contains(bgp, "would-change-it") ||
		!strings.Contains(bgp, "neighbor 10.77.30.2 remote-as 65000") || !strings.Contains(bgp, "network 203.0.113.11/32") {
		t.Errorf("bgpd has (%v):\n%s", err, bgp)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	l.Eventually("no route", func() bool { return !l.HasRouteBy("ospf", "203.0.113.10") })
	ospf, _ := v.run(t.Context(), "show running-config")
	bgp, _ = system.daemons["bgpd"].vty.run(t.Context(), "show running-config")
	for _, text := range []string{"ip ospf passive", "ip ospf area 0.0.0.0", "hello-interval 1"} {
		if !strings.Contains(ospf, text) {
			t.Errorf("%q is gone:\n%s", text, ospf)
		}
	}
	if strings.Contains(ospf, "redistribute") || strings.Contains(bgp, "203.0.113.11") || strings.Contains(bgp, "10.77.30.2") || !strings.Contains(bgp, "network 198.18.9.0/24") {
		t.Errorf("left behind or taken along:\n%s\n%s", ospf, bgp)
	}
}
