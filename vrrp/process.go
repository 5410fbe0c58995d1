package vrrp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

// maxLog is how large a log may be for a new process to go on with.
const maxLog = 1 << 20

// adopt finds, once, what a dead controller left: the process, its roles and
// the addresses it may hold. k.turn is held, as in all of this file.
func (k *Keepalived) adopt(ctx context.Context) error {
	if k.adopted && (!k.opts.Attach || k.running()) {
		return nil
	}
	p, err := k.find()
	if err != nil && !errors.Is(err, supervise.ErrNotRunning) {
		return fmt.Errorf("adopt keepalived: %w", err)
	}
	k.adopted = true
	if err := k.memory.recall(p); err != nil {
		k.opts.Logger.Warn("start without memory", "err", err)
	}
	if p == nil {
		return nil
	}
	k.become(p, true)
	k.opts.Logger.Info("adopted keepalived", "pid", p.PID)
	// The daemon itself knows best, if it can be asked.
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	dump, err := k.dump(ctx, p)
	if err != nil {
		k.opts.Logger.Warn("adopted roles are from memory only", "err", err)
		return nil
	}
	return k.memory.assume(notices(dump))
}

// start starts keepalived on the file in the run directory.
func (k *Keepalived) start(ctx context.Context) error {
	if k.opts.Attach {
		return k.attach(ctx)
	}
	binary, err := find(k.opts.Binary)
	if err != nil {
		return err
	}
	if err := k.prepare(ctx); err != nil {
		return err
	}
	since := k.logSize()
	if since > maxLog {
		_ = os.Truncate(k.path(logFile), 0)
		since = 0
	}
	p, err := supervise.Start(supervise.Spec{
		Path:   binary,
		Args:   k.args(ctx, binary),
		Env:    k.env(),
		Dir:    k.opts.RunDir,
		Record: k.path(processFile),
		Log:    k.path(logFile),
	})
	if err != nil {
		return err
	}
	k.become(p, true)
	err = k.memory.edit(func(m *kept) { m.PID, m.StartTime, m.Loaded = p.PID, p.StartTime, "" })
	if err != nil {
		return err
	}
	if err := k.confirm(ctx, p, startTimeout); err != nil {
		return describe(fmt.Errorf("start keepalived: %w", err), k.logSince(since))
	}
	k.opts.Logger.Info("started keepalived", "pid", p.PID)
	return k.loaded()
}

// reload makes the running keepalived read its file again.
func (k *Keepalived) reload(ctx context.Context) error {
	p, since := k.current(), k.logSize()
	if err := p.Signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("reload keepalived: %w", err)
	}
	k.mu.Lock()
	k.reloads++
	k.mu.Unlock()
	if err := k.confirm(ctx, p, confirmTimeout); err != nil {
		return describe(fmt.Errorf("reload keepalived: %w", err), k.logSince(since))
	}
	k.opts.Logger.Info("reloaded keepalived", "pid", p.PID)
	return k.loaded()
}

// loaded notes that keepalived runs the election that is wanted.
func (k *Keepalived) loaded() error {
	print := k.wants
	err := k.memory.edit(func(m *kept) {
		m.Loaded = print
		if k.want != nil {
			m.Held = k.want.holdings()
		}
	})
	if k.want == nil || err != nil {
		return err
	}
	return k.forget(*k.want)
}

// confirm waits until keepalived itself shows what is wanted.
func (k *Keepalived) confirm(ctx context.Context, p *supervise.Process, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	missing := "no state"
	for {
		dump, err := k.dump(ctx, p)
		if errors.Is(err, errNoDump) {
			return k.confirmAlive(ctx, p)
		}
		if err == nil && k.want != nil {
			missing = differs(dump, *k.want)
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("confirm: keepalived shows %s: %w", missing, err)
		case err != nil:
			return fmt.Errorf("confirm: %w", err)
		case k.want == nil || missing == "":
			return nil
		}
		if err := pause(ctx, p); err != nil {
			return fmt.Errorf("confirm: keepalived shows %s: %w", missing, err)
		}
	}
}

// confirmAlive is all there is for a keepalived that cannot be asked: its VRRP
// process lives.
func (k *Keepalived) confirmAlive(ctx context.Context, p *supervise.Process) error {
	for readPID(k.path(childFile)) == 0 {
		if err := pause(ctx, p); err != nil {
			return fmt.Errorf("confirm: %w", err)
		}
	}
	return nil
}

// dump asks keepalived for its state.
func (k *Keepalived) dump(ctx context.Context, p *supervise.Process) ([]dumped, error) {
	if k.signal == 0 {
		binary, err := find(k.opts.Binary)
		if err != nil {
			return nil, err
		}
		if k.signal, err = jsonSignal(ctx, binary); err != nil {
			return nil, err
		}
	}
	return requestDump(ctx, p, k.signal, k.path(dumpFile), k.path(childFile))
}

// stop ends keepalived, if it runs, and removes what may be left of it.
func (k *Keepalived) stop(ctx context.Context) (changed bool, err error) {
	if err := k.adopt(ctx); err != nil {
		return false, err
	}
	p, leftovers := k.current(), k.memory.read().Held
	k.want = nil
	if k.opts.Attach { // whoever starts it again waits for another file
		_ = os.Remove(k.path(confFile))
	}
	k.become(p, false)
	if !alive(p) && len(leftovers) == 0 {
		return false, nil
	}
	if p != nil {
		grace := stopTimeout
		if deadline, ok := ctx.Deadline(); ok {
			grace = min(grace, time.Until(deadline))
		}
		if err := p.Stop(syscall.SIGTERM, grace); err != nil {
			return false, fmt.Errorf("stop keepalived: %w", err)
		}
		k.opts.Logger.Info("stopped keepalived", "pid", p.PID)
	}
	err = errors.Join(k.clear(ctx), sweep(leftovers), k.memory.gone())
	if err != nil {
		return true, fmt.Errorf("stop keepalived: %w", err)
	}
	_ = os.Remove(k.path(confFile)) // it runs no more
	return true, k.memory.edit(func(m *kept) { m.PID, m.Loaded, m.Held, m.Roles = 0, "", nil, map[string]Role{} })
}

// clear makes room for a new keepalived. A VRRP process whose parent was
// killed needs a second to remove its addresses and end. The pid files go too:
// keepalived believes them, even when the number is that of a zombie or of
// some other program.
func (k *Keepalived) clear(ctx context.Context) error {
	for _, name := range []string{pidFile, childFile} {
		if err := k.end(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// end ends the keepalived of a pid file, and removes the file.
func (k *Keepalived) end(ctx context.Context, name string) error {
	pid := readPID(k.path(name))
	if k.owns(pid) {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	for patience := 200; k.owns(pid); patience-- {
		if patience == 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of keepalived process %d: %w", pid, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
	if err := os.Remove(k.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// owns reports whether pid is alive and a keepalived on our file. A zombie has
// no command line, so it is not.
func (k *Keepalived) owns(pid int) bool {
	if pid == 0 {
		return false
	}
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return err == nil && strings.Contains(string(line), "\x00--use-file="+k.path(confFile)+"\x00")
}

func (k *Keepalived) logSize() int64 {
	info, err := os.Stat(k.path(logFile))
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSince gives what keepalived wrote after offset, shortened, on one line.
func (k *Keepalived) logSince(offset int64) string {
	f, err := os.Open(k.path(logFile))
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, offset, 2<<10))
	if err != nil {
		return ""
	}
	return strings.Join(strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' }), "; ")
}
