package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestE2EReloadLosesNothing(t *testing.T) {
	l := newLab(t)
	port, other := freePort(t), freePort(t)
	a := app(t, "a")
	want := simple(port, a)
	l.set(want)
	var failures, requests atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				requests.Add(1)
				if status, body, _ := fetch(port, "x", "/"); status != 200 {
					failures.Add(1)
					t.Logf("%d %s", status, body)
				}
			}
		})
	}
	for i := range 5 {
		want.Frontends = []Frontend{want.Frontends[0]}
		if i%2 == 0 {
			want.Frontends = append(want.Frontends, Frontend{Name: "other", Mode: HTTP, Binds: []Bind{{loopback, other}}, Default: "app"})
		}
		before, began := requests.Load(), time.Now()
		change, err := l.Set(t.Context(), want)
		if err != nil || change.Kind != Reload || !strings.Contains(change.Cause, "frontend other") {
			t.Errorf("%+v, %v", change, err)
		}
		t.Logf("reload took %v (%s)", time.Since(began), change.Cause)
		l.eventually("requests after the reload", func() bool { return requests.Load() > before+20 })
	}
	cancel()
	clients.Wait()
	if failures.Load() > 0 {
		t.Errorf("%d of %d requests failed", failures.Load(), requests.Load())
	}
	if s := l.Status(); s.Reloads != 5 {
		t.Errorf("%+v", s)
	}
}

func TestE2EReloadKeepsVerdicts(t *testing.T) {
	l := newLab(t)
	l.run()
	port, other := freePort(t), freePort(t)
	a, dead, drained := app(t, "a"), Server{Name: "dead", Address: netip.AddrPortFrom(loopback, freePort(t)), State: Ready, Weight: 100}, app(t, "drained")
	drained.State = Drain
	want := checked(simple(port, a, dead, drained))
	l.set(want)
	key := ServerKey{"app", "dead"}
	l.eventually("dead is down", func() bool { return l.Servers().Of(key.Backend, key.Server) == Down })
	want.Frontends = append(want.Frontends, Frontend{Name: "other", Mode: HTTP, Binds: []Bind{{loopback, other}}, Default: "app"})
	l.set(want)
	_, list, err := l.showServers(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		if (o.Server == "dead") != (o.health == Down) || (o.Server == "drained") != (o.server.State == Drain) {
			t.Errorf("after the reload: %+v", o)
		}
	}
}

func TestE2ERefusedReloadKeepsOld(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	a, b := app(t, "a"), app(t, "b")
	want := simple(port, a)
	l.set(want)
	worker, file := l.worker(), l.readFile(ConfigFile)

	// What HAProxy's parser refuses never reaches the running one; servers do.
	bad := withServers(want, a, b)
	bad.Frontends = append(slices.Clone(want.Frontends), Frontend{Name: "tls", Mode: HTTP, Binds: []Bind{{loopback, freePort(t)}},
		Certificates: []Certificate{{Name: "broken", PEM: []byte("no certificate")}}, Default: "app"})
	change, err := l.Set(t.Context(), bad)
	if err == nil || !strings.Contains(err.Error(), "broken") || change.Kind != Runtime {
		t.Fatalf("Set = %+v, %v", change, err)
	}
	t.Log(err)
	if l.worker() != worker {
		t.Error("the worker was replaced")
	}
	if _, list, _ := l.showServers(t.Context(), "app"); len(list) != 2 {
		t.Errorf("the endpoint of another service waited for the broken one: %+v", list)
	}
	l.set(want)
	if got := l.readFile(ConfigFile); got != file {
		t.Errorf("haproxy.cfg after the refusal:\n%s", got)
	}

	// A refusal of the master itself.
	l.files.mu.Lock()
	os.WriteFile(l.paths.Dir+"/"+ConfigFile, []byte(file+"\nbogus line\n"), 0o600)
	err = l.swapWorker(t.Context())
	l.files.mu.Unlock()
	if err == nil || !strings.Contains(err.Error(), "bogus") {
		t.Errorf("swapWorker = %v, want HAProxy's words", err)
	}
	t.Log(err)
	if status, _, _ := fetch(port, "x", "/"); status != 200 || l.worker() != worker {
		t.Errorf("status %d", status)
	}
}

