package haproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// These tests drive the real HAProxy on ports of 127.0.0.1;
// VIPILOT_E2E_HAPROXY names another binary than the one in PATH.

func e2e(t *testing.T) {
	t.Helper()
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run against the real haproxy")
	}
}

func realBinary() string {
	if b := os.Getenv("VIPILOT_E2E_HAPROXY"); b != "" {
		return b
	}
	return "haproxy"
}

// lab is one real HAProxy with the applications behind it.
type lab struct {
	*HAProxy
	t    *testing.T
	opts Options
	stop func()
}

func newLab(t *testing.T) *lab {
	e2e(t)
	dir, err := os.MkdirTemp("/tmp", "haproxy-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, opts: Options{RunDir: dir, Binary: realBinary(), ReloadSpacing: time.Millisecond, PollInterval: 200 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}}
	l.HAProxy, l.stop = New(l.opts), func() {}
	t.Cleanup(func() {
		l.stop()
		if l.proc != nil || l.adopt() {
			pids := l.pids()
			_ = l.proc.Stop(syscall.SIGTERM, 2*time.Second)
			for _, pid := range pids {
				l.eventually("worker gone", func() bool { return syscall.Kill(pid, 0) != nil || isZombie(pid) })
			}
		}
		os.RemoveAll(dir)
	})
	return l
}

func isZombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(data), ") Z ")
}

// run starts Run; successor makes a second controller on the same directory.
func (l *lab) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	h := l.HAProxy
	go func() { done <- h.Run(ctx) }()
	l.eventually("Run runs", h.active.Load)
	l.stop = func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
		l.stop = func() {}
	}
}

func (l *lab) successor() {
	l.stop()
	l.HAProxy = New(l.opts)
}

func (l *lab) set(want Config) Change {
	l.t.Helper()
	change, err := l.Set(l.t.Context(), want)
	if err != nil {
		l.t.Fatal(err)
	}
	return change
}

func (l *lab) eventually(what string, is func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(deadline) {
			l.t.Fatalf("never: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// worker is the pid of the worker that answers.
func (l *lab) worker() string {
	text, err := l.cli.ask(l.t.Context(), "show info")
	if err != nil {
		l.t.Fatal(err)
	}
	return parseInfo(text)["Pid"]
}

// freePort is a port nobody listens on.
func freePort(t *testing.T) uint16 {
	n, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	return uint16(n.Addr().(*net.TCPAddr).Port)
}

// app is an application that answers with its name.
func app(t *testing.T, name string) Server {
	n, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, n, name)
}

func serve(t *testing.T, n net.Listener, name string) Server {
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s proto=%s for=%s evil=%s", name, r.URL.RequestURI(), r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Host"))
	})}
	go func() { _ = s.Serve(n) }()
	t.Cleanup(func() { s.Close() })
	return Server{Name: name, Address: netip.MustParseAddrPort(n.Addr().String()), State: Ready, Weight: 100}
}

var loopback = netip.MustParseAddr("127.0.0.1")

// simple is one frontend for every host with one backend.
func simple(port uint16, servers ...Server) Config {
	return Config{
		MaxConn:   1000,
		Frontends: []Frontend{{Name: "front", Mode: HTTP, Binds: []Bind{{loopback, port}}, Routes: []Route{{Path: "/", Backend: "app"}}}},
		Backends:  []*Backend{fastBackend("app", servers...)},
	}
}

func fastBackend(name string, servers ...Server) *Backend {
	servers = slices.Clone(servers)
	slices.SortFunc(servers, func(a, b Server) int { return strings.Compare(a.Name, b.Name) })
	return &Backend{Name: name, Mode: HTTP, Check: Check{Interval: 100 * time.Millisecond, Rise: 2, Fall: 2}, Servers: servers}
}

// withServers is the same configuration with other servers in its first backend.
func withServers(c Config, servers ...Server) Config {
	b := *c.Backends[0]
	b.Servers = fastBackend("", servers...).Servers
	c.Backends = append([]*Backend{&b}, c.Backends[1:]...)
	return c
}

