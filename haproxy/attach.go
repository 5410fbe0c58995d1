package haproxy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

const (
	attachWait  = 3 * time.Second // a Set waits so long for a HAProxy that is being started
	attachEvery = 50 * time.Millisecond
	reexecTime  = 500 * time.Millisecond // far more than a living master does not listen for, when it executes itself anew
)

// errAbsent says that the HAProxy to attach to is not there.
var errAbsent = errors.New("no HAProxy runs on the run directory, and it is not ours to start (--haproxy attach): start it with `vipilot exec haproxy`")

// Launch waits until there is a configuration in runDir, clears away what a
// dead predecessor left, and gives the command line of the HAProxy that a
// controller attaches to ([Options].Attach).
func Launch(ctx context.Context, runDir string) (args []string, err error) {
	paths := Paths{Dir: runDir}
	for {
		if _, err := os.Stat(filepath.Join(runDir, ConfigFile)); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(attachEvery):
		}
	}
	for end := time.Now().Add(reexecTime); time.Now().Before(end); time.Sleep(lookEvery) {
		if _, err := os.Stat(paths.master()); errors.Is(err, os.ErrNotExist) {
			break
		}
		if p, err := supervise.FindListener(ctx, paths.master()); err == nil {
			return nil, fmt.Errorf("start haproxy: process %d is one on %s already", p.PID, runDir)
		}
	}
	for _, left := range []string{paths.stats(), paths.master(), paths.state()} {
		if err := os.Remove(left); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("start haproxy: remove what a predecessor left: %w", err)
		}
	}
	return paths.args(), nil
}

// args is how HAProxy is started, by us or by others.
func (p Paths) args() []string {
	return []string{"-W", "-S", "unix@" + p.master() + ",mode,600,level,admin", "-f", filepath.Join(p.Dir, ConfigFile)}
}

// attach writes the files for a HAProxy that somebody else starts, waits for
// it, and takes it over.
func (h *HAProxy) attach(ctx context.Context, want Config) (Change, error) {
	none := Change{Kind: None}
	rendered, err := h.prove(ctx, want)
	if err == nil {
		err = h.offer(rendered)
	}
	if err != nil {
		return none, fmt.Errorf("attach to haproxy: %w", err)
	}
	if err := h.await(ctx, want); err != nil {
		return none, fmt.Errorf("attach to haproxy: %w", err)
	}
	return h.takeOver(ctx, want)
}

// await waits for the HAProxy that somebody else starts. One that does not come
// may be kept from it by a port in strange hands.
func (h *HAProxy) await(ctx context.Context, want Config) error {
	ctx, cancel := context.WithTimeout(ctx, attachWait)
	defer cancel()
	for !h.adopt() {
		select {
		case <-ctx.Done():
			taken := probe(want, nil, nil)
			if h.adopt() { // it was its own
				return nil
			}
			return errors.Join(errAbsent, taken)
		case <-time.After(attachEvery):
		}
	}
	return nil
}

// offer has the files say what the next HAProxy is to run.
func (h *HAProxy) offer(rendered Files) error {
	h.files.mu.Lock()
	defer h.files.mu.Unlock()
	h.files.dirty.Store(nil)
	if err := errors.Join(h.paths.makeSockets(), h.files.write(h.paths.Dir, rendered)); err != nil {
		return err
	}
	return h.files.remember(rendered)
}

// nextLook fires when it is time to look whether the HAProxy to attach to is
// there; nil when one is, or when we start it ourselves.
func (h *HAProxy) nextLook() <-chan time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.opts.Attach || h.alive() {
		return nil
	}
	return time.After(attachEvery)
}

// lookForIt asks for a Set when the HAProxy to attach to has come.
func (h *HAProxy) lookForIt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.alive() {
		h.adopt() // wakes and pokes
	}
}
