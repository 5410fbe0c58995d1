package sentinel

import (
	"errors"
	"fmt"
	"os"
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
	alive     = 'b' // sentinel: I still watch
	standDown = 'd' // sentinel: end without writing
)

const (
	beatEvery  = time.Second
	maxSilence = 3 * time.Second
	// secondLook lets a sentinel speak that was frozen together with its child.
	secondLook = time.Second
	// longestTurn is far more than the loop may take for one turn, which is five
	// seconds for the speakers and some for a HAProxy that does not answer.
	longestTurn = 20 * time.Second
)

// DeadMan is the child that outlives a killed sentinel by a moment, only to
// write 1 into trackFile, so keepalived learns that nobody watches HAProxy any
// more. pipe is one end of a socket pair; its end of file is the sentinel's
// death, and silence on it a sentinel that hangs: that one is killed as well, so
// that its sessions end and another can be started. While it lives the child
// holds trackFile.lock: the next sentinel's child waits for it, and the next
// sentinel for its child, so this write cannot undo a newer one.
func DeadMan(trackFile string, pipe *os.File) error {
	parent, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		return fmt.Errorf("guard track file: find the sentinel: %w", err)
	}
	defer unix.Close(parent)
	// A stop of the whole group reaches the sentinel as well; this child ends with it.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	return guardTrack(trackFile, pipe, maxSilence, func() { _ = unix.PidfdSendSignal(parent, unix.SIGKILL, nil, 0) })
}

func guardTrack(trackFile string, pipe *os.File, silence time.Duration, hung func()) error {
	defer pipe.Close()
	lock, err := os.OpenFile(trackFile+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("guard track file: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("guard track file: %w", err)
	}
	_, _ = pipe.Write([]byte{armed}) // fails when the sentinel is dead already: the read tells
	end := listenTo(int(pipe.Fd()), silence)
	if end == dismissed {
		return nil
	}
	err = writeTrack(trackFile, trackBad)
	if end == silent {
		hung()
	}
	return err
}

// Why a child has no more to listen to.
const (
	dismissed = iota
	dead
	silent
)

// listenTo returns when the sentinel dismisses its child, dies or hangs. Only
// who has been heard can fall silent: a sentinel of an earlier version does not
// speak.
func listenTo(fd int, silence time.Duration) (end int) {
	patience := -time.Second
	for {
		if !readable(fd, patience) && !readable(fd, min(silence, secondLook)) {
			return silent
		}
		var said [1]byte
		n, err := unix.Read(fd, said[:])
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case n == 1 && said[0] == alive:
			patience = silence
		case n == 1 && said[0] == standDown:
			return dismissed
		default:
			return dead
		}
	}
}

// readable waits for something to read, or the end; for ever where d is negative.
func readable(fd int, d time.Duration) bool {
	n := 0
	_ = again(func() (err error) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(d.Milliseconds()))
		return err
	})
	return n > 0
}
