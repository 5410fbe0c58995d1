package haproxy

import (
	"errors"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/vipilot/vipilot/internal/supervise"
)

// begin starts HAProxy as `vipilot exec haproxy` does, and returns how to kill it.
func (l *lab) begin() (kill func()) {
	l.t.Helper()
	args, err := Launch(l.t.Context(), l.opts.RunDir)
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(realBinary(), args...)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	kill = func() { _ = cmd.Process.Kill(); <-ended }
	l.t.Cleanup(kill)
	return kill
}

// TestE2EAttach: what somebody else starts is driven, reloaded and taken over
// again after its death, and neither started nor stopped.
func TestE2EAttach(t *testing.T) {
	l := newLab(t)
	l.opts.Attach = true
	l.successor()
	l.run()
	port := freePort(t)
	a, b := app(t, "a"), app(t, "b")
	if _, err := l.Set(t.Context(), simple(port, a)); !errors.Is(err, errAbsent) {
		t.Fatalf("Set without HAProxy: %v", err)
	}
	kill := l.begin()
	l.eventually("seen", func() bool { return l.Status().Running })
	if change := l.set(simple(port, a)); change.Kind != Adopted {
		t.Errorf("the first Set on it: %+v", change)
	}
	if change := l.set(simple(port, a, b)); change.Kind != Runtime {
		t.Errorf("a server more: %+v", change)
	}
	want := simple(port, a, b)
	want.Frontends[0].ClientTimeout = 7e9
	if change := l.set(want); change.Kind != Reload {
		t.Errorf("another structure: %+v", change)
	}
	l.lockedUp(l.worker())
	if _, err := Launch(t.Context(), l.opts.RunDir); err == nil {
		t.Error("Launch beside a living HAProxy")
	}

	old := l.pids()
	kill()
	for _, pid := range old { // a container would end them
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	l.eventually("death seen", func() bool { return !l.Status().Running })
	l.begin()
	for !l.Status().Running { // while it binds its ports
		if _, err := l.Set(t.Context(), want); len(Taken(err)) > 0 {
			t.Fatalf("its successor's ports are taken for another program's: %v", err)
		}
	}
	l.eventually("its successor seen", func() bool { return l.Status().Running && !slices.Contains(old, l.Status().PID) })
	if change := l.set(want); change.Kind != None && change.Kind != Adopted {
		t.Errorf("a Set on its successor: %+v", change)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := supervise.Find(l.Status().PID); err != nil {
		t.Errorf("Close stopped what it had not started: %v", err)
	}
}
