package sentinel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guard is the sentinel's end of a dead man's switch.
type guard struct {
	pipe *os.File
	done chan struct{} // closed when the child has ended
}

// armTime is how long a child may take until it is on guard.
const armTime = 5 * time.Second

// armGuard starts the child and waits until it is on guard, or ctx is late.
func armGuard(ctx context.Context, argv []string, trackFile string) (*guard, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("start dead man's switch: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "guard"), os.NewFile(uintptr(pair[1]), "guard")
	cmd := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], trackFile)...)
	cmd.Dir, cmd.ExtraFiles = "/", []*os.File{theirs} // all other descriptors close on exec
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = theirs.Close() // so that the child's death is an end of file
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("start dead man's switch: %w", err)
	}
	g := &guard{pipe: ours, done: make(chan struct{})}
	go func() { _ = cmd.Wait(); close(g.done) }()
	deadline, _ := ctx.Deadline() // none: for ever
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
	_ = g.pipe.SetWriteDeadline(time.Time{})
	_, _ = g.pipe.Write([]byte{standDown})
	_ = g.pipe.Close()
	select {
	case <-g.done:
	case <-time.After(2 * time.Second):
	}
}

// handOver tells the child that another sentinel comes.
func (g *guard) handOver() {
	_ = g.pipe.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = g.pipe.Write([]byte{handsOver})
}

// beat tells the child that the sentinel still watches. A child that does not read
// will not be waited for.
func (g *guard) beat() {
	_ = g.pipe.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, _ = g.pipe.Write([]byte{alive})
}

// keepGuard has a dead man's switch on guard. It is started beside the loop,
// since it may have to wait for a predecessor's. Without one the node works
// on, and says so.
func (w *watchdog) keepGuard(ctx context.Context) {
	if w.guard != nil || w.arming != nil || ctx.Err() != nil || time.Now().Before(w.armAfter) {
		return
	}
	file, arming := w.want.TrackFile, make(chan struct{})
	w.arming = arming
	go func() {
		limited, cancel := context.WithTimeout(ctx, armTime)
		g, err := armGuard(limited, w.deadMan, file)
		cancel()
		taken := w.call(ctx, func() {
			w.arming = nil
			w.note(&w.faults.guard, err)
			if err == nil && file == w.want.TrackFile {
				w.guard, g = g, nil
				w.track = "" // the one before may have written
				w.watchGuard(ctx, w.guard)
			}
			w.armAfter = time.Now().Add(retryAfter)
		})
		if err == nil && g != nil { // nobody wants it any more
			g.dismiss()
		}
		if taken {
			close(arming)
		}
	}()
}

// watchGuard tells g that the loop turns, and replaces it when it ends by itself.
func (w *watchdog) watchGuard(ctx context.Context, g *guard) {
	go func() {
		for beat := time.NewTicker(beatEvery); ; {
			if time.Since(w.turn()) < longestTurn {
				g.beat()
			}
			select {
			case <-beat.C:
				continue
			case <-g.done:
			case <-ctx.Done():
				beat.Stop()
				return
			}
			beat.Stop()
			break
		}
		w.do(ctx, func() {
			if w.guard == g {
				w.log.Warn("dead man's switch ended, starting another")
				_ = g.pipe.Close()
				w.guard = nil
			}
		})
	}()
}
