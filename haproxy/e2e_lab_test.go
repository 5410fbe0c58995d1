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
	l := &lab{t: t, opts: Options{RunDir: dir, Binary: realBinary(), User: "haproxy", ReloadSpacing: time.Millisecond, PollInterval: 200 * time.Millisecond,
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

// patience is how long a test waits for what is to come; only a test that
// fails takes as long.
const patience = 30 * time.Second

func (l *lab) eventually(what string, is func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
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

// app is an application that answers with its name.
func app(t *testing.T, name string) Server {
	return serve(t, listenAnywhere(t), name)
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
		Backends:  []*Backend{calmBackend("app", servers...)},
	}
}

// The checks of a test's servers. Calm ones come so rarely that no machine is too
// busy to answer them in time; frequent ones are for tests that wait for a verdict,
// and their interval is also what one may take.
var (
	calm     = Check{Interval: time.Minute, Rise: 2, Fall: 2}
	frequent = Check{Interval: 500 * time.Millisecond, Rise: 2, Fall: 2}
)

// calmBackend has its servers in order.
func calmBackend(name string, servers ...Server) *Backend {
	servers = slices.Clone(servers)
	slices.SortFunc(servers, func(a, b Server) int { return strings.Compare(a.Name, b.Name) })
	return &Backend{Name: name, Mode: HTTP, Check: calm, Servers: servers}
}

// checked is the same configuration with frequent checks in its first backend.
func checked(c Config) Config {
	b := *c.Backends[0]
	b.Check = frequent
	c.Backends = append([]*Backend{&b}, c.Backends[1:]...)
	return c
}

// withServers is the same configuration with other servers in its first backend.
func withServers(c Config, servers ...Server) Config {
	b := *c.Backends[0]
	b.Servers = calmBackend("", servers...).Servers
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
	_ = conn.SetDeadline(time.Now().Add(patience))
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
