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

// Bytes between the sentinel and its dead man's switch.
const (
	armed     = 'a' // child: I hold the lock, you may write
	alive     = 'b' // sentinel: I still watch
	standDown = 'd' // sentinel: end without writing
	handsOver = 'h' // sentinel: I end, and another one comes
)

const (
	beatEvery  = time.Second
	maxSilence = 3 * time.Second
	// secondLook lets a sentinel speak that was frozen together with its child.
	secondLook = time.Second
	// longestTurn is far more than the loop may take for one turn, which is five
	// seconds for the speakers and some for a HAProxy that does not answer.
	longestTurn = 20 * time.Second
	// succession is how long a sentinel that hands over may stay without another.
	succession = 5 * time.Second
)

// DeadMan is the child that outlives a killed sentinel by a moment: it writes 1
// into trackFile, so keepalived learns that nobody watches HAProxy any more, and
// withdraws from FRR, which would announce on, what the sentinel of runDir had it
// announce. pipe is one end of a socket pair; its end of file is the sentinel's
// death, and silence on it a sentinel that hangs: that one is killed as well, so
// that its sessions end and another can be started. A sentinel that hands over
// has succession to be followed; then nothing is written. While it lives the child
// holds trackFile.lock: the next sentinel's child waits for it, and the next
// sentinel for its child, so this write cannot undo a newer one.
func DeadMan(runDir, trackFile string, pipe *os.File) error {
	parent, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		return fmt.Errorf("guard track file: find the sentinel: %w", err)
	}
	defer unix.Close(parent)
	// A stop of the whole group reaches the sentinel as well; this child ends with it.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	return guardTrack(trackFile, pipe, maxSilence, estate{
		kill:     func() { _ = unix.PidfdSendSignal(parent, unix.SIGKILL, nil, 0) },
		followed: func() bool { return readable(parent, secondLook) && awaitHeir(runDir, succession) },
		withdraw: func() error { readable(parent, secondLook); return withdrawFRR(runDir) },
	})
}

// estate is what is to be done about a sentinel that is no more.
type estate struct {
	kill     func()       // it hangs
	followed func() bool  // waits for the next one
	withdraw func() error // from those who announce on without it
}

func guardTrack(trackFile string, pipe *os.File, silence time.Duration, of estate) error {
	defer pipe.Close()
	lock, err := os.OpenFile(trackFile+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("guard track file: %w", err)
	}
	defer lock.Close()
	if err := again(func() error { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX) }); err != nil {
		return fmt.Errorf("guard track file: %w", err)
	}
	_, _ = pipe.Write([]byte{armed}) // fails when the sentinel is dead already: the read tells
	end := listenTo(int(pipe.Fd()), silence)
	if end == dismissed || end == handed && of.followed() {
		return nil
	}
	err = writeTrack(trackFile, trackBad)
	if end == silent {
		of.kill()
	}
	return errors.Join(err, of.withdraw())
}

// Why a child has no more to listen to.
const (
	dismissed = iota
	dead
	silent
	handed // dead, as it had announced
)

// listenTo returns when the sentinel dismisses its child, dies or hangs. Only
// who has been heard can fall silent: a sentinel of an earlier version does not
// speak.
func listenTo(fd int, silence time.Duration) (end int) {
	patience, death := -time.Second, dead
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
		case n == 1 && said[0] == handsOver:
			death = handed
		case n == 1 && said[0] == standDown:
			return dismissed
		default:
			return death
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
