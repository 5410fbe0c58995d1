package docker

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"

	"github.com/vipilot/vipilot/discovery"
)

func up(t *testing.T, name string, ip int, started time.Time) (record, *fakeContainer) {
	t.Helper()
	f := &fakeContainer{id: strings.Repeat(name, 64), name: name, state: "running", ip: ip, started: started}
	c, err := fromInspect(read(f.inspect()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return newRecord(c, "", nil), f
}

// TestHolder: of two that claim one address the one started later has it, in
// whichever order they become known; of published ports the same.
func TestHolder(t *testing.T) {
	start := time.Now()
	older, _ := up(t, "a", 2, start)
	newer, _ := up(t, "b", 2, start.Add(time.Second))
	third, _ := up(t, "c", 3, start)
	fourth, _ := up(t, "d", 4, start.Add(time.Second))
	third.Published = []discovery.Published{{Port: 80, HostPort: 8080}}
	fourth.Published = third.Published
	const want = "a:stopped b:running.2 c:stopped d:running.4"
	records := []record{older, newer, third, fourth}
	for range 2 {
		v := newView()
		for _, r := range records {
			v.put(r)
		}
		if got := states(discovery.Snapshot{Connected: true, Containers: v.snapshot()}); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		v.remove(newer.ID)
		if v.put(older); v.byID[older.ID].State != discovery.Running {
			t.Error("an address whose holder is gone is not given back")
		}
		slices.Reverse(records)
	}
}

// TestSnapshotStays: a snapshot that was sent is never changed, nor can its
// receiver change the view.
func TestSnapshotStays(t *testing.T) {
	v := newView()
	a, _ := up(t, "a", 2, time.Now())
	b, _ := up(t, "b", 3, time.Now())
	c, _ := up(t, "c", 4, time.Now())
	v.put(a)
	v.put(b)
	v.put(c)
	sent := v.snapshot()
	before := slices.Clone(sent)
	v.remove(a.ID)
	v.put(b.stopped())
	_ = append(sent[:3], discovery.Container{Name: "x"})
	for i := range sent {
		if sent[i].Name != before[i].Name || sent[i].State != before[i].State {
			t.Errorf("container %d is now %s %s", i, sent[i].Name, sent[i].State)
		}
	}
	if got := states(discovery.Snapshot{Connected: true, Containers: v.snapshot()}); got != "b:stopped c:running.4" {
		t.Errorf("view is %s", got)
	}
}

// TestListOlderThanEvent: a periodic list that was asked for before a container
// ended does not bring it back.
func TestListOlderThanEvent(t *testing.T) {
	a, line := up(t, "a", 2, time.Now())
	k := newKeeper("app1", slog.New(slog.DiscardHandler), nil)
	k.view.put(a)
	k.up = true
	k.session = &session{facts: make(chan fact), slots: make(chan struct{})} // an inspection would wait here for ever
	k.listing()
	k.event(t.Context(), events.Message{Action: events.ActionDie, TimeNano: time.Now().UnixNano(), Actor: events.Actor{ID: a.ID}}, time.Now())
	k.listed(t.Context(), []container.Summary{line.summary()}, false)
	if len(k.asked) != 0 || k.view.byID[a.ID].State != discovery.Stopped {
		t.Errorf("asked %v, state %s", k.asked, k.view.byID[a.ID].State)
	}
	k.listing()
	k.event(t.Context(), events.Message{Action: events.ActionDestroy, TimeNano: time.Now().UnixNano(), Actor: events.Actor{ID: a.ID}}, time.Now())
	k.listed(t.Context(), []container.Summary{line.summary()}, false)
	if len(k.asked) != 0 || len(k.view.byID) != 0 {
		t.Errorf("asked %v, known %v", k.asked, k.view.byID)
	}
}
