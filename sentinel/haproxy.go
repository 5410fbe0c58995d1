package sentinel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/routing/remote"
)

const (
	pingEvery   = time.Second
	pingWait    = 700 * time.Millisecond // longest wait for an answer
	pingAgain   = 100 * time.Millisecond // after a miss
	pingMisses  = 2                      // in a row, then HAProxy counts as hung
	pingCommand = "show cli level\n"     // the shortest answer of all commands
)

// errNoHAProxy is the reason when the controller says that none runs.
var errNoHAProxy = errors.New("HAProxy does not run")

// life is one HAProxy being watched. A process is known by pid and start time;
// its death is told by a pidfd at once, a hang by pings on the stats socket.
type life struct {
	gate  remote.Gate
	pidfd *os.File
}

// newLife opens the watch. The error says why HAProxy cannot be alive.
func newLife(gate remote.Gate) (*life, error) {
	if gate.PID == 0 {
		return nil, errNoHAProxy
	}
	fd, err := unix.PidfdOpen(gate.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("HAProxy (pid %d) has ended", gate.PID)
	}
	// The start time is read after the pidfd is open, so it belongs to it.
	started, err := supervise.StartTime(gate.PID)
	if err != nil || started != gate.StartTime {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("HAProxy (pid %d) has ended", gate.PID)
	}
	return &life{gate: gate, pidfd: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// probe pings once or, after a miss, as often as it takes to call it hung.
func (l *life) probe(ctx context.Context) error {
	if l.gate.Socket == "" {
		return nil
	}
	for miss := 1; ; miss++ {
		err := ping(l.gate.Socket)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if miss == pingMisses {
			return fmt.Errorf("HAProxy (pid %d) does not answer: %w", l.gate.PID, err)
		}
		sleep(ctx, pingAgain)
	}
}

// watch reports nil or the reason whenever it changes, until the process ends,
// which is reported last, or ctx ends.
func (l *life) watch(ctx context.Context, last error, report func(error)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, answers := make(chan struct{}), make(chan error, 1)
	defer l.pidfd.Close() // ends the wait
	go func() {
		if l.wait() {
			close(ended)
		}
	}()
	for timer := time.NewTimer(pingEvery); ; {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			report(fmt.Errorf("HAProxy (pid %d) has ended", l.gate.PID))
			return
		case <-timer.C:
			go func() { answers <- l.probe(ctx) }()
		case err := <-answers:
			if fmt.Sprint(err) != fmt.Sprint(last) {
				last = err
				report(err)
			}
			timer.Reset(pingEvery)
		}
	}
}

// wait blocks, without a thread, until the process has ended. It returns false
// when the pidfd was closed instead.
func (l *life) wait() bool {
	conn, err := l.pidfd.SyscallConn()
	if err != nil {
		return false
	}
	return conn.Read(func(fd uintptr) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0
	}) == nil
}

// ping asks one cheap question. Each ping is a new connection: a lasting one
// would be to the old worker after a reload, and would keep it from ending.
// Plain system calls cost less than package net: 9 ms of CPU a minute, not 13.
func ping(socket string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	defer unix.Close(fd)
	wait := unix.NsecToTimeval(int64(pingWait))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait) // holds for connect too
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	to := &unix.SockaddrUnix{Name: socket}
	if err := again(func() error { return unix.Connect(fd, to) }); err != nil {
		return fmt.Errorf("connect to %s: %w", socket, err)
	}
	if _, err := unix.SendmsgN(fd, []byte(pingCommand), nil, nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("write to %s: %w", socket, err)
	}
	var answer [64]byte
	n := 0
	err = again(func() (err error) { n, err = unix.Read(fd, answer[:]); return err })
	if n <= 0 {
		return fmt.Errorf("no answer on %s within %s (%w)", socket, pingWait, cmp.Or(err, io.EOF))
	}
	return nil
}

// again repeats a system call that a signal interrupted. With a time-out set
// on the socket the kernel does not, and Go's scheduler sends signals.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// sleep reports whether ctx still lives after d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
