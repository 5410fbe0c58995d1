package docker

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"

	"github.com/vipilot/vipilot/discovery"
)

// calm has no periodic lists and pings: what a test sees comes from events. An
// answer may take as long as a busy machine wants.
func calm(f *fakeEngine) Options {
	return Options{URL: f.url(), Relist: time.Hour, Ping: time.Hour, Timeout: longest}
}

// TestStory walks one engine through a life. Of all that happens only what can
// bring a container up is looked at, and nothing is ever listed again.
func TestStory(t *testing.T) {
	f := newFake(t)
	f.do("start web")
	w := watch(t, calm(f))
	if s := w.until("web:running.2"); s.Cause != "list" || s.Host != "app1" || s.Err != nil {
		t.Errorf("first snapshot: %+v", s)
	}
	for _, step := range []struct {
		do, want, cause string
		inspections     int
	}{
		{"start hdb", "hdb:running/starting.3 web:running.2", "start hdb", 1},
		{"health hdb healthy", "hdb:running/healthy.3 web:running.2", "health_status: healthy hdb", 0},
		{"health hdb unhealthy", "hdb:running/unhealthy.3 web:running.2", "health_status: unhealthy hdb", 0},
		{"kill web 1", "", "", 0},
		{"pause web", "hdb:running/unhealthy.3 web:paused.2", "pause web", 0},
		{"unpause web", "hdb:running/unhealthy.3 web:running.2", "unpause web", 0},
		{"rename hdb old", "old:running/unhealthy.3 web:running.2", "rename old", 0},
		{"kill web", "old:running/unhealthy.3 web:stopping.2", "kill web", 0},
		{"pause web", "old:running/unhealthy.3 web:paused.2", "pause web", 0},
		{"unpause web", "old:running/unhealthy.3 web:stopping.2", "unpause web", 0},
		{"die web", "old:running/unhealthy.3 web:stopped", "die web", 0},
		{"start web", "old:running/unhealthy.3 web:running.2", "start web", 1},
		{"kill old 9", "old:stopping/unhealthy.3 web:running.2", "kill old", 0},
		{"die old", "old:stopped web:running.2", "die old", 0},
		{"rm old", "web:running.2", "destroy old", 0},
	} {
		before := f.requests("inspect")
		f.do(step.do)
		if step.want == "" {
			continue
		}
		if s := w.until(step.want); s.Cause != step.cause {
			t.Errorf("%s: cause %q, want %q", step.do, s.Cause, step.cause)
		}
		if n := f.requests("inspect") - before; n != step.inspections {
			t.Errorf("%s: %d inspections, want %d", step.do, n, step.inspections)
		}
	}
	if n := f.requests("list"); n != 1 {
		t.Errorf("%d lists, want 1", n)
	}
}

// TestReconnect: what happened unseen is in the list; that a container was told
// to stop is only in the events, and `since` brings it back.
func TestReconnect(t *testing.T) {
	f := newFake(t)
	f.do("start a")
	f.do("start b")
	f.do("start c")
	w := watch(t, calm(f))
	w.until("a:running.2 b:running.3 c:running.4")
	f.do("start d")
	first := w.until("a:running.2 b:running.3 c:running.4 d:running.5")
	f.stop()
	if s := w.until("a:running.2 b:running.3 c:running.4 d:running.5 (stale)"); s.StaleSince.Before(first.At) || !strings.Contains(s.Err.Error(), f.socket) {
		t.Errorf("stale since %v, err %v", s.StaleSince, s.Err)
	}
	f.do("die a")
	f.do("kill b")
	f.do("kill c")
	f.do("die c")
	f.do("start c")
	f.silent = true
	f.do("die d")
	f.listen(t)
	w.until("a:stopped b:stopping.3 c:running.2 d:stopped")
}

// TestStreamEnds: the engine answers, only the stream broke.
func TestStreamEnds(t *testing.T) {
	f := newFake(t)
	f.do("start a")
	w := watch(t, calm(f))
	w.until("a:running.2")
	f.drop()
	w.until("a:running.2 (stale)")
	w.until("a:running.2")
	f.do("start b")
	w.until("a:running.2 b:running.3")
}

// TestHang: an engine that accepts and does not answer is not reached, whatever
// it ran stays; so too if it hangs from the start.
func TestHang(t *testing.T) {
	f := newFake(t)
	f.do("start a")
	opts := calm(f)
	opts.Ping, opts.Timeout = 20*time.Millisecond, 100*time.Millisecond
	w := watch(t, opts)
	w.until("a:running.2")
	f.hang(true)
	w.untilIs("it hangs", func(s discovery.Snapshot) bool { // what it said last may have been of a pause before
		return states(s) == "a:running.2 (stale)" && strings.Contains(s.Err.Error(), "hang")
	})
	w2 := watch(t, opts)
	w2.until("(stale)")
	f.hang(false)
	f.do("start b")
	w.until("a:running.2 b:running.3")
	w2.until("a:running.2 b:running.3")
}

// TestRemembered: what is remembered is sent at once when there is no engine,
// and replaced when there is one.
func TestRemembered(t *testing.T) {
	f := newFake(t)
	f.stop()
	opts := calm(f)
	opts.Remembered = []discovery.Container{{ID: strings.Repeat("a", 64), Name: "old", State: discovery.Running}}
	w := watch(t, opts)
	s := w.untilIs("a verdict", func(s discovery.Snapshot) bool { return !errors.Is(s.Err, errNoAnswer) })
	if states(s) != "old:running (stale)" || !strings.Contains(s.Err.Error(), "no socket "+f.socket) {
		t.Errorf("%s, err %v", states(s), s.Err)
	}
	f.do("start new")
	f.listen(t)
	w.until("new:running.2")
}

