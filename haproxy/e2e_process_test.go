package haproxy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestE2EAdoption(t *testing.T) {
	l := newLab(t)
	l.run()
	port := freePort(t)
	a, b, c := app(t, "a"), app(t, "b"), app(t, "c")
	l.set(checked(simple(port, a, b)))
	worker := l.worker()

	l.successor() // while nobody looked: b left, c came
	l.run()
	if change := l.set(checked(simple(port, a, c))); change.Kind != Adopted {
		t.Fatalf("adoption: %+v", change)
	}
	if s := l.Status(); l.worker() != worker || s.Reloads != 0 || !s.Running || s.Version == "" {
		t.Errorf("%+v", s)
	}
	_, list, err := l.showServers(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		if (o.Server == "b") != (o.server.State == Maint) {
			t.Errorf("after adoption: %+v", o)
		}
	}
	// The feed comes back although its socket was gone for a while.
	gone := Server{Name: "gone", Address: netip.AddrPortFrom(loopback, freePort(t)), State: Ready, Weight: 100}
	l.set(checked(simple(port, a, c, gone)))
	l.eventually("gone is down", func() bool { return l.Servers().Of("app", "gone") == Down })

	l.successor() // another structure
	want := checked(simple(port, a))
	want.Frontends[0].ClientTimeout = time.Second
	if change := l.set(want); change.Kind != Reload || change.Cause == "" {
		t.Errorf("other structure: %+v", change)
	} else {
		t.Log(change.Cause)
	}
}

func TestE2ECrash(t *testing.T) {
	l := newLab(t)
	l.run()
	port := freePort(t)
	l.set(simple(port, app(t, "a")))
	pid := l.Status().PID
	if pid <= 1 {
		t.Fatalf("HAProxy has pid %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l.eventually("served again", func() bool { s, _, _ := fetch(port, "x", "/"); return s == 200 && l.Status().PID != pid })
	t.Logf("served again after %v", time.Since(began))
	l.eventually("restart counted", func() bool { s := l.Status(); return s.Running && s.Restarts == 1 && s.Err == nil })
}

// A long session outlives a reload, and an ordered Close waits for it.
func TestE2ELongSessionAndClose(t *testing.T) {
	l := newLab(t)
	port, other := freePort(t), freePort(t)
	slow, release := slowApp(t, "slow")
	want := simple(port, slow)
	l.set(want)
	answers := make(chan string, 1)
	go func() { _, body, _ := fetch(port, "x", "/"); answers <- body }()
	l.eventually("the session runs", func() bool {
		text, err := l.cli.ask(t.Context(), "show servers conn app")
		return err == nil && strings.Contains(text, "slow") && sessions(l) > 0
	})
	want.Frontends = append(slices.Clone(want.Frontends), Frontend{Name: "other", Mode: HTTP, Binds: []Bind{{loopback, other}}, Default: "app"})
	l.set(want)
	if s := l.Status(); s.OldWorkers != 1 {
		t.Errorf("old workers: %+v", s)
	}
	if carried, err := l.Sessions(t.Context(), "app"); err != nil || carried["slow"] != 1 {
		t.Errorf("sessions %v, %v, want the one on the old worker", carried, err)
	}
	closed := make(chan error, 1)
	go func() { closed <- l.Close(t.Context()) }()
	l.eventually("no new connections", func() bool {
		conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(release)
	if got := <-answers; got != "at last" {
		t.Errorf("the session ended with %q", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if l.Status().Running {
		t.Error("running after Close")
	}
}

func sessions(l *lab) int {
	text, err := l.cli.ask(l.t.Context(), "show stat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if f := strings.Split(line, ","); len(f) > 4 && f[0] == "app" && f[1] == "slow" && f[4] != "0" {
			return 1
		}
	}
	return 0
}
