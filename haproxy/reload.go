package haproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

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
		err = h.files.write(h.paths.Dir, rendered)
	}
	if err == nil {
		h.lastReload = time.Now()
		err = h.swapWorker(ctx)
	}
	if err != nil {
		return fmt.Errorf("reload haproxy (%s): %w", cause, errors.Join(err, h.files.write(h.paths.Dir, old)))
	}
	h.seen.Lock()
	h.status.Reloads++
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
// 2.6 says nothing on the socket: the list of processes shows what came of it,
// and the log why. From 2.7 on the reply says both.
func (h *HAProxy) swapWorker(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reloadDeadline)
	defer cancel()
	before, err := h.showProc(ctx)
	if err != nil {
		return err
	}
	said := h.logSize()
	reply, err := exchange(ctx, h.paths.master(), "reload")
	if errors.Is(err, unix.ECONNREFUSED) {
		return err // any other error is 2.6 cutting the connection
	}
	if strings.Contains(reply, "Success=0") {
		return fmt.Errorf("haproxy refused it: %s", complaints(reply))
	}
	for {
		now, err := h.showProc(ctx)
		switch {
		case err != nil: // it parses a large file, or it has ended, or our time is up
		case now.worker != 0 && now.worker != before.worker:
			return h.answers(ctx, now.worker)
		case now.failed > before.failed:
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
// milliseconds. It keeps a connection open after its reply, hence quit.
func (h *HAProxy) showProc(ctx context.Context) (processes, error) {
	ctx, cancel := context.WithTimeout(ctx, cliDeadline)
	defer cancel()
	for {
		text, err := exchange(ctx, h.paths.master(), "show proc;quit")
		if p, ok := parseProc(text); err == nil && ok {
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

// lookAtWorkers counts the old workers.
func (h *HAProxy) lookAtWorkers(ctx context.Context) {
	if p, err := h.showProc(ctx); err == nil {
		h.seen.Lock()
		h.status.OldWorkers = len(p.old)
		h.seen.Unlock()
	}
}
