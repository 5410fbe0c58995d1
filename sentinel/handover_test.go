package sentinel

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/remote"
)

// TestHandOver: who would lose a route refuses, who would not ends, and the next
// one goes on. No root, no daemon: the speaker has no peer.
func TestHandOver(t *testing.T) {
	dir := t.TempDir()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := func() { done <- Run(ctx, testOptions(dir)) }
	go next()
	gate, _ := standIn(t)
	want := remote.Want{Gate: gate, Routing: routing.Config{
		ASN: 65010, RouterID: netip.MustParseAddr("10.77.0.1"),
		Prefixes: []routing.Prefix{{Prefix: netip.MustParsePrefix("198.18.0.0/24")}},
	}}
	client := recorded(t, dir)
	set := func() {
		t.Helper()
		if _, err := client.Set(t.Context(), want); err != nil {
			t.Fatal(err)
		}
	}
	set()
	eventually(t, "there is a route to lose", func() bool { // only once the kernel has told its addresses
		asking := recorded(t, dir)
		if _, err := asking.Set(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		s, _ := asking.State()
		return announced(s) == "[198.18.0.0/24]"
	})
	for restart, why := range map[time.Duration]string{0: "graceful_restart is off", time.Second: "graceful_restart (1s) is shorter than the 5s"} {
		want.Routing.GracefulRestart = restart
		set()
		if err := HandOver(t.Context(), dir); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("graceful_restart %s: %v, want %q in it", restart, err, why)
		}
	}
	want.Routing.GracefulRestart = 20 * time.Second
	set()
	if err := HandOver(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("handed over, and ended with %v", err)
	}
	go next()
	after := recorded(t, dir)
	go func() { _ = after.Run(ctx) }()
	eventually(t, "the next one announces", func() bool {
		s, ok := after.State()
		return ok && announced(s) == "[198.18.0.0/24]"
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestHeir: what the sentinel before heard is believed for a while.
func TestHeir(t *testing.T) {
	now := time.Unix(0, 0)
	h := heir(20*time.Second, now)
	for _, step := range []struct {
		after  time.Duration
		router bool
		deaf   bool
	}{{0, false, false}, {19 * time.Second, false, false}, {2 * time.Second, false, false}, {deafAfter, false, true}} {
		now = now.Add(step.after)
		if h.listen(facts{needed: true, router: step.router}, now); h.deaf != step.deaf {
			t.Errorf("after %s: deaf %t", step.after, h.deaf)
		}
	}
	h = heir(0, now)
	h.listen(facts{needed: true, router: true}, now)
	h.listen(facts{needed: true}, now.Add(time.Hour))
	if h.deaf {
		t.Error("a loss of a moment after the restart counts at once")
	}
}