// fetch is the answer to one request on a connection of its own.
func fetch(port uint16, host, uri string, header ...string) (status int, body string, h http.Header) {
	conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0, err.Error(), nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	request := "GET " + uri + " HTTP/1.1\r\nConnection: close\r\n"
	if host != "-" {
		request += "Host: " + host + "\r\n"
	}
	for _, line := range header {
		request += line + "\r\n"
	}
	fmt.Fprint(conn, request+"\r\n")
	return readResponse(conn)
}

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
		began := time.Now()
		change, err := l.Set(t.Context(), want)
		if err != nil || change.Kind != Reload || !strings.Contains(change.Cause, "frontend other") {
			t.Errorf("%+v, %v", change, err)
		}
		t.Logf("reload took %v (%s)", time.Since(began), change.Cause)
	}
	cancel()
	clients.Wait()
	if failures.Load() > 0 || requests.Load() < 100 {
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
	want := simple(port, a, dead, drained)
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
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	want := simple(port, app(t, "a"))
	l.set(want)
	worker := l.worker()
	want.Frontends = append(slices.Clone(want.Frontends), Frontend{Name: "other", Mode: HTTP,
		Binds: []Bind{{loopback, uint16(taken.Addr().(*net.TCPAddr).Port)}}, Default: "app"})
	_, err = l.Set(t.Context(), want)
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Fatalf("Set = %v, want the address and the holder", err)
	}
	t.Log(err)
	if status, _, _ := fetch(port, "x", "/"); status != 200 || l.worker() != worker {
		t.Errorf("status %d", status)
	}
}

func TestE2EAdoption(t *testing.T) {
	l := newLab(t)
	l.run()
	port := freePort(t)
	a, b, c := app(t, "a"), app(t, "b"), app(t, "c")
	l.set(simple(port, a, b))
	worker := l.worker()

	l.successor() // while nobody looked: b left, c came
	l.run()
	if change := l.set(simple(port, a, c)); change.Kind != Adopted {
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
	l.set(simple(port, a, c, gone))
	l.eventually("gone is down", func() bool { return l.Servers().Of("app", "gone") == Down })

	l.successor() // another structure
	want := simple(port, a)
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
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l.eventually("served again", func() bool { s, _, _ := fetch(port, "x", "/"); return s == 200 && l.Status().PID != pid })
	t.Logf("served again after %v", time.Since(began))
	l.eventually("restart counted", func() bool { s := l.Status(); return s.Running && s.Restarts == 1 && s.Err == nil })
}

func TestE2EHealthFeed(t *testing.T) {
	l := newLab(t)
	l.opts.PollInterval = time.Hour
	l.HAProxy = New(l.opts)
	l.run()
	port := freePort(t)
	n, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := serve(t, n, "a")
	b := app(t, "b")
	l.set(simple(port, a, b))
	if l.Servers().Of("app", "a") != Up {
		t.Fatal("a is not up at once")
	}
	n.Close()
	began := time.Now()
	l.eventually("a is down", func() bool { return l.Servers().Of("app", "a") == Down })
	t.Logf("down known after %v (checks every 100 ms, fall 2)", time.Since(began))
	select {
	case <-l.Health():
	default:
		t.Error("no poke")
	}
}

func TestE2EDeleteLate(t *testing.T) {
	l := newLab(t)
	l.opts.DeleteDelay = 50 * time.Millisecond
	l.HAProxy = New(l.opts)
	l.run()
	port := freePort(t)
	a, b := app(t, "a"), app(t, "b")
	want := simple(port, a, b)
	none := 0
	want.Backends[0].Retries, want.Backends[0].Connect = &none, 10*time.Millisecond
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
	if waited := time.Since(began); waited < time.Second { // (retries+1) × (connect+1s)
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

func readResponse(conn io.Reader) (int, string, http.Header) {
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error(), nil
	}
	return response.StatusCode, string(body), response.Header
}

func sortBackends(list []*Backend) {
	slices.SortFunc(list, func(a, b *Backend) int { return strings.Compare(a.Name, b.Name) })
}

// A long session outlives a reload, and an ordered Close waits for it.
func TestE2ELongSessionAndClose(t *testing.T) {
	l := newLab(t)
	port, other := freePort(t), freePort(t)
	release := make(chan struct{})
	n, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { <-release; fmt.Fprint(w, "at last") })}
	go func() { _ = slow.Serve(n) }()
	defer slow.Close()
	want := simple(port, Server{Name: "slow", Address: netip.MustParseAddrPort(n.Addr().String()), State: Ready, Weight: 1})
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
