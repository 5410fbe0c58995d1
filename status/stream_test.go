package status

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serve runs a server on a socket below a new run directory.
func serve(t *testing.T, opts ServerOptions) (runDir string, stop func() error) {
	t.Helper()
	runDir = t.TempDir()
	l, err := Listen("unix:" + filepath.Join(runDir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	opts.Patience = time.Minute
	go func() { done <- NewServer(opts).Serve(ctx, l, true) }()
	stop = func() error {
		cancel()
		select {
		case err := <-done:
			done <- err
			return err
		case <-time.After(time.Minute):
			return errors.New("the server did not stop")
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return runDir, stop
}

func TestClientOverTheSocket(t *testing.T) {
	board := boardWith(example(t))
	refusal := errors.New("todo.yaml:1:1: unknown key")
	runDir, stop := serve(t, ServerOptions{Board: board, Sync: func(context.Context) error { return refusal },
		Actions: map[string]http.Handler{"drain": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "drained") })}})
	socket := filepath.Join(runDir, SocketName)
	if stat, err := os.Stat(socket); err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v (%v), want mode 0600", stat.Mode(), err)
	}
	if _, err := Listen("unix:" + socket); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("a socket in use gave %v", err)
	}
	c := NewClient(runDir)
	got, err := c.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(t), got); diff != "" {
		t.Error(diff)
	}
	if err := c.Sync(t.Context()); err == nil || !strings.Contains(err.Error(), refusal.Error()) {
		t.Errorf("sync gave %v, want the refusal", err)
	}
	if answer, err := c.Do(t.Context(), "drain", nil); err != nil || string(answer) != "drained" {
		t.Errorf("drain gave %q, %v", answer, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if _, err := NewClient("unix:" + socket).Report(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing listens") {
		t.Errorf("nobody there gave %v", err)
	}
}

func TestListenReplacesADeadSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err := Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); err == nil {
		t.Error("a file that is no socket was replaced")
	}
	if data, _ := os.ReadFile(path); string(data) != "precious" {
		t.Error("the file in the way was changed")
	}
}

// A reader who comes back gets what it missed, then what is new, and its
// stream ends when the server stops.
func TestEventsResume(t *testing.T) {
	board := NewBoard()
	board.Emit(Event{Kind: "host", Subject: "one"}, Event{Kind: "host", Subject: "two"})
	runDir, stop := serve(t, ServerOptions{Board: board})
	var seen []string
	first := board.Events(0)[0].ID
	for e, err := range NewClient(runDir).Events(t.Context(), first) {
		if err != nil {
			break // the server stopped
		}
		seen = append(seen, e.Subject)
		switch e.Subject {
		case "two":
			board.Emit(Event{Kind: "vip", Subject: "three\nlines", Cause: "\r\ndata: forged"})
		default:
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff([]string{"two", "three\nlines"}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestEventStreamFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := NewBoard()
		for i := range 5 {
			board.Emit(Event{Kind: "endpoint", Subject: fmt.Sprint("todo web-", i), From: "starting", To: "ready", Cause: "start"})
		}
		s := NewServer(ServerOptions{Board: board})
		first := board.Events(0)[0].ID
		want := func(i int) string {
			return fmt.Sprintf("id: %d\nevent: endpoint\ndata: {\"id\":%[1]d,\"time\":\"2000-01-01T00:00:00Z\",\"kind\":\"endpoint\","+
				"\"subject\":\"todo web-%d\",\"from\":\"starting\",\"to\":\"ready\",\"cause\":\"start\"}\n\n", first+uint64(i), i)
		}
		for _, c := range []struct{ query, lastID, want string }{
			{"?limit=2", "", want(3) + want(4)},
			{fmt.Sprint("?limit=2&after=", first), "", want(1) + want(2)},
			{"?limit=1&after=1", fmt.Sprint(first + 2), want(3)},
		} {
			r := httptest.NewRequest("GET", "/v1/events"+c.query, nil)
			r.Header.Set("Last-Event-ID", c.lastID)
			answer := ask(s, false, r)
			if diff := cmp.Diff("retry: 1000\n\n"+c.want, body(t, answer)); diff != "" {
				t.Errorf("%s %s: %s", c.query, c.lastID, diff)
			}
			if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
				t.Errorf("type %q", got)
			}
		}
	})
}

func TestHeartbeatAndTooManyReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := NewServer(ServerOptions{Board: NewBoard()})
		first := httptest.NewRecorder()
		read := func(w *httptest.ResponseRecorder) {
			s.handler(false, nil).ServeHTTP(w, httptest.NewRequest("GET", "/v1/events", nil).WithContext(ctx))
		}
		go read(first)
		synctest.Wait()
		for range maxStreams - 1 {
			go read(httptest.NewRecorder())
		}
		synctest.Wait()
		late := httptest.NewRecorder()
		read(late)
		if late.Code != http.StatusServiceUnavailable || late.Header().Get("Retry-After") == "" {
			t.Errorf("reader %d got %d", maxStreams+1, late.Code)
		}
		time.Sleep(3*heartbeat + time.Second) // the bubble's clock
		cancel()
		synctest.Wait()
		if got := strings.Count(first.Body.String(), ": alive\n\n"); got != 3 {
			t.Errorf("%d heartbeats in 46 s, want 3", got)
		}
		if len(s.streams) != 0 {
			t.Errorf("%d slots are still taken", len(s.streams))
		}
	})
}

// A reader that takes nothing keeps neither the board nor the shutdown waiting.
func TestStuckReader(t *testing.T) {
	board := NewBoard()
	runDir, stop := serve(t, ServerOptions{Board: board})
	conn, err := net.Dial("unix", filepath.Join(runDir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
	big := strings.Repeat("x", 10_000)
	for range 2000 {
		board.Emit(Event{Kind: "host", Cause: big})
		board.Publish(&Report{})
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
