package sentinel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/routing/frr"
	"github.com/vipilot/vipilot/routing/remote"
)

const (
	lookForHeir  = 20 * time.Millisecond
	withdrawTime = 5 * time.Second
)

// awaitHeir waits for d until another sentinel has the run directory.
func awaitHeir(runDir string, d time.Duration) bool {
	for start := time.Now(); ; time.Sleep(lookForHeir) {
		lock, err := takeRunDir(runDir)
		if lock == nil && err == nil {
			return true
		}
		if lock != nil {
			_ = lock.Close()
		}
		if time.Since(start) > d {
			return false
		}
	}
}

// takeRunDir locks runDir as a sentinel does. No lock and no error: one has it.
func takeRunDir(runDir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(runDir, remote.LockFile), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	err = again(func() error { return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err == nil {
		return lock, nil
	}
	_ = lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, err
}

// withdrawFRR has FRR announce nothing any more of what the dead sentinel of
// runDir wanted: FRR lives on, and nobody looks after HAProxy. Where a graceful
// restart is allowed, it waits that long for the next sentinel. One that is there
// is in charge, and keeps out of the way until this is done.
func withdrawFRR(runDir string) error {
	want, found, err := loadWant(filepath.Join(runDir, remote.WantFile))
	if err != nil || !found || !want.Routing.NeedsFRR() {
		return err
	}
	if r := want.Routing; r.ViaFRR && r.GracefulRestart > 0 && awaitHeir(runDir, r.GracefulRestart) {
		return nil
	}
	lock, err := takeRunDir(runDir)
	if lock == nil {
		return err
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(context.Background(), withdrawTime)
	defer cancel()
	speaker := frr.New(frr.Options{RunDir: filepath.Join(runDir, "frr"), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	defer speaker.Leave()
	if err := speaker.Withdraw(ctx, want.Routing); err != nil {
		return fmt.Errorf("withdraw for a dead sentinel: %w", err)
	}
	return nil
}
