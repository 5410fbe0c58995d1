package vrrp

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A keepalived -t that says yes to all, or repeats what it must not.
func fakeKeepalived(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keepalived")
	if err := os.WriteFile(path, []byte("#!/usr/bin/env -S --default-signal=HUP sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckItself(t *testing.T) {
	yes := fakeKeepalived(t, "exit 0\n")
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"good":  {"vrrp_instance a {\nvirtual_ipaddress {\n10.77.0.1/32\n}\n}\n", ""},
		"empty": {"# nothing\n\n", "says nothing"},
		"twice": {"vrrp_instance a {\nvirtual_ipaddress_excluded {\n10.77.0.1/32\n}\n}\nvrrp_instance b {\nvirtual_ipaddress {\n10.77.0.1 dev eth0\n}\n}\n", "10.77.0.1 is there twice"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := Check(t.Context(), yes, file)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Check = %v, want %q", name, err, c.want)
		}
	}
	if err := Check(t.Context(), yes, filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Check of a missing file = %v", err)
	}
}

func TestCheckErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "k.conf")
	if err := os.WriteFile(file, []byte("auth_pass \"hunter2\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Check(t.Context(), fakeKeepalived(t, "echo 'bad auth_pass hunter2' >&2; exit 5\n"), file)
	if err == nil || !strings.Contains(err.Error(), "bad auth_pass ***") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Check = %v", err)
	}
	missing := `echo "(k.conf: Line 3) WARNING - interface eth7 for vrrp_instance p doesn't exist" >&2; `
	if err := Check(t.Context(), fakeKeepalived(t, missing+"exit 5\n"), file); !errors.Is(err, ErrNoInterface) {
		t.Errorf("Check with a missing interface = %v", err)
	}
	if err := Check(t.Context(), fakeKeepalived(t, missing+"echo bogus >&2; exit 5\n"), file); err == nil || errors.Is(err, ErrNoInterface) {
		t.Errorf("Check with a missing interface and more = %v", err)
	}
	if err := Check(t.Context(), filepath.Join(t.TempDir(), "none"), file); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("Check without keepalived = %v", err)
	}
}