func (l *lab) readFile(name string) string {
	data, err := os.ReadFile(l.paths.Dir + "/" + name)
	if err != nil {
		l.t.Fatal(err)
	}
	return string(data)
}

func TestE2EPortTaken(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	taken := listenAnywhere(t)
	defer taken.Close()
	want := simple(port, app(t, "a"))
	l.set(want)
	worker := l.worker()
	want.Frontends = append(slices.Clone(want.Frontends), Frontend{Name: "other", Mode: HTTP,
		Binds: []Bind{{loopback, uint16(taken.Addr().(*net.TCPAddr).Port)}}, Default: "app"})
	_, err := l.Set(t.Context(), want)
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("Set = %v, want the address and the holder", err)
	}
	t.Log(err)
	if status, _, _ := fetch(port, "x", "/"); status != 200 || l.worker() != worker {
		t.Errorf("status %d", status)
	}
}

// slowApp is an application that answers when it is let.
func slowApp(t *testing.T, name string) (s Server, release chan struct{}) {
	n := listenAnywhere(t)
	release = make(chan struct{})
	slow := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { <-release; fmt.Fprint(w, "at last") })}
	go func() { _ = slow.Serve(n) }()
	t.Cleanup(func() { slow.Close() })
	return Server{Name: name, Address: netip.MustParseAddrPort(n.Addr().String()), State: Ready, Weight: 1}, release
}

// A worker that a session keeps alive after a reload is counted, and its life
// is bounded.
func TestE2EOldWorkerEnds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opts.HardStop = 8 * time.Second // the old worker is looked at before
	l.HAProxy = New(l.opts)
	l.run()
	port, other := freePort(t), freePort(t)
	slow, release := slowApp(t, "slow")
	defer close(release)
	want := simple(port, slow)
	l.set(want)
	answer := make(chan int, 1)
	go func() { status, _, _ := fetch(port, "x", "/"); answer <- status }()
	l.eventually("the session runs", func() bool { return sessions(l) > 0 })
	want.Frontends = append(slices.Clone(want.Frontends), Frontend{Name: "other", Mode: HTTP, Binds: []Bind{{loopback, other}}, Default: "app"})
	l.set(want)
	if s := l.Status(); s.OldWorkers != 1 || s.ReloadCause != "frontend other added" {
		t.Errorf("%+v", s)
	}
	l.eventually("the old worker ends", func() bool { return l.Status().OldWorkers == 0 })
	if status := <-answer; status == 200 {
		t.Error("the session outlived its worker")
	}
}

// An upgrade that does not run is refused and touches nothing; one that runs
// is taken with a reload.
func TestE2EUpgrade(t *testing.T) {
	l := newLab(t)
	l.opts.Binary = filepath.Join(t.TempDir(), "haproxy")
	install := func(program []byte) {
		if err := errors.Join(os.WriteFile(l.opts.Binary+".new", program, 0o755), os.Rename(l.opts.Binary+".new", l.opts.Binary)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) []byte {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	install(read("/usr/sbin/haproxy"))
	l.HAProxy = New(l.opts)
	port := freePort(t)
	want := simple(port, app(t, "a"))
	l.set(want)
	worker := l.worker()
	if change := l.set(want); change.Kind != None {
		t.Fatalf("without an upgrade: %+v", change)
	}
	install([]byte("#!/bin/sh\necho '[ALERT] (1) : libssl.so.9 is missing' >&2\nexit 1\n"))
	if _, err := l.Set(t.Context(), want); err == nil || !strings.Contains(err.Error(), "libssl.so.9") {
		t.Errorf("a program that does not run: %v", err)
	}
	if status, _, _ := fetch(port, "x", "/"); status != 200 || l.worker() != worker {
		t.Errorf("status %d", status)
	}
	install(read(realBinary()))
	if change := l.set(want); change.Kind != Reload || !strings.Contains(change.Cause, "program was replaced") {
		t.Errorf("the upgrade: %+v", change)
	}
	if change := l.set(want); change.Kind != None {
		t.Errorf("after the upgrade: %+v", change)
	}
	if status, _, _ := fetch(port, "x", "/"); status != 200 {
		t.Errorf("status %d", status)
	}
	t.Log(l.Status().Version)
}
