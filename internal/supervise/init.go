package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	firstPause, lastPause = 100 * time.Millisecond, 5 * time.Second
	steady                = 10 * time.Second // a child that lived this long starts the pauses anew
)

// Init is the first process of a container. It keeps one child running,
// buries the orphans that the kernel hands to it, and so lets the daemons
// which a child has started outlive that child.
type Init struct {
	Argv           []string // of the child, a program with its arguments
	Final          []int    // exit codes after which the child is not started again
	Stdout, Stderr io.Writer
	Logger         *slog.Logger
}

// Run keeps the child running until ctx ends; then the child is told by
// SIGTERM, and Run returns its exit code. A second SIGTERM or SIGINT kills it.
// It waits for every child of this process, so nothing else may.
func (i Init) Run(ctx context.Context) (code int, err error) {
	// Not PID 1, where process numbers are shared: orphans come here all the same.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("become the reaper of orphans: %w", err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	pause := firstPause
	for {
		born := time.Now()
		code, err := i.live(ctx, ended)
		if err != nil || ctx.Err() != nil {
			return code, err
		}
		for _, final := range i.Final {
			if code == final {
				return code, nil
			}
		}
		if time.Since(born) > steady {
			pause = firstPause
		}
		i.Logger.Error("the process has ended and is started again", "component", "init", "command", i.Argv[1:], "exit_code", code, "again_in", pause)
		if !i.rest(ctx, ended, pause) {
			return 0, nil
		}
		pause = min(2*pause, lastPause)
	}
}

// live is one life of the child. -1 stands for a death by a signal.
func (i Init) live(ctx context.Context, ended <-chan os.Signal) (code int, err error) {
	cmd := exec.Command(i.Argv[0], i.Argv[1:]...)
	cmd.Stdout, cmd.Stderr = i.Stdout, i.Stderr
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", i.Argv[0], err)
	}
	pid := cmd.Process.Pid
	stop, hurry := ctx.Done(), make(chan os.Signal, 1)
	for {
		if status, found := reap(pid); found {
			if status.Signaled() {
				return -1, nil
			}
			return status.ExitStatus(), nil
		}
		select {
		case <-ended:
		case <-stop:
			stop = nil
			signal.Notify(hurry, syscall.SIGTERM, syscall.SIGINT)
			defer signal.Stop(hurry)
			_ = syscall.Kill(pid, syscall.SIGTERM)
		case <-hurry:
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// rest waits for d and buries who dies meanwhile; false when ctx ends.
func (i Init) rest(ctx context.Context, ended <-chan os.Signal, d time.Duration) bool {
	again := time.After(d)
	for {
		select {
		case <-again:
			return true
		case <-ctx.Done():
			return false
		case <-ended:
			reap(0)
		}
	}
}

// reap buries every dead child, and tells how the one with that pid ended.
func reap(pid int) (status syscall.WaitStatus, found bool) {
	for {
		var s syscall.WaitStatus
		dead, err := syscall.Wait4(-1, &s, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || dead <= 0 {
			return status, found
		}
		if dead == pid {
			status, found = s, true
		}
	}
}
