package haproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// countEvery is how often old workers are counted while there are any.
const countEvery = time.Second

// workerPID asks which worker serves the stats socket, and notes its version.
func (h *HAProxy) workerPID(ctx context.Context) (int, error) {
	text, err := h.cli.ask(ctx, "show info")
	if err != nil {
		return 0, err
	}
	info := parseInfo(text)
	pid, err := strconv.Atoi(info["Pid"])
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("ask haproxy for its worker: %s", firstLine(text))
	}
	h.seen.Lock()
	h.status.Version = info["Version"]
	h.seen.Unlock()
	h.worker = pid
	return pid, nil
}

// countWorkers counts the old workers: the children of the master that are not
// the present one. The kernel knows them also while the master, which executes
// itself anew at each reload, cannot be asked.
func (h *HAProxy) countWorkers() {
	old := slices.DeleteFunc(children(h.proc.PID), func(pid int) bool { return pid == h.worker || ended(pid) })
	h.seen.Lock()
	changed := h.status.OldWorkers != len(old)
	h.status.OldWorkers = len(old)
	h.seen.Unlock()
	if changed {
		signal(h.poke)
		signal(h.wake)
	}
}

// nextCount fires when the old workers are to be counted again; nil when there
// are none.
func (h *HAProxy) nextCount() <-chan time.Time {
	if h.Status().OldWorkers == 0 {
		return nil
	}
	return time.After(countEvery)
}

// recount counts the old workers of a HAProxy that lives.
func (h *HAProxy) recount() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.alive() {
		h.countWorkers()
	}
}

// ended reports whether a child has ended and waits for its parent to notice.
func ended(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(data), ") ")
	return err != nil || strings.HasPrefix(rest, "Z")
}

// replaced reports whether the program file was replaced since HAProxy was
// started, as an upgrade of the package does. The master executes the file
// anew at a reload, so that is all an upgrade takes.
func (h *HAProxy) replaced() bool {
	if h.proc == nil {
		return false
	}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", h.proc.PID))
	return err == nil && strings.HasSuffix(program, " (deleted)")
}

// witness is a connection to a worker that stays open while another takes
// over: after that it alone can tell what the old one does. It keeps the old
// worker alive until it is closed.
type witness struct {
	conn    net.Conn
	replies *bufio.Reader
}

const prompt = "\n> "

// newWitness connects to the worker that serves the stats socket now.
func newWitness(ctx context.Context, path string) (*witness, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("ask haproxy: %w", err)
	}
	w := &witness{conn: conn, replies: bufio.NewReader(conn)}
	if _, err := w.ask(ctx, "prompt"); err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *witness) close() { _ = w.conn.Close() }

// ask sends one line and returns the answer up to the prompt.
func (w *witness) ask(ctx context.Context, line string) (string, error) {
	deadline := time.Now().Add(cliDeadline)
	if limit, ok := ctx.Deadline(); ok && limit.Before(deadline) {
		deadline = limit
	}
	_ = w.conn.SetDeadline(deadline)
	if _, err := io.WriteString(w.conn, line+"\n"); err != nil {
		return "", fmt.Errorf("ask haproxy's worker: %w", err)
	}
	var reply strings.Builder
	for !strings.HasSuffix(reply.String(), prompt) {
		text, err := w.replies.ReadString(' ')
		if reply.WriteString(text); err != nil {
			return "", fmt.Errorf("read the answer of haproxy's worker: %w", err)
		}
	}
	return strings.TrimSuffix(reply.String(), prompt), nil
}

// leaves waits until the worker takes no new connections: no command can reach
// it by the stats socket then. One that has ended, or that ends idle
// connections, does not either.
func (w *witness) leaves(ctx context.Context) error {
	for {
		text, err := w.ask(ctx, "show info")
		if err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if parseInfo(text)["Stopping"] == "1" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the old worker does not stop: %w", ctx.Err())
		case <-time.After(lookEvery):
		}
	}
}
