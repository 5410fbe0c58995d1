package sentinel

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

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