// TestRaces: an answer that was true when it was given loses against the event
// that came meanwhile.
func TestRaces(t *testing.T) {
	for _, kind := range []string{"list", "inspect"} {
		f := newFake(t)
		f.do("start a")
		f.do("start b")
		f.after[kind] = func() {
			f.do("die a")
			f.do("kill b")
			f.do("start c")
		}
		w := watch(t, calm(f))
		w.until("a:stopped b:stopping.3 c:running.2")
		f.do("rename c d")
		w.until("a:stopped b:stopping.3 d:running.2")
	}
}

// TestLostEvents: a periodic list finds what no event told, and looks only at
// what differs.
func TestLostEvents(t *testing.T) {
	f := newFake(t)
	for _, name := range []string{"a", "b", "c"} {
		f.do("start " + name)
	}
	opts := calm(f)
	opts.Relist = 50 * time.Millisecond
	w := watch(t, opts)
	w.until("a:running.2 b:running.3 c:running.4")
	f.mu.Lock()
	f.silent = true
	f.mu.Unlock()
	f.do("die a")
	w.until("a:stopped b:running.3 c:running.4")
	f.do("rm a")
	w.until("b:running.3 c:running.4")
	f.do("pause b")
	w.until("b:paused.3 c:running.4")
	if n := f.requests("inspect"); n != 4 {
		t.Errorf("%d inspections, want 4", n)
	}
}

// TestAddressReused: the end of `a` is never heard of, and `b` has its address:
// only one of them may be up. The helpers check it in every snapshot.
func TestAddressReused(t *testing.T) {
	f := newFake(t)
	f.do("start a")
	w := watch(t, calm(f))
	w.until("a:running.2")
	f.mu.Lock()
	f.silent = true
	f.mu.Unlock()
	f.do("die a")
	f.mu.Lock()
	f.silent = false
	f.mu.Unlock()
	f.do("start b")
	w.until("a:stopped b:running.2")
}

// TestSlowConsumer: one who does not receive misses what is outdated, and what
// was sent does not change under its hands.
func TestSlowConsumer(t *testing.T) {
	f := newFake(t)
	f.do("start a")
	w := watch(t, calm(f))
	kept := w.until("a:running.2")
	for i := range 20 {
		f.do(fmt.Sprintf("start b%d", i))
		f.do(fmt.Sprintf("die b%d", i))
		f.do(fmt.Sprintf("rm b%d", i))
	}
	f.do("start z")
	w.until("a:running.2 z:running.3")
	if states(kept) != "a:running.2" {
		t.Errorf("a sent snapshot changed to %q", states(kept))
	}
}

// TestDisobedient: a container that ignores its stop signal serves again, but
// not before the time it may take is over.
func TestDisobedient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timeout := 120
		f := &fakeContainer{id: strings.Repeat("a", 64), name: "a", state: "running", ip: 2, started: time.Now()}
		c, err := fromInspect(read(f.inspect()), nil)
		if err != nil {
			t.Fatal(err)
		}
		k := newKeeper("app1", slog.New(slog.DiscardHandler), nil)
		k.view.put(newRecord(c, "", &timeout))
		k.up = true
		now := time.Now().Add(time.Second)
		k.event(t.Context(), events.Message{Action: events.ActionKill, TimeNano: now.UnixNano(), Actor: events.Actor{ID: f.id, Attributes: map[string]string{"signal": "15"}}}, now)
		for _, want := range []string{"a:stopping.2", "a:stopping.2", "a:running.2"} {
			if got := states(*k.next); got != want {
				t.Errorf("after %v: %s, want %s", time.Since(f.started), got, want)
			}
			time.Sleep(70 * time.Second)
			k.listing()
			k.listed(t.Context(), []container.Summary{f.summary()}, false)
		}
	})
}

// TestHistories: after any history of operations, lost events, broken streams
// and hangs, the watcher knows what a new one that only lists would know.
func TestHistories(t *testing.T) {
	ops := []string{"start", "start", "start", "kill", "die", "pause", "unpause", "health", "rename", "rm", "lose", "drop", "hear"}
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			f := newFake(t)
			opts := calm(f)
			opts.Relist = 100 * time.Millisecond
			w := watch(t, opts)
			w.untilIs("first", func(s discovery.Snapshot) bool { return s.Connected })
			names := []string{"a", "b", "ha", "hb", "c", "d"}
			for range 150 {
				name, other := names[r.IntN(len(names))], names[r.IntN(len(names))]
				switch op := ops[r.IntN(len(ops))]; op {
				case "lose", "hear":
					f.mu.Lock()
					f.silent = op == "lose"
					f.mu.Unlock()
				case "drop":
					f.drop()
				case "health":
					f.do("health " + name + " " + []string{"healthy", "unhealthy"}[r.IntN(2)])
				case "kill": // told, and obeys
					f.do("kill " + name)
					f.do("die " + name)
				default:
					f.do(op + " " + name + " " + other)
				}
			}
			want := states(watch(t, calm(f)).untilIs("fresh list", func(s discovery.Snapshot) bool { return s.Connected }))
			if states(w.last) != want {
				w.until(want)
			}
		})
	}
}
