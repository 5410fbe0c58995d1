package lab

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vipilot/vipilot/internal/command"
)

// clockFile names, in the environment of a node's processes, the file with
// the seconds that their wall clock is ahead.
const clockFile = "VIPILOT_CLOCK"

// goClock is what Go's time package gets besides: the same as clock.c does for
// programs in C, for vipilot is linked statically and asks the kernel itself.
// The monotonic clock and with it every timer stay as they are.
const goClock = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var ahead = func() *int64 {
	name, _ := syscall.Getenv("` + clockFile + `")
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return new(int64)
	}
	defer syscall.Close(fd)
	at, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return new(int64)
	}
	return (*int64)(unsafe.Pointer(&at[0]))
}()

func movedNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = runtimeNow()
	return sec + atomic.LoadInt64(ahead), nsec, mono
}
`

// clock is the wall clock of a node alone. The machine's, which nobody may
// touch for a test, stays as it is.
type clock struct {
	vipilot string   // built with a time package whose wall clock can be set
	env     []string // of all processes
	file    string
}

// OwnClock gives a node, from the next start of vipilot on, a wall clock that
// [Node.SetClock] sets. It is the product's source and the system's daemons
// with another clock below them: Go's time package is built with one, programs
// in C get theirs preloaded. It has to build, which may take minutes.
func (l *Lab) OwnClock(ctx context.Context, n *Node) error {
	dir := filepath.Join(l.Dir, "clock")
	c := &clock{vipilot: filepath.Join(dir, "vipilot"), file: filepath.Join(dir, n.Name)}
	preload := filepath.Join(dir, "clock.so")
	c.env = []string{clockFile + "=" + c.file, "LD_PRELOAD=" + preload}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(c.file, make([]byte, 8), 0o644); err != nil {
		return err
	}
	_, err := command.Run(ctx, "gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", preload, filepath.Join(Source(), "e2e/clock/clock.c"))
	if err != nil {
		return fmt.Errorf("build the clock: %w", err)
	}
	if _, err := os.Stat(c.vipilot); err != nil {
		if err := l.buildWithClock(ctx, dir, c.vipilot); err != nil {
			return fmt.Errorf("build vipilot with another clock: %w", err)
		}
	}
	n.clock = c
	return nil
}

// buildWithClock builds vipilot on a time package whose Now asks movedNow.
func (l *Lab) buildWithClock(ctx context.Context, dir, target string) error {
	root, err := command.Run(ctx, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	std := filepath.Join(strings.TrimSpace(root), "src", "time")
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		return err
	}
	const before, after = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n", "func Now() Time {\n\tsec, nsec, mono := movedNow()\n"
	if !strings.Contains(string(source), before) {
		return errors.New("time.Now of this Go is not what it was: see e2e/lab/clock.go")
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(std, "time.go"):  filepath.Join(dir, "time.go"),
		filepath.Join(std, "moved.go"): filepath.Join(dir, "moved.go"),
	}})
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"time.go": strings.Replace(string(source), before, after, 1), "moved.go": goClock, "overlay.json": string(overlay),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return build(ctx, Source(), ".", target, "-overlay", filepath.Join(dir, "overlay.json"))
}

// SetClock sets the node's own clock: so much ahead of the machine's, or behind.
func (n *Node) SetClock(ahead time.Duration) error {
	f, err := os.OpenFile(n.clock.file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead/time.Second)), 0) // in place: it is mapped
	return errors.Join(err, f.Close())
}

// OnOwnClock names the node's processes that read its own clock, and those that
// do not, as they should.
func (n *Node) OnOwnClock(ctx context.Context) (yes, no []string, err error) {
	out, err := n.Run(ctx, "sh", "-c", `for p in /proc/[0-9]*; do
	name=$(cat $p/comm 2>/dev/null) || continue
	case $name in sh|sleep|cat|grep) continue;; esac
	if grep -q "$0" $p/maps 2>/dev/null; then echo yes $name; else echo no $name; fi; done`, n.clock.file)
	for line := range strings.Lines(out) {
		switch word, name, _ := strings.Cut(strings.TrimSpace(line), " "); word {
		case "yes":
			yes = append(yes, name)
		case "no":
			no = append(no, name)
		}
	}
	return yes, no, err
}
