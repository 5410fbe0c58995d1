package haproxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/internal/span"
	"github.com/vipilot/vipilot/render"
)

const reloadDeadline = 30 * time.Second

// reload replaces the worker by one that runs want. All that can be proven
// wrong beforehand is; when HAProxy still refuses, the old worker keeps running
// and the files say again what it runs.
func (h *HAProxy) reload(ctx context.Context, want Config, cause string) error {
	began := time.Now()
	rendered, err := h.prove(ctx, want)
	if err != nil {
		return fmt.Errorf("reload haproxy (%s): %w", cause, err)
	}
	h.files.mu.Lock()
	defer h.files.mu.Unlock()
	if err := h.files.flush(); err != nil {
		return fmt.Errorf("reload haproxy (%s): %w", cause, err)
	}
	old, err := h.files.read()
	if err != nil {
		return fmt.Errorf("reload haproxy (%s): %w", cause, err)
	}
	err = h.saveState(ctx, want)
	if err == nil {
		err = errors.Join(h.paths.makeSockets(), h.files.write(h.paths.Dir, rendered))
	}
	if err == nil {
		h.lastReload = time.Now()
		part, end := span.Start(ctx, "haproxy reload")
		err = h.swapWorker(part)
		end(err)
	}
	if err != nil {
		return fmt.Errorf("reload haproxy (%s): %w", cause, errors.Join(err, h.files.write(h.paths.Dir, old)))
	}
	h.seen.Lock()
	h.status.Reloads++
	h.status.ReloadCause = cause
	h.seen.Unlock()
	err = errors.Join(h.files.remember(rendered), h.settle(ctx, want))
	h.log.Info("haproxy reloaded", "cause", cause, "took", time.Since(began))
	return err
}

// saveState writes what the old worker knows of its servers for the new one:
// without it a dead server would get traffic until its first check.
func (h *HAProxy) saveState(ctx context.Context, want Config) error {
	text, list, err := h.showServers(ctx, "")
	if err != nil {
		return err
	}
	_, err = render.WriteFile(h.paths.state(), stateFile(text, list, want), 0o600)
	return err
}

// swapWorker tells the master to reload and waits for the new worker. HAProxy
// 2.6 says nothing on the socket: a worker that was not there before shows
// that it went well, the master's count of failures that it did not, and the
// log why. From 2.7 on the reply says both.
func (h *HAProxy) swapWorker(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reloadDeadline)
	defer cancel()
	before, err := h.showProc(ctx)
	if err != nil {
		return err
	}
	old, err := newWitness(ctx, h.paths.stats())
	if err != nil {
		return err
	}
	defer old.close()
	said := h.logSize()
	reply, err := exchange(ctx, h.paths.master(), "reload")
	if errors.Is(err, unix.ECONNREFUSED) {
		return err // any other error is 2.6 cutting the connection
	}
	if strings.Contains(reply, "Success=0") {
		return fmt.Errorf("haproxy refused it: %s", complaints(reply))
	}
	for {
		// The new worker answers while the master still executes itself anew.
		if pid, err := h.workerPID(ctx); err == nil && pid != before.worker && !slices.Contains(before.old, pid) {
			return old.leaves(ctx)
		}
		if now, err := h.tryProc(ctx); err == nil && now.failed > before.failed {
			return fmt.Errorf("haproxy refused it: %s", complaints(h.logSince(said)))
		}
		select {
		case <-h.proc.Done():
			return errors.New("haproxy died of it")
		case <-ctx.Done():
			return fmt.Errorf("no new worker: %w", ctx.Err())
		case <-time.After(lookEvery):
		}
	}
}

// showProc asks the master for its processes. After a start and during a
// reload the master executes itself anew and does not listen for some
// milliseconds.
func (h *HAProxy) showProc(ctx context.Context) (processes, error) {
	ctx, cancel := context.WithTimeout(ctx, cliDeadline)
	defer cancel()
	for {
		p, err := h.tryProc(ctx)
		if err == nil {
			return p, nil
		}
		select {
		case <-h.proc.Done():
			return processes{}, errors.New("haproxy has ended")
		case <-ctx.Done():
			return processes{}, fmt.Errorf("ask haproxy's master: %w", errors.Join(ctx.Err(), err))
		case <-time.After(lookEvery):
		}
	}
}

// tryProc asks the master once. It keeps a connection open after its reply,
// hence quit.
func (h *HAProxy) tryProc(ctx context.Context) (processes, error) {
	text, err := exchange(ctx, h.paths.master(), "show proc;quit")
	if err != nil {
		return processes{}, err
	}
	p, ok := parseProc(text)
	if !ok {
		return p, fmt.Errorf("haproxy's master says: %s", firstLine(text))
	}
	return p, nil
}
