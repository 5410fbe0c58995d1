// Command app is the application the lab runs in containers: a small to-do
// list over HTTP that says which container answered, and an optional TCP echo.
//
// Environment: PORT (8080), TCP_PORT (none), VERSION, START_DELAY (listen this
// late), GRACE (after SIGTERM serve on for this long, default 1s). Health stays
// good during GRACE, so that only the stop signal tells a balancer to drain.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	delay, err := time.ParseDuration(cmp.Or(os.Getenv("START_DELAY"), "0s"))
	if err != nil {
		return fmt.Errorf("read START_DELAY: %w", err)
	}
	grace, err := time.ParseDuration(cmp.Or(os.Getenv("GRACE"), "1s"))
	if err != nil {
		return fmt.Errorf("read GRACE: %w", err)
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil
	}
	if port := os.Getenv("TCP_PORT"); port != "" {
		if err := echo(port); err != nil {
			return err
		}
	}
	server := &http.Server{Addr: ":" + cmp.Or(os.Getenv("PORT"), "8080"), Handler: newTodo()}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	time.Sleep(grace)
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(ending)
}

// todo is the service: a list of texts, kept in memory.
type todo struct {
	name, version string
	mux           http.ServeMux

	mu    sync.Mutex
	items []string
}

func newTodo() http.Handler {
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	t := &todo{name: name, version: cmp.Or(os.Getenv("VERSION"), "1"), items: []string{}}
	t.mux.HandleFunc("/", t.list)
	t.mux.HandleFunc("GET /todos", t.list)
	t.mux.HandleFunc("POST /todos", t.add)
	t.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	t.mux.HandleFunc("GET /slow", slow)
	t.mux.HandleFunc("GET /stream", stream)
	return t
}

// ServeHTTP marks every answer with the container that gave it.
func (t *todo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Container", t.name)
	w.Header().Set("X-Version", t.version)
	t.mux.ServeHTTP(w, r)
}

func (t *todo) list(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	t.mu.Lock()
	defer t.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"container": t.name, "version": t.version, "host": r.Host, "path": r.URL.Path, "todos": t.items, "forwarded": r.Header.Values("X-Forwarded-For"),
	})
}

func (t *todo) add(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	if err != nil || len(text) == 0 {
		http.Error(w, "send the text as the body", http.StatusBadRequest)
		return
	}
	t.mu.Lock()
	t.items = append(t.items[max(0, len(t.items)-99):], string(text))
	t.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
}

func slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.FormValue("ms"))
	if err != nil || ms < 0 || ms > 60_000 {
		http.Error(w, "ms must be 0..60000", http.StatusBadRequest)
		return
	}
	time.Sleep(time.Duration(ms) * time.Millisecond)
	fmt.Fprintln(w, "done")
}

// stream sends a line every 100 ms until the client leaves.
func stream(w http.ResponseWriter, r *http.Request) {
	for i := 0; ; i++ {
		if _, err := fmt.Fprintln(w, i); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// echo answers every TCP connection on port with what it sends.
func echo(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return fmt.Errorf("listen for echo: %w", err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return nil
}
