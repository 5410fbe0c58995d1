package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/internal/span"
	"github.com/vipilot/vipilot/internal/supervise"
)

const (
	startDeadline = 30 * time.Second
	lookEvery     = 2 * time.Millisecond
	maxDir        = 80 // a unix socket's path has at most 107 bytes, and HAProxy adds a suffix while it binds
)

func (h *HAProxy) record() string  { return filepath.Join(h.paths.Dir, "haproxy.json") }
func (h *HAProxy) logFile() string { return filepath.Join(h.paths.Dir, "haproxy.log") }

// adopt takes over the process a predecessor started, if it lives, or the one
// to attach to.
func (h *HAProxy) adopt() bool {
	p, err := h.find()
	if err != nil {
		return false
	}
	h.owns(p)
	return true
}

func (h *HAProxy) find() (*supervise.Process, error) {
	if !h.opts.Attach {
		return supervise.Adopt(h.record())
	}
	ctx, cancel := context.WithTimeout(context.Background(), cliDeadline)
	defer cancel()
	return supervise.FindListener(ctx, h.paths.master())
}

// owns notes a process whose state is not known yet.
func (h *HAProxy) owns(p *supervise.Process) {
	h.proc, h.known = p, false
	h.seen.Lock()
	h.status.Running, h.status.PID, h.status.StartTime = true, p.PID, p.StartTime
	h.seen.Unlock()
	signal(h.wake)
	signal(h.poke)
}

// takeOver finds out what an adopted process runs. Where only servers and
// routes differ from want, they are corrected; else it is reloaded.
func (h *HAProxy) takeOver(ctx context.Context, want Config) (Change, error) {
	none := Change{Kind: None}
	if err := h.answers(ctx); err != nil {
		return none, fmt.Errorf("adopt haproxy %d: %w", h.proc.PID, err)
	}
	rendered, err := Render(want, h.paths)
	if err != nil {
		return none, err
	}
	cause, err := h.files.differs(rendered)
	if err != nil {
		return none, err
	}
	if cause == "" {
		if cause, _, err = h.reconcile(ctx, want); err == nil && cause == "" {
			h.known = true
			h.save(want)
			h.countWorkers()
			return Change{Kind: Adopted}, nil
		}
	}
	if err != nil {
		return none, fmt.Errorf("adopt haproxy %d: %w", h.proc.PID, err)
	}
	if err := h.reload(ctx, want, cause); err != nil {
		return Change{Kind: None, Cause: cause}, err
	}
	return Change{Kind: Reload, Cause: cause}, nil
}

// start starts HAProxy with want. Nothing runs before, so nothing is lost when
// it fails.
func (h *HAProxy) start(ctx context.Context, want Config) error {
	if len(h.paths.Dir) > maxDir {
		return fmt.Errorf("start haproxy: run directory %s is longer than the %d bytes that leave room for socket names", h.paths.Dir, maxDir)
	}
	binary, err := exec.LookPath(h.opts.Binary)
	if err != nil {
		return missing(h.opts.Binary, err)
	}
	rendered, err := h.prove(ctx, want)
	if err != nil {
		return fmt.Errorf("start haproxy: %w", err)
	}
	h.files.mu.Lock()
	defer h.files.mu.Unlock()
	h.files.dirty.Store(nil)
	for _, left := range []string{h.paths.stats(), h.paths.master(), h.paths.state(), filepath.Join(h.paths.Dir, loadedFile)} {
		if err := os.Remove(left); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("start haproxy: remove what a predecessor left: %w", err)
		}
	}
	if err := errors.Join(h.paths.makeSockets(), h.files.write(h.paths.Dir, rendered)); err != nil {
		return fmt.Errorf("start haproxy: %w", err)
	}
	said := h.logSize()
	p, err := supervise.Start(supervise.Spec{
		Path:   binary,
		Args:   h.paths.args(),
		Dir:    h.paths.Dir,
		Record: h.record(),
		Log:    h.logFile(),
	})
	if err != nil {
		return err
	}
	h.owns(p)
	if err := h.answers(ctx); err != nil {
		return fmt.Errorf("start haproxy: %w: %s", err, complaints(h.logSince(said)))
	}
	if err := h.files.remember(rendered); err != nil {
		return err
	}
	return h.settle(ctx, want)
}

