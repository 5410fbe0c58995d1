// Package supervise starts long-lived daemons detached from their starter,
// remembers them in a record file, and finds them again after the starter has
// died. A process is known by pid and start time, and watched and signalled
// through a pidfd, so a reused pid is never mistaken for it.
package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotRunning says that a record names no living process.
var ErrNotRunning = errors.New("not running")

// Spec says what to start.
type Spec struct {
	Path   string // program, looked up in PATH
	Args   []string
	Env    []string // added to the own environment
	Dir    string
	Record string     // file that remembers the process
	Log    string     // file that takes stdout and stderr, appended; "" = discarded
	Files  []*os.File // inherited as descriptor 3 and up
}

// Process is a daemon that outlives its starter. Its methods may be called
// from several goroutines.
type Process struct {
	PID       int      `json:"pid"`
	StartTime uint64   `json:"start_time"` // clock ticks since boot, /proc/PID/stat field 22
	Argv      []string `json:"argv"`

	fd   int
	done chan struct{}
}

// Start starts a daemon in a session of its own and writes the record.
// The daemon lives on when the caller dies.
func Start(spec Spec) (*Process, error) {
	out, err := openLog(spec.Log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir, cmd.Env = spec.Dir, append(os.Environ(), spec.Env...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, out, spec.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	started, err := StartTime(cmd.Process.Pid)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}
	p := &Process{PID: cmd.Process.Pid, StartTime: started, Argv: append([]string{spec.Path}, spec.Args...)}
	if err := p.watch(); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	go func() { <-p.done; _ = cmd.Wait() }() // reap
	if err := p.save(spec.Record); err != nil {
		_ = p.Signal(syscall.SIGKILL)
		return nil, err
	}
	return p, nil
}

// Adopt finds the process that an earlier starter recorded. ErrNotRunning is
// returned when there is no record, or its process has ended.
func Adopt(record string) (*Process, error) {
	data, err := os.ReadFile(record)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("adopt: %w", err)
	}
	p := new(Process)
	if err := json.Unmarshal(data, p); err != nil || p.PID <= 1 {
		return nil, fmt.Errorf("adopt: %s is not a process record: %w", record, ErrNotRunning)
	}
	started, err := StartTime(p.PID)
	if err != nil || started != p.StartTime {
		return nil, ErrNotRunning
	}
	if err := p.watch(); err != nil {
		return nil, err
	}
	if again, err := StartTime(p.PID); err != nil || again != started {
		return nil, ErrNotRunning // died between the look and the pidfd
	}
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends sig to exactly this process.
func (p *Process) Signal(sig syscall.Signal) error {
	select {
	case <-p.done:
		return ErrNotRunning
	default:
	}
	if err := unix.PidfdSendSignal(p.fd, sig, nil, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return ErrNotRunning
		}
		return fmt.Errorf("signal %d: %w", p.PID, err)
	}
	return nil
}

// Stop sends sig, waits up to grace, then kills. It returns when the process
// has ended.
func (p *Process) Stop(sig syscall.Signal, grace time.Duration) error {
	if err := p.Signal(sig); errors.Is(err, ErrNotRunning) {
		return nil
	} else if err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
	}
	_ = p.Signal(syscall.SIGKILL)
	select {
	case <-p.done:
		return nil
	case <-time.After(5 * time.Second):
		return fmt.Errorf("stop %d: still there 5s after SIGKILL", p.PID)
	}
}

// watch opens the pidfd and waits on it until the process ends.
func (p *Process) watch() error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return fmt.Errorf("watch %d: %w", p.PID, err)
	}
	p.fd, p.done = fd, make(chan struct{})
	go func() {
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if n > 0 || (err != nil && !errors.Is(err, unix.EINTR)) {
				close(p.done)
				return
			}
		}
	}()
	return nil
}

func (p *Process) save(record string) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	tmp := record + ".tmp"
	if err := os.MkdirAll(filepath.Dir(record), 0o755); err != nil {
		return fmt.Errorf("record process: %w", err)
	}
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("record process: %w", err)
	}
	if err := os.Rename(tmp, record); err != nil {
		return fmt.Errorf("record process: %w", err)
	}
	return nil
}

// StartTime is field 22 of /proc/PID/stat, in clock ticks since boot.
// A zombie counts as ended.
func StartTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, ErrNotRunning
	}
	// The command name, in parentheses, may itself hold spaces and parentheses.
	_, rest, ok := strings.Cut(string(data[strings.LastIndexByte(string(data), ')'):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: unexpected form", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, ErrNotRunning
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

func openLog(name string) (*os.File, error) {
	if name == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
}
