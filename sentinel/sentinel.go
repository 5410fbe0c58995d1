// Package sentinel is the node's watchdog: a small process that lives as long
// as the node and keeps it right while no controller runs. It watches
// HAProxy's life and the kernel's addresses, writes keepalived's track file,
// and holds the gate before the speakers, GoBGP in it and FRR beside it: nothing is announced that is not
// served here, now. It has no configuration of its own; it does what the last
// [remote.Want] said, also after a restart.
//
//	err := sentinel.Run(ctx, sentinel.Options{RunDir: "/run/vipilot", Logger: log})
package sentinel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vipilot/vipilot/routing/frr"
	"github.com/vipilot/vipilot/routing/gobgp"
	"github.com/vipilot/vipilot/routing/remote"
)

// Options of Run.
type Options struct {
	RunDir string
	Logger *slog.Logger // nil = silent
	Build  string       // told in the state
	// DeadMan is the command that runs DeadMan; the track file is added as its
	// last argument and the pipe is descriptor 3. nil = this program with
	// `sentinel --run-dir RunDir --deadman`.
	DeadMan []string
}

// Run watches until ctx ends, then withdraws everything and writes 1 into the
// track file: whoever stops the sentinel in order stops keepalived first. One
// that is told to hand over ends and leaves everything as it is. A
// second sentinel on the same run directory is refused.
func Run(ctx context.Context, opts Options) error {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.DeadMan == nil {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find own program: %w", err)
		}
		opts.DeadMan = []string{self, "sentinel", "--run-dir", opts.RunDir, "--deadman"}
	}
	lock, err := lockRunDir(opts.RunDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	speaker, err := gobgp.New(gobgp.Options{
		Logger: opts.Logger, APISocket: filepath.Join(opts.RunDir, remote.SpeakerAPI),
	})
	if err != nil {
		return err
	}
	w := newWatchdog(opts, speaker, frr.New(frr.Options{RunDir: filepath.Join(opts.RunDir, "frr"), Logger: opts.Logger}))
	listener, err := listen(filepath.Join(opts.RunDir, remote.Socket))
	if err != nil {
		return errors.Join(err, speaker.Close())
	}
	want, found, err := loadWant(w.wantFile)
	if err != nil {
		opts.Logger.Error("last orders not taken up", "err", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, listener, w) })
	group.Go(func() error {
		watchAddresses(ctx, w.reportAddresses(ctx), w.reportAddressFault(ctx))
		return nil
	})
	group.Go(func() error {
		if found {
			w.inherit(ctx, want)
		}
		return w.loop(ctx)
	})
	if err := group.Wait(); !errors.Is(err, errHandedOver) {
		return err
	}
	return nil
}

// lockWait is how long a sentinel waits for the end of the one before, whose
// dead man's switch may have to tidy up.
const lockWait = time.Second

// lockRunDir makes this process the sentinel of dir. Who else looks whether the
// lock is held, the dead man's switch and keepalived, holds it for a moment.
func lockRunDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start sentinel: %w", err)
	}
	name := filepath.Join(dir, remote.LockFile)
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start sentinel: %w", err)
	}
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if err = again(func() error { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }); !errors.Is(err, syscall.EWOULDBLOCK) || time.Since(start) > lockWait {
			break
		}
	}
	if err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("start sentinel: another one already runs on %s", dir)
		}
		return nil, fmt.Errorf("start sentinel: lock %s: %w", name, err)
	}
	return lock, nil
}
