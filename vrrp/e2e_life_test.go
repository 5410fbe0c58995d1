package vrrp

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestLifeFile: when the lock that the sentinel holds is free, although the track
// file says that all is well, keepalived gives the addresses up by itself.
func TestLifeFile(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.nodes[0], l.nodes[1]
	var locks []*os.File
	set := func(addresses ...string) {
		t.Helper()
		for i, n := range l.nodes {
			instance := steady(public())
			instance.Addresses = addrs(addresses...)
			want := n.config(uint8(150-50*i), instance)
			want.LifeFile = locks[i].Name()
			n.set(want)
		}
	}
	for range l.nodes {
		locks = append(locks, hold(t, filepath.Join(t.TempDir(), "sentinel.lock")))
	}
	start := time.Now()
	set("203.0.113.10")
	eventually(t, "elected", func() bool { return a.is("public", Master) && b.is("public", Backup) })
	t.Logf("elected after %v", time.Since(start))
	lost := l.probing(t, "203.0.113.10")
	set("203.0.113.10", "203.0.113.11") // a reload forgets nothing
	quiet(t, "stays through a reload", func() bool { return a.is("public", Master) && b.is("public", Backup) })
	if n := lost(); n != 0 {
		t.Errorf("%d probes lost", n)
	}

	if err := locks[0].Close(); err != nil { // as the sentinel's death does
		t.Fatal(err)
	}
	took := eventually(t, "given up", func() bool { return a.is("public", Fault) && b.is("public", Master) && len(a.addresses()) == 0 })
	t.Logf("given up after %v", took)
	locks[0] = hold(t, locks[0].Name())
	took = eventually(t, "back", func() bool { return a.is("public", Master) && b.is("public", Backup) })
	t.Logf("back after %v", took)
}

// hold locks a file as the sentinel does.
func hold(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}
