package haproxy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

// on is a HAProxy object that believes to run have on the fake.
func on(t testing.TB, f *fake, have Config) *HAProxy {
	h := New(Options{RunDir: t.TempDir()})
	h.cli.path = f.path
	h.known, h.applied = true, have
	h.active.Store(true) // the files are not the matter here
	f.load(have)
	return h
}

// clone is a copy whose backends and routes can be changed.
func clone(c Config) Config {
	c.Frontends = slices.Clone(c.Frontends)
	for i := range c.Frontends {
		c.Frontends[i].Routes = slices.Clone(c.Frontends[i].Routes)
	}
	c.Backends = slices.Clone(c.Backends)
	for i, b := range c.Backends {
		copied := *b
		copied.Servers = slices.Clone(b.Servers)
		c.Backends[i] = &copied
	}
	return c
}

// One HAProxy is walked through a story; the fake's whole state is compared.
func TestUpdateStory(t *testing.T) {
	want := base()
	f := newFake(t)
	h := on(t, f, want)
	for _, step := range []struct {
		name   string
		change func(*Config)
		refuse string
		fails  bool
		lacks  []string
		has    []string
	}{
		{name: "nothing changes"},
		{name: "a server comes", change: func(c *Config) {
			c.Backends[0].Servers = append(c.Backends[0].Servers, ready("s3", "10.77.0.11:9"))
		}, has: []string{"a/s3 10.77.0.11:9 ready 100"}},
		{name: "it is drained and gets another weight", change: func(c *Config) {
			c.Backends[0].Servers[2].State, c.Backends[0].Servers[2].Weight = Drain, 7
		}, has: []string{"a/s3 10.77.0.11:9 drain 7"}},
		{name: "it leaves", change: func(c *Config) { c.Backends[0].Servers = c.Backends[0].Servers[:2] },
			has: []string{"a/s3 10.77.0.11:9 maint 7"}},
		{name: "it comes back before its deletion", change: func(c *Config) {
			c.Backends[0].Servers = append(c.Backends[0].Servers, ready("s3", "10.77.0.11:9"))
		}, has: []string{"a/s3 10.77.0.11:9 ready 100"}},
		{name: "a route comes and one leads elsewhere", change: func(c *Config) {
			c.Frontends[0].Routes = append(c.Frontends[0].Routes, Route{Host: "c.example.net", Path: "/c", Backend: "b"})
			c.Frontends[0].Routes[0].Backend = "b"
		}, has: []string{"c.example.net/c/ -> 3/b", "a.example.net/ -> 1/b"}},
		{name: "a route goes", change: func(c *Config) { c.Frontends[0].Routes = c.Frontends[0].Routes[:3] },
			lacks: []string{"c.example.net"}},
		{name: "HAProxy refuses half of a change", refuse: "set server b/s2 state", fails: true, change: func(c *Config) {
			c.Backends[1].Servers = append(c.Backends[1].Servers, ready("s2", "10.77.0.11:8"))
		}, has: []string{"b/s2 10.77.0.11:8 maint 100"}},
		{name: "the next round asks and finishes it", has: []string{"b/s2 10.77.0.11:8 ready 100"}},
		{name: "a map command fails", refuse: "add map", fails: true, change: func(c *Config) {
			c.Frontends[0].Routes = append(c.Frontends[0].Routes, Route{Host: "d.example.net", Path: "/", Backend: "b"})
		}, lacks: []string{"d.example.net"}},
		{name: "and is made good", has: []string{"d.example.net/ -> 1/b"}},
	} {
		t.Run(step.name, func(t *testing.T) {
			want = clone(want)
			if step.change != nil {
				step.change(&want)
			}
			f.refuse = step.refuse
			change, err := h.converge(t.Context(), want)
			if (err != nil) != step.fails || change.Cause != "" {
				t.Fatalf("converge = %+v, %v", change, err)
			}
			state := f.String()
			for _, line := range step.has {
				if !strings.Contains(state, line) {
					t.Errorf("lacks %q:\n%s", line, state)
				}
			}
			for _, line := range step.lacks {
				if strings.Contains(state, line) {
					t.Errorf("still has %q:\n%s", line, state)
				}
			}
		})
	}
	// Whatever the way, the end is the same as that of a fresh start.
	fresh := newFake(t)
	fresh.load(want)
	if got, want := f.String(), fresh.String(); got != want {
		t.Errorf("after the story:\n%s\nwant:\n%s", got, want)
	}
}

