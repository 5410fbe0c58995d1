package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

// fake is a sentinel's socket; its process is a `sleep` that the client starts.
// It keeps the orders of the process that lives, as the real one does.
type fake struct {
	t      *testing.T
	record string
	mu     sync.Mutex
	pid    int
	want   Want
	puts   int
	watch  map[chan struct{}]bool
}

func newFake(t *testing.T) (*fake, *Client) {
	t.Helper()
	dir := t.TempDir()
	f := &fake{t: t, record: filepath.Join(dir, Record), watch: map[chan struct{}]bool{}}
	l, err := net.Listen("unix", filepath.Join(dir, Socket))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+PathWant, f.put)
	mux.HandleFunc("GET "+PathWatch, f.follow)
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); f.kill() })
	return f, NewClient(ClientOptions{RunDir: dir, Spec: supervise.Spec{Path: "sleep", Args: []string{"600"}}})
}

// process notices a new process, which knows nothing of the last one's orders.
func (f *fake) process() int {
	if p, err := supervise.Adopt(f.record); err == nil && p.PID != f.pid {
		f.pid, f.want = p.PID, Want{}
	}
	return f.pid
}

func (f *fake) state() State { return State{PID: f.process(), HAProxyUp: f.want.Gate.PID != 0} }

func (f *fake) put(rw http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var w Want
	if err := json.NewDecoder(r.Body).Decode(&w); err != nil || w.Gate.PID < 0 {
		rw.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = rw.Write([]byte(`{"error":"refuse want: gate.pid"}`))
		return
	}
	f.process()
	changed := f.want.Gate != w.Gate
	f.want = w
	f.puts++
	_ = json.NewEncoder(rw).Encode(Answer{Changed: changed, State: f.state()})
}

func (f *fake) follow(rw http.ResponseWriter, r *http.Request) {
	broken := make(chan struct{})
	f.mu.Lock()
	f.watch[broken] = true
	_ = json.NewEncoder(rw).Encode(f.state())
	f.mu.Unlock()
	_ = http.NewResponseController(rw).Flush()
	select {
	case <-r.Context().Done():
	case <-broken:
	}
}

// kill is the sentinel's sudden death: process gone, connections broken.
func (f *fake) kill() {
	if p, err := supervise.Adopt(f.record); err == nil {
		_ = p.Stop(syscall.SIGKILL, time.Second)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for broken := range f.watch {
		close(broken)
	}
	clear(f.watch)
}

func (f *fake) gate() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.process()
	return f.want.Gate.PID
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func orders(pid int) Want { return Want{Gate: Gate{PID: pid, StartTime: 1}} }

func TestClient(t *testing.T) {
	f, c := newFake(t)
	if s := c.Status(); s.Running || s.Err != nil {
		t.Errorf("before the first Set: %+v", s)
	}
	for i, changed := range []bool{true, false} {
		if got, err := c.Set(t.Context(), orders(7)); err != nil || got != changed {
			t.Fatalf("Set %d = %t, %v", i, got, err)
		}
	}
	if f.puts != 1 { // Run does not run yet
		t.Errorf("orders that were confirmed were sent %d times", f.puts)
	}
	if s, ok := c.State(); !ok || !s.HAProxyUp || s.PID != c.Status().PID {
		t.Errorf("state = %+v, %t", s, ok)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()

	first := c.Status().PID
	f.kill()
	eventually(t, "another process with the last orders", func() bool {
		s, ok := c.State()
		return ok && s.PID != first && f.gate() == 7 && s.HAProxyUp && c.Status().PID == s.PID
	})
	if s := c.Status(); !s.Running {
		t.Errorf("status = %+v", s)
	}
	refused := new(refusal)
	if _, err := c.Set(ctx, orders(-1)); !errors.As(err, &refused) || c.Status().Err == nil {
		t.Errorf("bad orders: %v, status %+v", err, c.Status())
	}
	if _, err := c.Set(ctx, orders(8)); err != nil || f.gate() != 8 || c.Status().Err != nil {
		t.Errorf("good orders again: %v, %d", err, f.gate())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	// The next controller adopts what runs.
	next := NewClient(c.opts)
	if changed, err := next.Set(t.Context(), orders(8)); changed || err != nil {
		t.Errorf("Set of the next = %t, %v", changed, err)
	}
	if next.Status().PID != c.Status().PID {
		t.Errorf("started another process: %+v, %+v", next.Status(), c.Status())
	}
	if err := next.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := supervise.Adopt(f.record); !errors.Is(err, supervise.ErrNotRunning) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := next.Set(t.Context(), orders(8)); err == nil {
		t.Error("a closed client took orders")
	}
}

func TestClientCannotStart(t *testing.T) {
	for path, want := range map[string]string{"vipilot-no-such-program": "not found", "false": "ended at once"} {
		c := NewClient(ClientOptions{RunDir: t.TempDir(), Spec: supervise.Spec{Path: path}})
		_, err := c.Set(t.Context(), orders(1))
		if err == nil || c.Status().Err == nil || c.Status().Running {
			t.Errorf("%s: %v (%s), status %+v", path, err, want, c.Status())
		}
	}
}
