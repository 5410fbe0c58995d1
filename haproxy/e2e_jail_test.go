package haproxy

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestE2EJail: the worker has no rights, no files and no capabilities, before
// and after a reload; its health, its updates and its reloads work.
func TestE2EJail(t *testing.T) {
	l := newLab(t)
	if !l.paths.Jail.closed() {
		t.Fatal("no jail: this test wants root and the user haproxy")
	}
	l.run()
	gone := Server{Name: "gone", Address: netip.AddrPortFrom(loopback, freePort(t)), State: Ready, Weight: 100}
	port := freePort(t)
	want := checked(simple(port, app(t, "a"), gone))
	l.set(want)
	first := l.worker()
	l.lockedUp(first)
	l.eventually("health over the feed", func() bool {
		return l.Servers().Of("app", "a") == Up && l.Servers().Of("app", "gone") == Down
	})
	if change := l.set(withServers(want, app(t, "b"))); change.Kind != Runtime {
		t.Fatalf("change %+v, want a runtime update", change)
	}
	l.eventually("b answers", func() bool { _, body, _ := fetch(port, "x", "/"); return strings.HasPrefix(body, "b ") })
	want = checked(simple(port, app(t, "c")))
	want.Frontends[0].Binds = append(want.Frontends[0].Binds, Bind{netip.MustParseAddr("198.18.7.9"), 80}) // an address this machine does not have
	if change := l.set(want); change.Kind != Reload {
		t.Fatalf("change %+v, want a reload", change)
	}
	if again := l.worker(); again == first {
		t.Fatal("no new worker")
	} else {
		l.lockedUp(again)
	}

	inner, err := net.Listen("unix", l.paths.socket("acme.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	if err := os.Chmod(l.paths.socket("acme.sock"), 0o666); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = http.Serve(inner, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "inner") }))
	}()
	l.set(simple(port, Server{Name: "inner", Socket: "acme.sock", State: Ready, Weight: 100}))
	l.eventually("a socket in the jail answers", func() bool { _, body, _ := fetch(port, "x", "/"); return body == "inner" })
	l.lockedUp(l.worker())
}

func (l *lab) lockedUp(worker string) {
	l.t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", worker, "status"))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, wanted := range []string{fmt.Sprintf("Uid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\n", l.paths.Jail.UID), fmt.Sprintf("Gid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\n", l.paths.Jail.GID), "CapEff:\t0000000000000000\n"} {
		if !strings.Contains(string(status), wanted) {
			l.t.Errorf("worker %s: no %q in its status:\n%s", worker, wanted, status)
		}
	}
	inside, err := os.ReadDir(filepath.Join("/proc", worker, "root"))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, e := range inside {
		if e.Type() != os.ModeSocket {
			l.t.Errorf("worker %s can reach %s", worker, e.Name())
		}
	}
	for _, name := range []string{"stats.sock", "master.sock"} {
		if info, err := os.Stat(filepath.Join(l.paths.Dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			l.t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
