package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// namespaces a host has of its own. Together with a private /run they make it
// as good as a machine; when its first process dies, the kernel ends the rest.
const namespaces = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS

var errOff = errors.New("host is powered off")

// Host is one machine of the lab. Its methods may be called from several
// goroutines.
type Host struct {
	Name string

	dir     string // its files, below the lab's directory
	env     []string
	private []string // directories that are empty and its own, besides /run

	mu   sync.Mutex
	boot *boot // nil = off
}

// boot is one life of a host, from power on to power off.
type boot struct {
	init *exec.Cmd
	jobs chan func()   // run on the host's thread
	gone chan struct{} // closed when power goes off
}

// powerOn starts the host's first process and a thread that lives inside its
// namespaces.
func (h *Host) powerOn() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.boot != nil {
		return nil
	}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return fmt.Errorf("boot %s: %w", h.Name, err)
	}
	b := &boot{jobs: make(chan func()), gone: make(chan struct{})}
	ready := make(chan error)
	go h.thread(b, ready)
	if err := <-ready; err != nil {
		return fmt.Errorf("boot %s: %w", h.Name, err)
	}
	h.boot = b
	return nil
}

// powerOff kills every process of the host at once.
func (h *Host) powerOff() {
	h.mu.Lock()
	b := h.boot
	h.boot = nil
	h.mu.Unlock()
	if b == nil {
		return
	}
	close(b.gone)
	_ = b.init.Process.Kill()
	_ = b.init.Wait()
}

// pid is the host's first process as seen outside the lab.
func (h *Host) pid() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.boot == nil {
		return ""
	}
	return strconv.Itoa(h.boot.init.Process.Pid)
}

// thread serves the host's jobs on an OS thread of its own. The thread ends
// with it, since it is never unlocked, and the first process dies with the
// thread (Pdeathsig): a killed lab leaves no process behind.
func (h *Host) thread(b *boot, ready chan<- error) {
	runtime.LockOSThread()
	err := h.enter(b)
	ready <- err
	if err != nil {
		return
	}
	for {
		select {
		case job := <-b.jobs:
			job()
		case <-b.gone:
			return
		}
	}
}

func (h *Host) enter(b *boot) error {
	script := `set -e
mount --make-rslave /
mount -t proc proc /proc
for d in /run "$@"; do mkdir -p "$d"; mount -t tmpfs -o mode=755 lab "$d"; done
echo "$0" > /proc/sys/kernel/hostname
echo ready
exec >/dev/null 2>&1
while :; do sleep 86400; done`
	b.init = exec.Command("sh", append([]string{"-c", script, h.Name}, h.private...)...)
	b.init.Env = append(os.Environ(), h.env...)
	b.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL, Setsid: true}
	complaint := new(bytes.Buffer)
	b.init.Stderr = complaint
	out, err := b.init.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.init.Start(); err != nil {
		return fmt.Errorf("start its first process: %w (the lab needs root)", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line == "ready\n" {
		err = join(b.init.Process.Pid)
	}
	if err != nil {
		_ = b.init.Process.Kill()
		_ = b.init.Wait()
		return fmt.Errorf("prepare its namespaces: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return nil
}

// join moves the calling thread into the namespaces of a process.
func join(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // a shared cwd forbids another mount namespace
		return err
	}
	return unix.Setns(fd, namespaces)
}

// Do runs f on a thread inside the host's network, mount and (for children)
// process namespaces. Calls are taken one after the other, so f must be short.
func (h *Host) Do(f func() error) error {
	h.mu.Lock()
	b := h.boot
	h.mu.Unlock()
	if b == nil {
		return fmt.Errorf("%s: %w", h.Name, errOff)
	}
	done := make(chan error, 1)
	select {
	case b.jobs <- func() { done <- f() }:
		return <-done
	case <-b.gone:
		return fmt.Errorf("%s: %w", h.Name, errOff)
	}
}

// Command prepares a command that will run on the host, in a session of its
// own. Start it with [Host.Spawn].
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), h.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// Spawn starts a command made by [Host.Command]; the caller waits for it.
func (h *Host) Spawn(cmd *exec.Cmd) error {
	return h.Do(func() error {
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("start %s on %s: %w", cmd.Args[0], h.Name, err)
		}
		return nil
	})
}

// Run runs a command on the host to its end and returns what it wrote on
// stdout. An error carries what it wrote on stderr.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	return h.run(ctx, nil, name, args...)
}

func (h *Host) run(ctx context.Context, stdin io.Reader, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := h.Command(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := h.Spawn(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return stdout.String(), fmt.Errorf("run %s %s on %s: %w: %s", name, strings.Join(args, " "), h.Name,
			err, strings.TrimSpace(stderr.String()+stdout.String()))
	}
	return stdout.String(), nil
}

// daemon starts a long-lived command whose output is appended to NAME.log in
// the host's directory. It is reaped when it ends, or killed with the host.
func (h *Host) daemon(env []string, name string, args ...string) (*Daemon, error) {
	logFile := filepath.Join(h.dir, filepath.Base(name)+".log")
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", name, err)
	}
	defer out.Close()
	cmd := h.Command(context.Background(), name, args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := h.Spawn(cmd); err != nil {
		return nil, err
	}
	d := &Daemon{Log: logFile, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(d.done)
	}()
	return d, nil
}

// Signal sends a signal, by its name without SIG, to a process of the host,
// which is named by its process number on that host.
func (h *Host) Signal(ctx context.Context, signal string, pid int) error {
	if pid <= 1 {
		return fmt.Errorf("signal process %d of %s: no such daemon", pid, h.Name)
	}
	_, err := h.Run(ctx, "kill", "-s", signal, strconv.Itoa(pid))
	return err
}

// Daemon is a long-lived process on a host.
type Daemon struct {
	Log string // file with its output

	cmd  *exec.Cmd
	done chan struct{}
}

// PID is the process number as seen outside the lab.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Done is closed when the process has ended.
func (d *Daemon) Done() <-chan struct{} { return d.done }

func (d *Daemon) hasEnded() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// Code is the exit code after Done, -1 for an end by a signal.
func (d *Daemon) Code() int { return d.cmd.ProcessState.ExitCode() }

// Kill ends the process with SIGKILL and waits for that.
func (d *Daemon) Kill() {
	_ = d.cmd.Process.Kill()
	<-d.done
}

// Stop asks the process to end and waits; past grace it is an error and the
// process is killed.
func (d *Daemon) Stop(grace time.Duration) error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
		return nil
	case <-time.After(grace):
		d.Kill()
		return fmt.Errorf("%s did not stop within %v", filepath.Base(d.cmd.Path), grace)
	}
}

// tail is the end of the daemon's log.
func (d *Daemon) tail(lines int) string { return Tail(d.Log, lines) }

// Tail is the last lines of a file, or why it cannot be read.
func Tail(name string, lines int) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
