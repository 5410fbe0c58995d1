package vrrp

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
)

// begin starts keepalived as `vipilot exec keepalived` does, in the node's
// namespace, and returns how to kill all of it.
func (n *node) begin(t *testing.T) (kill func()) {
	t.Helper()
	var cmd *exec.Cmd
	err := n.inside(func() error {
		args, env, err := Launch(t.Context(), n.k.opts.RunDir)
		if err != nil {
			return err
		}
		cmd = exec.Command("keepalived", args...)
		cmd.Env = append(os.Environ(), env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd.Start()
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	kill = func() { // as a container ends: nobody is left to remove addresses
		_, child := n.pids()
		_ = cmd.Process.Kill()
		if child > 1 && n.k.owns(child) {
			_ = syscall.Kill(child, syscall.SIGKILL)
		}
		<-ended
	}
	t.Cleanup(kill)
	return kill
}

// TestAttach: what somebody else starts is driven, taken over again after its
// death, and neither started nor stopped by Close.
func TestAttach(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	n := l.nodes[0]
	n.quit()
	<-n.ended
	n.attach = true
	n.controller()
	set := func(c Config) error {
		return n.inside(func() error { _, err := n.k.Set(context.Background(), c); return err })
	}
	want := n.config(150, quick(public()))
	if err := set(want); !errors.Is(err, errAbsent) {
		t.Fatalf("Set without keepalived: %v", err)
	}
	kill := n.begin(t)
	eventually(t, "orders taken", func() bool { return set(want) == nil })
	eventually(t, "master", func() bool { return n.is("public", Master) })
	held := n.addresses()
	if !slices.Contains(held, "203.0.113.10/32") {
		t.Errorf("master holds %v", held)
	}
	first, _ := n.pids()

	kill()
	eventually(t, "death seen", func() bool { return n.is("public", Fault) })
	n.begin(t)
	eventually(t, "master again", func() bool { return n.is("public", Master) })
	eventually(t, "orders taken again", func() bool { return set(want) == nil })
	if second, _ := n.pids(); second == first || n.k.Status().PID != second {
		t.Errorf("attached to %d; %d was, %d is", n.k.Status().PID, first, second)
	}
	if err := n.k.Close(t.Context()); err != nil || !n.k.running() {
		t.Errorf("Close: %v, running: %t", err, n.k.running())
	}
	// Without instances it is ended, and whoever starts it waits.
	if err := set(n.config(150)); err != nil || n.k.running() {
		t.Errorf("Set of nothing: %v, running: %t", err, n.k.running())
	}
	if left := n.addresses(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
