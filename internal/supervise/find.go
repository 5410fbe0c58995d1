package supervise

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Find takes a running process that somebody else has started.
func Find(pid int) (*Process, error) {
	if pid <= 1 {
		return nil, ErrNotRunning
	}
	started, err := StartTime(pid)
	if err != nil {
		return nil, ErrNotRunning
	}
	p := &Process{PID: pid, StartTime: started}
	if err := p.watch(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	if again, err := StartTime(pid); err != nil || again != started {
		return nil, ErrNotRunning // died between the look and the pidfd
	}
	return p, nil
}

// FindListener takes the process that listens on a unix socket. The kernel
// tells who it is; its number counts in a process namespace that both share.
func FindListener(ctx context.Context, socket string) (*Process, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		if who, fault := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); fault == nil {
			pid = int(who.Pid)
		}
	})
	if err != nil {
		return nil, err
	}
	if pid == 0 {
		return nil, fmt.Errorf("who listens on %s is in another process namespace; share it (pid: host)", socket)
	}
	return Find(pid)
}