func TestReconcileHealsAnything(t *testing.T) {
	want := base()
	f := newFake(t)
	h := on(t, f, want)
	delete(f.servers, "a/s1")
	f.servers["a/s2"].state = "maint"
	f.servers["b/s1"].weight = "3"
	f.servers["b/old"] = &fakeServer{"ready", "10.77.0.11:7", "100", true}
	delete(f.entries["maps/f.map"], "a.example.net/")
	f.entries["maps/f.map"]["old.example.net/"] = "1/a"
	cause, changed, err := h.reconcile(t.Context(), want)
	if cause != "" || !changed || err != nil {
		t.Fatalf("reconcile = %q, %v, %v", cause, changed, err)
	}
	got := f.String()
	fresh := newFake(t)
	fresh.load(want)
	fresh.servers["b/old"] = &fakeServer{"maint", "10.77.0.11:7", "100", true}
	if want := fresh.String(); got != want {
		t.Errorf("reconciled:\n%s\nwant:\n%s", got, want)
	}
	if h.leaving[ServerKey{"b", "old"}] == nil {
		t.Error("the stranger is not due for deletion")
	}
	if h.Servers().has(ServerKey{"b", "old"}) {
		t.Error("the stranger has a health")
	}
	f.servers["a/s1"].address = "10.77.0.99:1"
	if cause, _, _ := h.reconcile(t.Context(), want); cause == "" {
		t.Error("another address under the same name was taken for the same server")
	}
}

func TestDeferredReload(t *testing.T) {
	have := base()
	f := newFake(t)
	h := on(t, f, have)
	h.opts.ReloadSpacing = time.Hour // however busy the machine, it is not over
	h.lastReload = time.Now()
	want := clone(have)
	want.Backends[0].Servers = append(want.Backends[0].Servers, ready("s3", "10.77.0.11:9"))
	want.Backends = append(want.Backends, &Backend{Name: "c", Mode: HTTP})
	change, err := h.converge(t.Context(), want)
	if err != nil || change.Kind != Runtime || change.Cause != "backend c added" || change.Retry <= 0 || change.Retry > time.Hour {
		t.Fatalf("converge = %+v, %v", change, err)
	}
	if !strings.Contains(f.String(), "a/s3 10.77.0.11:9 ready") {
		t.Error("the endpoint waited for the reload")
	}
}

func TestDeletionIsLate(t *testing.T) {
	have := base()
	f := newFake(t)
	h := on(t, f, have)
	if d := h.deleteDelay("a"); d != 30*time.Second {
		t.Errorf("deleteDelay = %v", d)
	}
	many := 9
	have.Backends[1].Retries, have.Backends[1].Connect = &many, 5*time.Second
	if d := h.deleteDelay("b"); d != time.Minute {
		t.Errorf("deleteDelay with 9 retries of 5s = %v", d)
	}
	want, began := clone(have), time.Now()
	want.Backends[0].Servers = want.Backends[0].Servers[:1]
	if _, err := h.converge(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	d := h.leaving[ServerKey{"a", "s2"}]
	if d == nil || d.due.Before(began.Add(30*time.Second)) {
		t.Fatalf("deletion: %+v", d)
	}
	if h.Servers().has(ServerKey{"a", "s2"}) {
		t.Error("a server that left has a health")
	}
}

func TestDrainTimeEndsSessions(t *testing.T) {
	have := base()
	have.Backends[0].Drain = time.Minute
	f := newFake(t)
	h := on(t, f, have)
	h.proc = &supervise.Process{} // it lives
	h.known = true
	f.pinned["a/s2"] = true
	want, began := clone(have), time.Now()
	want.Backends[0].Servers = want.Backends[0].Servers[:1]
	if _, err := h.converge(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	d := h.leaving[ServerKey{"a", "s2"}]
	if left := d.cut.Sub(began); left < time.Minute || !d.due.After(d.cut) || d.next() != d.cut {
		t.Fatalf("cut in %v, deletion %v after it", left, d.due.Sub(d.cut))
	}
	d.due = time.Now().Add(-time.Second)
	h.deleteDue(t.Context())
	if f.servers["a/s2"] == nil || !f.pinned["a/s2"] {
		t.Fatal("deleted, or cut, before the drain time was over")
	}
	d.cut, d.due = time.Now().Add(-time.Second), time.Now()
	h.deleteDue(t.Context())
	if f.pinned["a/s2"] || f.servers["a/s2"] == nil {
		t.Fatal("after the drain time sessions must end, and the server stay for a moment")
	}
	d.due = time.Now()
	h.deleteDue(t.Context())
	if f.servers["a/s2"] != nil || len(h.leaving) != 0 {
		t.Error("not deleted after its sessions ended")
	}
}

func TestBatchesStayWithinTheBuffer(t *testing.T) {
	have := fleet(1, 0)
	f := newFake(t)
	h := on(t, f, have)
	want := fleet(1, 200)
	if _, err := h.converge(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if len(f.servers) != 200 || f.lines < 2 {
		t.Errorf("%d servers in %d lines", len(f.servers), f.lines)
	}
}

func BenchmarkSetOneServer(b *testing.B) {
	have := fleet(1000, 10)
	f := newFake(b)
	h := on(b, f, have)
	with, without := have, have
	with.Backends = slices.Clone(have.Backends)
	backend := *with.Backends[500]
	backend.Servers = append(slices.Clone(backend.Servers), ready("s999", "10.77.1.1:9"))
	with.Backends[500] = &backend
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		want := with
		if i%2 == 1 {
			want = without
		}
		if err := h.check(want); err != nil {
			b.Fatal(err)
		}
		if change, err := h.converge(b.Context(), want); err != nil || change.Kind != Runtime {
			b.Fatal(change, err)
		}
	}
}
