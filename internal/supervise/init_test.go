package supervise

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets a test start this program as an Init: it reaps all children of
// its process, which would be those of other tests too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "--as-init" {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }() // the test's end of the pipe
		code, err := Init{Argv: os.Args[2:], Final: []int{2}, Stdout: os.Stdout, Stderr: os.Stderr,
			Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}.Run(ctx)
		if err != nil {
			code = 99
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// asInit runs a shell script under an Init; stop tells it to end.
func asInit(t *testing.T, script string) (cmd *exec.Cmd, stop func()) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "--as-init", "sh", "-c", script)
	cmd.Dir = t.TempDir()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, func() { _ = in.Close() }
}

func poll(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}

func code(cmd *exec.Cmd) int {
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// TestInit: a child that dies is started again, its own child lives on and is
// buried when it ends, and the last word is the child's.
func TestInit(t *testing.T) {
	cmd, stop := asInit(t, `echo life >>lives
if [ $(wc -l <lives) = 1 ]; then sleep 600 & echo $! >orphan; kill -9 $$; fi
trap 'exit 7' TERM
echo up >up
while :; do sleep 0.01; done`)
	file := func(name string) string {
		data, _ := os.ReadFile(filepath.Join(cmd.Dir, name))
		return strings.TrimSpace(string(data))
	}
	poll(t, "second life", func() bool { return file("up") == "up" })
	orphan, err := strconv.Atoi(file("orphan"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Find(orphan)
	if err != nil {
		t.Fatalf("the orphan did not live on: %v", err)
	}
	if err := p.Signal(9); err != nil {
		t.Fatal(err)
	}
	poll(t, "the orphan is buried", func() bool {
		_, err := os.Stat("/proc/" + strconv.Itoa(orphan))
		return errors.Is(err, os.ErrNotExist)
	})
	stop()
	if got := code(cmd); got != 7 {
		t.Errorf("exit code %d, want the child's 7", got)
	}
}

func TestInitEnds(t *testing.T) {
	cmd, _ := asInit(t, "exit 2")
	if got := code(cmd); got != 2 {
		t.Errorf("exit code %d after a final one of 2", got)
	}
	cmd, stop := asInit(t, "exit 1")
	stop() // in a pause, or before
	if got := code(cmd); got != 0 && got != 1 && got != 255 {
		t.Errorf("exit code %d", got)
	}
}

func TestFind(t *testing.T) {
	if _, err := Find(1 << 30); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Find of no process: %v", err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := FindListener(t.Context(), socket); !errors.Is(err, ErrNotRunning) {
		t.Errorf("FindListener without a socket: %v", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := FindListener(t.Context(), socket)
	if err != nil || p.PID != os.Getpid() {
		t.Errorf("FindListener = %+v, %v; want this process, %d", p, err, os.Getpid())
	}
}