// settle makes a new worker's runtime state what is wanted: the file cannot
// say drain, and a server may have changed since it was written.
func (h *HAProxy) settle(ctx context.Context, want Config) error {
	h.applied, h.known = want, true
	clear(h.leaving)
	clear(h.unsure)
	h.certsUnsure = false
	h.countWorkers()
	cause, _, err := h.reconcile(ctx, want)
	if err == nil && cause != "" {
		err = errors.New(cause)
	}
	if err != nil {
		for _, b := range want.Backends {
			h.unsure[b.Name] = true
		}
		return fmt.Errorf("settle haproxy: %w", err)
	}
	return nil
}

// prove renders want and has everything found out that would make HAProxy
// refuse it, before anything that runs is touched.
func (h *HAProxy) prove(ctx context.Context, want Config) (Files, error) {
	_, end := span.Start(ctx, "haproxy render")
	rendered, err := Render(want, h.paths)
	end(err)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(h.paths.Dir, 0o750); err != nil {
		return nil, err
	}
	trial := filepath.Join(h.paths.Dir, "trial")
	if err := h.files.write(trial, rendered); err != nil {
		return nil, err
	}
	defer os.RemoveAll(trial)
	taken := make(chan error, 1)
	ctx, end = span.Start(ctx, "haproxy check")
	go func() { taken <- probe(want, h.pids(), h.bound()) }() // beside the check: both take a while
	err = CheckFiles(ctx, h.opts.Binary, trial)
	if inUse := <-taken; err == nil {
		err = inUse
	}
	end(err)
	if err != nil {
		return nil, err
	}
	return rendered, nil
}

// answers waits until a worker serves the stats socket.
func (h *HAProxy) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		_, err := h.workerPID(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-h.proc.Done():
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("it does not answer on %s: %w", h.paths.stats(), errors.Join(ctx.Err(), err))
		case <-time.After(lookEvery):
		}
	}
}

// bound is where HAProxy listens. One that somebody else starts may be doing so
// at this moment, on what it was given last.
func (h *HAProxy) bound() bound {
	if !h.alive() && !h.opts.Attach {
		return nil
	}
	return boundBy(h.files.runs())
}

// pids are the master and the workers, as far as they are known.
func (h *HAProxy) pids() []int {
	if !h.alive() {
		return nil
	}
	return append(children(h.proc.PID), h.proc.PID)
}

// Close stops HAProxy for an ordered exit: it takes no new connections and
// ends when the last is done, or when ctx ends. One that was attached to is
// left to whoever started it.
func (h *HAProxy) Close(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
	if h.opts.Attach {
		return nil
	}
	if !h.alive() && !h.adopt() {
		return nil
	}
	_, _ = h.showProc(ctx) // a master that executes itself anew, after a reload, misses the signal
	if err := h.proc.Signal(syscall.SIGUSR1); err != nil && !errors.Is(err, supervise.ErrNotRunning) {
		return fmt.Errorf("close haproxy: %w", err)
	}
	select {
	case <-h.proc.Done():
	case <-ctx.Done():
	}
	if err := h.proc.Stop(syscall.SIGTERM, 2*time.Second); err != nil {
		return fmt.Errorf("close haproxy: %w", err)
	}
	h.buried()
	return nil
}

// buried notes that the process has ended.
func (h *HAProxy) buried() {
	h.seen.Lock()
	h.status.Running, h.status.OldWorkers = false, 0
	h.seen.Unlock()
	signal(h.poke)
}

func (h *HAProxy) logSize() int64 {
	info, err := os.Stat(h.logFile())
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSince is what HAProxy wrote to its log after offset.
func (h *HAProxy) logSince(offset int64) string {
	f, err := os.Open(h.logFile())
	if err != nil {
		return ""
	}
	defer f.Close()
	data, _ := io.ReadAll(io.NewSectionReader(f, offset, 64<<10))
	return string(data)
}

// fileLimit is how many files a child may open.
func fileLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Max, 1<<20))
}
