package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vipilot/vipilot/config"
)

// put writes a file and the directories above it.
func put(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func TestDirList(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a/z.yml", "a/deep/er/x.yaml", ".hidden.yaml", ".git/y.yaml", "notes.md", "..2024/map.yaml", "..2024/sub/inner.yaml"} {
		put(t, filepath.Join(dir, name), "version: 1\n")
	}
	link(t, "..2024", filepath.Join(dir, "..data")) // as Kubernetes mounts a ConfigMap
	link(t, "..data/map.yaml", filepath.Join(dir, "map.yaml"))
	link(t, "..data/sub", filepath.Join(dir, "sub"))
	link(t, "..", filepath.Join(dir, "a", "loop"))
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.Dir(dir).List()
	want := []string{"a/deep/er/x.yaml", "a/z.yml", "b.yaml", "map.yaml", "sub/inner.yaml"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := config.Load(config.Dir(dir)); err != nil {
		t.Errorf("load: %v", err)
	}
	if _, err := config.Dir(dir).ReadFile("pipe.yaml"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("read a FIFO: %v", err)
	}
	link(t, "nowhere.yaml", filepath.Join(dir, "broken.yaml"))
	if _, err := config.Dir(dir).List(); err == nil || !strings.Contains(err.Error(), "broken.yaml") {
		t.Errorf("a link to nothing passed: %v", err)
	}
}

// TestDirAndItsFilesAgree loads from disk, with a file elsewhere, and again without the disk.
func TestDirAndItsFilesAgree(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	password := filepath.Join(elsewhere, "pw.yaml")
	put(t, password, "hunter2\n")
	put(t, filepath.Join(dir, "fleet", "v.yaml"), `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
vips: {v: {addresses: [203.0.113.10], vrrp: {advert_interval: 1s, password_file: `+password+`}}}
routing: {bgp: {asn: 1, peers: {edge: {address: 10.77.0.1, asn: 2, password_file: ../secrets/bgp}}}}
`)
	put(t, filepath.Join(dir, "secrets", "bgp"), "swordfish\n")
	cfg, err := config.Load(config.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	again, err := config.Load(cfg.Files)
	if err != nil || !reflect.DeepEqual(cfg, again) {
		t.Errorf("loaded from Config.Files it differs: %v", err)
	}
	if got := again.Routing.BGP.Peers[0].Password.Reveal(); got != "swordfish" {
		t.Errorf("password %q", got)
	}
}
