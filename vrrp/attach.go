package vrrp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

const attachWait = 3 * time.Second // a Set waits so long for a keepalived that is being started

// errAbsent says that the keepalived to attach to is not there.
var errAbsent = errors.New("no keepalived runs on the run directory, and it is not ours to start (--keepalived attach): start it with `vipilot exec keepalived`")

// Launch waits until there is a configuration in runDir, clears away what a
// dead predecessor left, its addresses too, and gives the command line and the
// further environment of the keepalived that a controller attaches to
// ([Options].Attach).
func Launch(ctx context.Context, runDir string) (args, env []string, err error) {
	k := New(Options{RunDir: runDir, Logger: slog.New(slog.DiscardHandler)})
	for {
		if _, err := os.Stat(k.path(confFile)); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(pollInterval):
		}
	}
	if err := k.memory.recall(nil); err != nil {
		return nil, nil, err
	}
	if err := k.prepare(ctx); err != nil {
		return nil, nil, err
	}
	binary, err := find(k.opts.Binary)
	if err != nil {
		return nil, nil, err
	}
	return k.args(ctx, binary), k.env(), nil
}

// prepare makes room for a new keepalived.
func (k *Keepalived) prepare(ctx context.Context) error {
	err := errors.Join(ensureFIFO(k.path(fifoFile)), k.clear(ctx), sweep(k.memory.read().Held))
	if err != nil {
		return fmt.Errorf("start keepalived: %w", err)
	}
	return nil
}

// args is how keepalived is started, by us or by others.
func (k *Keepalived) args(ctx context.Context, binary string) []string {
	return append([]string{
		"--dont-fork", "--log-console", "--no-syslog", "--vrrp", "--use-file=" + k.path(confFile),
		"--pid=" + k.path(pidFile), "--vrrp_pid=" + k.path(childFile),
	}, idle(ctx, binary, k.path(bfdFile))...)
}

// idle says where the pid file of a BFD child belongs, where keepalived knows
// of such a child: it makes the file although it starts none, by default in
// /run, and from version 2.3 on ends where it cannot.
func idle(ctx context.Context, binary, file string) []string {
	help, _ := exec.CommandContext(ctx, binary, "--help").CombinedOutput()
	if !strings.Contains(string(help), "--bfd_pid=") {
		return nil
	}
	return []string{"--bfd_pid=" + file}
}

// env is where keepalived writes its state.
func (k *Keepalived) env() []string { return []string{"TMPDIR=" + k.opts.RunDir} }

// find gives the keepalived that a predecessor started, or the one to attach to.
func (k *Keepalived) find() (*supervise.Process, error) {
	if !k.opts.Attach {
		return supervise.Adopt(k.path(processFile))
	}
	pid := readPID(k.path(pidFile))
	if !k.owns(pid) {
		return nil, supervise.ErrNotRunning
	}
	return supervise.Find(pid)
}

// attach waits for the keepalived that somebody else starts on our file, and
// has it confirm that it runs that.
func (k *Keepalived) attach(ctx context.Context) error {
	k.become(nil, true)
	deadline := time.Now().Add(attachWait)
	for {
		p, err := k.find()
		if err == nil {
			k.become(p, true)
			err = k.memory.edit(func(m *kept) { m.PID, m.StartTime, m.Loaded = p.PID, p.StartTime, "" })
			if err != nil {
				return err
			}
			k.opts.Logger.Info("attached to keepalived", "pid", p.PID)
			return k.reload(ctx) // it may have read the file before this one
		}
		if !errors.Is(err, supervise.ErrNotRunning) {
			return fmt.Errorf("attach to keepalived: %w", err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("attach to keepalived: %w", errAbsent)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("attach to keepalived: %w", errors.Join(ctx.Err(), errAbsent))
		case <-time.After(pollInterval):
		}
	}
}
