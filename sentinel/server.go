package sentinel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"reflect"
	"sync"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/internal/rhythm"
	"github.com/vipilot/vipilot/routing/remote"
)

// board holds the latest state for any number of readers.
type board struct {
	mu      sync.Mutex
	state   remote.State
	changed chan struct{} // closed by the next post
}

func newBoard() *board { return &board{changed: make(chan struct{})} }

func (b *board) post(s remote.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if reflect.DeepEqual(s, b.state) {
		return
	}
	b.state = s
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *board) read() (remote.State, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.changed
}

// listen opens the socket for its owner only. The lock on the run directory
// makes sure that a socket found there is a dead one's.
func listen(name string) (net.Listener, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen: %w", err)
	}
	// The mode must be right from the start; it follows the process's umask.
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", name)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

func serve(ctx context.Context, l net.Listener, w *watchdog) error {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT "+remote.PathWant, func(rw http.ResponseWriter, r *http.Request) { putWant(ctx, w, rw, r) })
	mux.HandleFunc("POST "+remote.PathHandOver, func(rw http.ResponseWriter, r *http.Request) { handOver(ctx, w, rw, r) })
	mux.HandleFunc("GET "+remote.PathState, func(rw http.ResponseWriter, r *http.Request) {
		s, _ := w.board.read()
		answer(rw, http.StatusOK, s)
	})
	mux.HandleFunc("GET "+remote.PathWatch, func(rw http.ResponseWriter, r *http.Request) { watch(ctx, w.board, rw, r) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func putWant(ctx context.Context, w *watchdog, rw http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxWant))
	if err != nil {
		answer(rw, http.StatusRequestEntityTooLarge, map[string]string{"error": fmt.Sprintf("read want: %v", err)})
		return
	}
	want, err := decodeWant(data)
	if err != nil {
		answer(rw, http.StatusUnprocessableEntity, map[string]string{"error": err.Error()})
		return
	}
	a, ok := w.set(r.Context(), ctx, want)
	if !ok {
		answer(rw, http.StatusServiceUnavailable, map[string]string{"error": "the sentinel is stopping"})
		return
	}
	answer(rw, http.StatusOK, a)
}

// watch sends a line now, on every change, and at least every Heartbeat.
func watch(ctx context.Context, b *board, rw http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(rw)
	rw.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(rw)
	for {
		s, changed := b.read()
		_ = control.SetWriteDeadline(time.Now().Add(remote.Heartbeat))
		if lines.Encode(s) != nil || control.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-time.After(rhythm.Next(remote.Heartbeat)):
		case <-r.Context().Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

func answer(rw http.ResponseWriter, code int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	_ = json.NewEncoder(rw).Encode(v)
}
