package haproxy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestE2EEndpointChangesNeverReload(t *testing.T) {
	l := newLab(t)
	l.run()
	port := freePort(t)
	a, b := app(t, "a"), app(t, "b")
	if change := l.set(simple(port, a)); change.Kind != Started {
		t.Fatalf("first Set: %+v", change)
	}
	worker := l.worker()
	var slowest time.Duration
	for i := range 100 {
		servers := []Server{a}
		if i%2 == 0 {
			b.Name = fmt.Sprintf("b%d", i)
			servers = append(servers, b)
		}
		began := time.Now()
		change := l.set(withServers(simple(port), servers...))
		slowest = max(slowest, time.Since(began))
		if change.Kind != Runtime {
			t.Fatalf("change %d: %+v", i, change)
		}
		if status, body, _ := fetch(port, "x", "/"); status != 200 {
			t.Fatalf("change %d: %d %s", i, status, body)
		}
	}
	t.Logf("slowest change %v", slowest)
	if s := l.Status(); s.Reloads != 0 || l.worker() != worker || s.RuntimeUpdates != 100 {
		t.Errorf("%+v, worker %s -> %s", s, worker, l.worker())
	}
	if change := l.set(withServers(simple(port), a)); change.Kind != None {
		t.Errorf("the same again: %+v", change)
	}
}

func TestE2EHealthFeed(t *testing.T) {
	l := newLab(t)
	l.opts.PollInterval = time.Hour
	l.HAProxy = New(l.opts)
	l.run()
	port := freePort(t)
	n := listenAnywhere(t)
	a := serve(t, n, "a")
	b := app(t, "b")
	l.set(checked(simple(port, a, b)))
	if l.Servers().Of("app", "a") != Up {
		t.Fatal("a is not up at once")
	}
	n.Close()
	began := time.Now()
	l.eventually("a is down", func() bool { return l.Servers().Of("app", "a") == Down })
	t.Logf("down known after %v (checks every 500 ms, fall 2)", time.Since(began))
	l.eventually("a poke", func() bool {
		select {
		case <-l.Health():
			return true
		default:
			return false
		}
	})
}

func TestE2EDeleteLate(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opts.DeleteDelay = 50 * time.Millisecond
	l.HAProxy = New(l.opts)
	l.run()
	port := freePort(t)
	a, b := app(t, "a"), app(t, "b")
	want := simple(port, a, b)
	none := 0
	want.Backends[0].Retries, want.Backends[0].Connect = &none, 4*time.Second
	l.set(want)
	count := func() int {
		_, list, err := l.showServers(t.Context(), "app")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	began := time.Now()
	l.set(withServers(want, a))
	if count() != 2 {
		t.Error("deleted at once")
	}
	l.set(want) // wanted again: readied, not deleted
	l.mu.Lock()
	if len(l.leaving) != 0 {
		t.Error("deletion not cancelled")
	}
	l.mu.Unlock()
	l.set(withServers(want, a))
	l.eventually("deleted", func() bool { return count() == 1 })
	if waited := time.Since(began); waited < 5*time.Second { // (retries+1) × (connect+1s)
		t.Errorf("deleted after %v", waited)
	}
}

func TestE2ESticky(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	a, b := app(t, "a"), app(t, "b")
	want := simple(port, a)
	want.Backends[0].StickyCookie = "SRV"
	l.set(want)
	l.set(withServers(want, a, b)) // b by runtime update
	cookies := make(map[string]string)
	for range 20 {
		_, body, header := fetch(port, "x", "/")
		cookie, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
		name, _, _ := strings.Cut(body, " ")
		if old, ok := cookies[name]; (ok && old != cookie) || len(cookie) < 10 {
			t.Fatalf("cookie of %s: %q, then %q", name, old, cookie)
		}
		cookies[name] = cookie
	}
	if len(cookies) != 2 {
		t.Fatalf("served by %v", cookies)
	}
	for name, cookie := range cookies {
		for range 5 {
			if _, body, _ := fetch(port, "x", "/", "Cookie: "+cookie); !strings.HasPrefix(body, name) {
				t.Errorf("cookie of %s led to %s", name, body)
			}
		}
	}
	// The same cookie after a reload, when b comes from the file.
	want = withServers(want, a, b)
	front := want.Frontends[0]
	front.ClientTimeout = time.Minute
	want.Frontends = []Frontend{front}
	if change := l.set(want); change.Kind != Reload {
		t.Errorf("%+v", change)
	}
	if _, body, _ := fetch(port, "x", "/", "Cookie: "+cookies["b"]); !strings.HasPrefix(body, "b") {
		t.Errorf("after a reload b's cookie led to %s", body)
	}
}
