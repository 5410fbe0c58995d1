package loopback

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// fakeLo is a tiny kernel: it refuses what a kernel refuses.
type fakeLo struct {
	addresses []netip.Addr
	full      bool
}

func (f *fakeLo) list() ([]netip.Addr, error) { return slices.Clone(f.addresses), nil }

func (f *fakeLo) add(a netip.Addr) error {
	switch {
	case f.full:
		return errors.New("no space")
	case slices.Contains(f.addresses, a):
		return syscall.EEXIST
	}
	f.addresses = append(f.addresses, a)
	return nil
}

func (f *fakeLo) remove(a netip.Addr) error {
	i := slices.Index(f.addresses, a)
	if i < 0 {
		return syscall.EADDRNOTAVAIL
	}
	f.addresses = slices.Delete(f.addresses, i, i+1)
	return nil
}

func addrs(t *testing.T, words string) (list []netip.Addr) {
	t.Helper()
	for word := range strings.FieldsSeq(words) {
		list = append(list, netip.MustParseAddr(word))
	}
	return list
}

func TestSet(t *testing.T) {
	kernel := &fakeLo{addresses: addrs(t, "127.0.0.1 203.0.113.1")}
	file := filepath.Join(t.TempDir(), "sub", "lo.json")
	for _, step := range []struct {
		name, want, reached string
		full, changed, fail bool
	}{
		{name: "nothing", reached: "127.0.0.1 203.0.113.1"},
		{name: "add", want: "203.0.113.53 2001:db8::53", reached: "127.0.0.1 203.0.113.1 203.0.113.53 2001:db8::53", changed: true},
		{name: "again", want: "2001:db8::53 203.0.113.53", reached: "127.0.0.1 203.0.113.1 203.0.113.53 2001:db8::53"},
		{name: "one that was there", want: "203.0.113.1", reached: "127.0.0.1 203.0.113.1", changed: true},
		{name: "it is not ours", want: "", reached: "127.0.0.1 203.0.113.1"},
		{name: "failure", want: "203.0.113.2", reached: "127.0.0.1 203.0.113.1", full: true, fail: true},
		{name: "next round", want: "203.0.113.2", reached: "127.0.0.1 203.0.113.1 203.0.113.2", changed: true},
	} {
		kernel.full = step.full
		changed, err := loop(file, kernel).Set(t.Context(), addrs(t, step.want)) // each step is a new process
		if changed != step.changed || (err != nil) != step.fail {
			t.Errorf("%s: Set = %t, %v", step.name, changed, err)
		}
		if got := fmt.Sprint(kernel.addresses); got != fmt.Sprint(addrs(t, step.reached)) {
			t.Errorf("%s: lo has %s, want %s", step.name, got, step.reached)
		}
	}
	if err := loop(file, kernel).Close(); err != nil || len(kernel.addresses) != 2 {
		t.Errorf("Close = %v, lo has %v", err, kernel.addresses)
	}
}

func loop(file string, k kernel) *Loopback { return &Loopback{file: file, kernel: k} }

func TestSetRefuses(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loop(broken, &fakeLo{}).Set(t.Context(), nil); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("broken record: %v", err)
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("fe80::1%eth0")} {
		if _, err := loop(filepath.Join(dir, "x"), &fakeLo{}).Set(t.Context(), []netip.Addr{a}); err == nil {
			t.Errorf("took %s", a)
		}
	}
}
