package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// TestWatchMindsNoOrder gives the outside files in an order that changes.
func TestWatchMindsNoOrder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.yaml", ".b", ".c"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	names := []string{".b", ".c"}
	w := watcher{notify: notify, dir: dir, outside: []func() []string{func() []string { return names }}}
	if !w.look() {
		t.Fatal("the first look saw nothing")
	}
	names = []string{".c", ".b"}
	if w.look() {
		t.Error("another order was taken for a change")
	}
}
