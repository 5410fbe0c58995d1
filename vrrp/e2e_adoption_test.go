package vrrp

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestAdoption(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.nodes[0], l.nodes[1]
	l.elect(t, steady(public()))
	pid := a.k.Status().PID
	lost := l.probing(t, "203.0.113.10")
	heard := len(b.roles("public"))

	a.die()
	a.controller()
	if changed := a.set(a.config(150, steady(public()))); changed {
		t.Error("adoption changed something")
	}
	if s := a.k.Status(); s.PID != pid || s.Reloads != 0 || a.k.Role("public") != Master {
		t.Errorf("adopted %+v as %q, want process %d as master", s, a.k.Role("public"), pid)
	}
	if lost() != 0 || len(b.roles("public")) != heard {
		t.Errorf("the adoption was felt: %v", b.roles("public"))
	}

	// What happens while the controller is dead waits in the pipe.
	a.die()
	a.write("1")
	eventually(t, "peer takes over", func() bool { return b.is("public", Master) })
	a.controller()
	eventually(t, "fault known", func() bool { return a.is("public", Fault) })
	// A file that was written and not loaded is loaded by the next controller.
	a.die()
	if err := a.k.memory.edit(func(m *kept) { m.Loaded = "" }); err != nil {
		t.Fatal(err)
	}
	a.controller()
	if changed := a.set(a.config(150, steady(public()))); !changed || a.k.Status().Reloads != 1 {
		t.Errorf("changed %v, %+v", changed, a.k.Status())
	}
}

// A keepalived that cannot be asked: the pipe and the memory tell all.
func TestAdoptionByPipe(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.nodes[0]
	a.binary = filepath.Join(t.TempDir(), "keepalived")
	script := "#!/bin/sh\ntest \"$1\" = --signum=JSON && exit 1\nexec keepalived \"$@\"\n"
	if err := os.WriteFile(a.binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	a.die()
	a.controller()
	a.set(a.config(150, quick(public()), quick(intra())))
	eventually(t, "master", func() bool { return a.is("public", Master) && a.is("intra", Master) })
	a.die()
	a.write("1")
	eventually(t, "addresses gone", func() bool { return len(a.addresses()) == 0 })
	a.write("0")
	eventually(t, "addresses back", func() bool { return len(a.addresses()) > 0 })
	a.write("1")
	eventually(t, "addresses gone", func() bool { return len(a.addresses()) == 0 })
	a.controller()
	eventually(t, "fault known", func() bool { return a.is("public", Fault) && a.is("intra", Fault) })
	if dump := filepath.Join(a.dir, dumpFile); fileExists(dump) {
		t.Errorf("%s exists: keepalived was asked", dump)
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestKill(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.nodes[0], l.nodes[1]
	l.elect(t, quick(public()))
	parent, child := a.pids()
	start := time.Now()
	killBoth(t, parent, child)
	eventually(t, "another process", func() bool { s := a.k.Status(); return s.Running && s.PID != parent && s.Err == nil })
	t.Logf("restarted after %v", time.Since(start))
	eventually(t, "one master", func() bool { return a.is("public", Master) && b.is("public", Backup) })
	if !slices.Contains(a.roles("public"), Fault) {
		t.Errorf("the death was not told: %v", a.roles("public"))
	}

	// Only the VRRP process: keepalived itself starts another.
	_, child = a.pids()
	kill(t, child)
	eventually(t, "a new child", func() bool { _, c := a.pids(); return c > 0 && c != child && a.is("public", Master) })

	// Only the parent: its child leaves in order, then both are started anew.
	parent, _ = a.pids()
	kill(t, parent)
	eventually(t, "another process", func() bool { s := a.k.Status(); return s.Running && s.PID != parent && s.Err == nil })
	eventually(t, "one master", func() bool { return a.is("public", Master) && b.is("public", Backup) })
}

// kill ends a process, never 0, which is all that the test belongs to.
func kill(t *testing.T, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Fatal("no keepalived to kill")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// killBoth leaves the VRRP process no time to tidy up, as it would on the
// SIGTERM that the death of its parent sends it.
func killBoth(t *testing.T, parent, child int) {
	t.Helper()
	if parent == 0 || child == 0 {
		t.Fatal("no keepalived to kill")
	}
	err := errors.Join(syscall.Kill(child, syscall.SIGSTOP), syscall.Kill(parent, syscall.SIGKILL), syscall.Kill(child, syscall.SIGKILL))
	if err != nil {
		t.Fatal(err)
	}
}

// Both the controller and keepalived die; the next revision has other
// addresses and a priority that makes this node the backup.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.nodes[0], l.nodes[1]
	l.elect(t, steady(public()))
	killAll := func() {
		eventually(t, "it holds addresses", func() bool { return len(a.addresses()) > 0 })
		parent, child := a.pids()
		a.die()
		killBoth(t, parent, child)
		eventually(t, "dead", func() bool { return !takesSignal(parent, 36) && !takesSignal(child, 36) })
		if len(a.addresses()) == 0 {
			t.Fatal("nothing is left over; the test proves nothing")
		}
		a.controller()
	}
	killAll()
	changed := steady(public())
	changed.Addresses = addrs("203.0.113.12")
	a.set(a.config(50, changed))
	eventually(t, "backup", func() bool { return a.is("public", Backup) && b.is("public", Master) })
	eventually(t, "a backup without addresses", func() bool { return len(a.addresses()) == 0 })
	a.set(a.config(200, changed))
	eventually(t, "master", func() bool { return a.is("public", Master) })
	killAll()
	if !a.set(Config{Node: a.ns}) {
		t.Error("nothing to remove")
	}
	if got := a.addresses(); len(got) != 0 {
		t.Errorf("without instances the node holds %v", got)
	}
	if a.set(Config{Node: a.ns}) {
		t.Error("removed again")
	}
}
