package vrrp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

// The waits between restarts: doubled from the first to the last, and begun
// anew by a keepalived that lived longer than stable.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
	stable       = 10 * time.Second
	drainQuiet   = 20 * time.Millisecond // no line for so long: the pipe is empty
)

// Run listens to keepalived and starts it again when it dies. It returns nil
// when ctx ends, and never stops keepalived: the node stays as it is.
func (k *Keepalived) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	fifo, err := openFIFO(k.path(fifoFile))
	if err != nil {
		return err
	}
	defer fifo.Close() // ends listen
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	k.turn.Lock()
	err = k.adopt(ctx)
	k.turn.Unlock()
	if err != nil {
		return err
	}
	heard, failed := make(chan string), make(chan error, 1)
	wg.Go(func() { k.memory.deliver(ctx, k.roles) })
	wg.Go(func() { k.checker.run(ctx) })
	wg.Go(func() { failed <- listen(ctx, fifo, heard) })
	return k.watch(ctx, heard, failed)
}

// listen passes on what comes out of the FIFO, whatever waits in one piece.
func listen(ctx context.Context, fifo *os.File, heard chan<- string) error {
	buffer := make([]byte, pipeSize)
	for {
		n, err := fifo.Read(buffer)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("listen to keepalived: %w", err)
		}
		select {
		case heard <- string(buffer[:n]):
		case <-ctx.Done():
			return nil
		}
	}
}

// watch reacts to lines and to the end of the process, until ctx ends.
func (k *Keepalived) watch(ctx context.Context, heard <-chan string, failed <-chan error) error {
	var (
		partial string
		retry   <-chan time.Time
		wait    = backoff{}
	)
	for {
		p := k.current()
		var ended <-chan struct{}
		if p != nil {
			ended = p.Done()
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case text := <-heard:
			partial = k.hear(partial + text)
		case <-k.changed:
			wait.started = time.Now()
		case <-ended:
			k.drain(heard, partial)
			partial = ""
			if k.lost(p) {
				retry = time.After(wait.next())
			}
		case <-retry:
			if retry = nil; k.revive(ctx) {
				retry = time.After(wait.next())
			}
		}
	}
}

// hear takes the roles in text and returns what is not a whole line yet.
func (k *Keepalived) hear(text string) (partial string) {
	latest, partial, err := parseNotices(text)
	if err = errors.Join(err, k.memory.assume(latest)); err != nil {
		k.opts.Logger.Warn("hear keepalived", "err", err)
	}
	for _, n := range latest {
		k.opts.Logger.Info("role", "instance", n.Instance, "role", n.Role)
	}
	return partial
}

// drain hears the last words of a process that has ended.
func (k *Keepalived) drain(heard <-chan string, partial string) {
	for {
		select {
		case text := <-heard:
			partial = k.hear(partial + text)
		case <-time.After(drainQuiet):
			return
		}
	}
}

// lost notes that p has ended. It reports whether it should not have.
func (k *Keepalived) lost(p *supervise.Process) (unwanted bool) {
	k.mu.Lock()
	if k.process != p {
		k.mu.Unlock()
		return false // there is another one already
	}
	k.process = nil
	unwanted = k.wanted
	if unwanted {
		k.down = fmt.Errorf("keepalived (process %d) ended by itself; starting it again", p.PID)
		k.opts.Logger.Warn("keepalived has ended", "pid", p.PID)
	}
	k.mu.Unlock()
	if err := k.memory.gone(); err != nil {
		k.opts.Logger.Warn("keepalived has ended", "err", err)
	}
	return unwanted
}

// revive starts keepalived again on the file it had. It reports whether that
// must be tried once more.
func (k *Keepalived) revive(ctx context.Context) (again bool) {
	if !k.turn.TryLock() {
		return true // Set is at it
	}
	defer k.turn.Unlock()
	k.mu.Lock()
	needed := k.wanted && !alive(k.process)
	k.mu.Unlock()
	if !needed {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, setTimeout)
	defer cancel()
	err := k.start(ctx)
	k.mu.Lock()
	k.down = err
	k.mu.Unlock()
	if err != nil {
		k.opts.Logger.Error("restart keepalived", "err", err)
	}
	return err != nil && k.current() == nil // one that died is noticed by its end
}

// backoff paces restarts.
type backoff struct {
	wait    time.Duration
	started time.Time
}

func (b *backoff) next() time.Duration {
	if b.wait == 0 || time.Since(b.started) > stable {
		b.wait = firstBackoff
		return b.wait
	}
	b.wait = min(2*b.wait, lastBackoff)
	return b.wait
}
