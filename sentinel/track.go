package sentinel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Values of keepalived's track file. Any value but 0 is a fault.
const (
	trackGood = "0\n"
	trackBad  = "1\n"
)

// writeTrack changes the file in place, in one write of constant length, so
// keepalived's inotify sees one change and never an empty or missing file.
func writeTrack(file, value string) error {
	// Non-blocking, or a FIFO of that name would hold us for ever.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return fmt.Errorf("write track file: %w", err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return fmt.Errorf("write track file: %w", err)
	}
	if !before.Mode().IsRegular() {
		return fmt.Errorf("write track file: %s is not a regular file", file)
	}
	if _, err := f.WriteAt([]byte(value), 0); err != nil {
		return fmt.Errorf("write track file: %w", err)
	}
	if before.Size() > int64(len(value)) { // somebody else's content
		if err := f.Truncate(int64(len(value))); err != nil {
			return fmt.Errorf("write track file: %w", err)
		}
	}
	return nil
}

// Bytes between the sentinel and its dead man's switch.
const (
	armed     = 'a' // child: I hold the lock, you may write
	standDown = 'd' // sentinel: end without writing
)

// DeadMan is the child that outlives a killed sentinel by a moment, only to
// write 1 into trackFile, so keepalived learns that nobody watches HAProxy any
// more. pipe is one end of a socket pair; its end of file is the sentinel's
// death. While it lives the child holds trackFile.lock: the next sentinel's
// child waits for it, and the next sentinel for its child, so this write
// cannot undo a newer one.
func DeadMan(trackFile string, pipe *os.File) error {
	defer pipe.Close()
	// A stop of the whole group reaches the sentinel as well; this child ends with it.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	lock, err := os.OpenFile(trackFile+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("guard track file: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("guard track file: %w", err)
	}
	_, _ = pipe.Write([]byte{armed}) // fails when the sentinel is dead already: the read tells
	var said [1]byte
	if n, _ := pipe.Read(said[:]); n == 1 && said[0] == standDown {
		return nil
	}
	return writeTrack(trackFile, trackBad)
}

// guard is the sentinel's end of a dead man's switch.
type guard struct {
	pipe *os.File
	done chan struct{} // closed when the child has ended
}

// armGuard starts the child and waits until it is on guard.
func armGuard(ctx context.Context, argv []string, trackFile string) (*guard, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("start dead man's switch: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "guard"), os.NewFile(uintptr(pair[1]), "guard")
	defer theirs.Close()
	cmd := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], trackFile)...)
	cmd.Dir, cmd.ExtraFiles = "/", []*os.File{theirs} // all other descriptors close on exec
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("start dead man's switch: %w", err)
	}
	g := &guard{pipe: ours, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(g.done) }()
	deadline := time.Now().Add(5 * time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = ours.SetReadDeadline(deadline)
	var said [1]byte
	if _, err := ours.Read(said[:]); err != nil || said[0] != armed {
		_ = cmd.Process.Kill()
		_ = ours.Close()
		return nil, fmt.Errorf("start dead man's switch: it is not on guard: %w", err)
	}
	return g, nil
}

// dismiss ends the child without a write.
func (g *guard) dismiss() {
	_, _ = g.pipe.Write([]byte{standDown})
	_ = g.pipe.Close()
	select {
	case <-g.done:
	case <-time.After(2 * time.Second):
	}
}
