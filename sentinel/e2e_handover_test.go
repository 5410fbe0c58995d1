package sentinel

import (
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

// keeps requires, for as long as f runs, that the router has the route and that
// keepalived is told nothing bad.
func (b *bench) keeps(what string, f func()) {
	b.t.Helper()
	stop, done := make(chan struct{}), make(chan string, 1)
	go func() {
		for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			speaker, _ := os.ReadFile(filepath.Join(b.dir, "speaker.track"))
			switch {
			case !b.HasRoute(vip):
				done <- "the route was lost after " + time.Since(start).String()
				return
			case b.track() == "1" || strings.HasPrefix(string(speaker), "1"):
				done <- "keepalived was told a fault after " + time.Since(start).String()
				return
			}
			select {
			case <-stop:
				done <- ""
				return
			default:
			}
		}
	}()
	f()
	close(stop)
	if fault := <-done; fault != "" {
		b.t.Errorf("%s: %s", what, fault)
	}
}

// another waits until a sentinel other than pid has its sessions.
func (b *bench) another(pid int) {
	b.t.Helper()
	took := b.Eventually("another sentinel", func() bool {
		s, ok := b.client.State()
		return ok && s.PID != pid && s.Peers["edge"].State == "established" && len(s.Announced) > 0
	})
	b.t.Logf("the next sentinel has its sessions after %s", took)
}

// TestE2EHandOver: a sentinel is replaced, and the route never leaves the
// router's table; without graceful restart it refuses.
func TestE2EHandOver(t *testing.T) {
	b := newBench(t)
	if b == nil {
		return
	}
	routingtest.Run(t, "ip addr add "+vip+"/32 dev lo")
	want := b.want()
	want.SpeakerTrackFile = filepath.Join(b.dir, "speaker.track")
	b.set(want)
	b.route("start", vip, true)
	first := b.client.Status().PID
	if err := b.client.Replace(t.Context()); err == nil || !strings.Contains(err.Error(), "graceful_restart is off: drain the node") || b.client.Status().PID != first {
		t.Errorf("without graceful restart: %v, sentinel %d and then %d", err, first, b.client.Status().PID)
	}

	want.Routing.GracefulRestart = time.Minute
	b.set(want)
	b.state("graceful restart agreed", func(s remote.State) bool {
		return s.Peers["edge"].KeepsRoutes && s.Stays == "" && !s.Deaf && b.HasRoute(vip)
	})
	b.keeps("hand-over", func() {
		if err := b.client.Replace(t.Context()); err != nil {
			t.Error(err)
		}
		b.another(first)
		time.Sleep(time.Second) // the router's stale timer and End-of-RIB
	})
	b.cancel() // the controller is dead; the next sentinel still watches
	routingtest.Kill(t, b.gate.PID, syscall.SIGKILL)
	b.route("HAProxy kill -9", vip, false)
	b.Eventually("track file", func() bool { return b.track() == "1" })
}

// TestE2EHandOverToNobody: where no next sentinel comes, the node fails safe.
func TestE2EHandOverToNobody(t *testing.T) {
	b := newBench(t)
	if b == nil {
		return
	}
	want := b.want()
	want.Routing.Prefixes = nil // with nothing to lose it hands over at once
	b.set(want)
	b.Eventually("track file", func() bool { return b.track() == "0" })
	b.cancel()
	if err := HandOver(t.Context(), b.dir); err != nil {
		t.Fatal(err)
	}
	took := b.Eventually("fault", func() bool { return b.track() == "1" })
	t.Logf("nobody followed: fault after %s", took)
}

// frrWant has FRR's bgpd announce an address that the node keeps.
func (b *bench) frrWant() (want routing.Config) {
	want = b.want().Routing
	want.ViaFRR, want.Prefixes = true, want.Prefixes[1:2]
	return want
}

// TestE2EFRRWithoutSentinel: FRR announces nothing that nobody watches over, and
// a hand-over is nothing to it.
func TestE2EFRRWithoutSentinel(t *testing.T) {
	b := newFRRBench(t, map[string]string{"bgpd": `router bgp 65000
 bgp router-id 10.77.30.2
 no bgp ebgp-requires-policy
 neighbor 10.77.30.1 remote-as 65010
 neighbor 10.77.30.1 timers connect 1
`})
	if b == nil {
		return
	}
	routingtest.Run(t, "ip addr add "+vip+"/32 dev lo") // anycast: it stays whatever happens
	want := b.want()
	want.Routing = b.frrWant()
	b.set(want)
	b.route("start", vip, true)
	first := b.client.Status().PID
	b.state("session", func(s remote.State) bool { return s.Peers["edge"].State == "established" })
	b.keeps("hand-over", func() {
		if err := b.client.Replace(t.Context()); err != nil {
			t.Error(err)
		}
		b.another(first)
		time.Sleep(500 * time.Millisecond)
	})

	second := b.client.Status().PID
	state, _ := b.client.State()
	b.cancel()
	routingtest.Kill(t, second, syscall.SIGKILL)
	b.route("sentinel kill -9", vip, false)
	if p := state.FRR["bgpd"].PID; p == 0 || syscall.Kill(p, 0) != nil {
		t.Errorf("bgpd (%d) is gone, its sessions with it", p)
	}
	b.connect()
	b.set(want)
	b.route("next sentinel", vip, true)

	// One that hangs is killed by its dead man's switch, which then withdraws.
	hung := b.client.Status().PID
	b.cancel()
	routingtest.Kill(t, hung, syscall.SIGSTOP)
	b.route("sentinel hangs", vip, false)
	b.connect()
	b.set(want)
	b.route("another sentinel", vip, true)
	b.state("that bgpd is the same", func(s remote.State) bool { return s.FRR["bgpd"].PID == state.FRR["bgpd"].PID })
}
