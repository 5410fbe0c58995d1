package config_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
)

// patience is how long a signal is awaited: less than the patrol's interval,
// which would find everything.
const patience = 20 * time.Second

// watching starts Watch and takes its first signal. The function it gives
// waits for the next one.
func watching(t *testing.T, dir string, outside ...func() []string) (next func(after string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- config.Watch(ctx, dir, changed, outside...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch ended with %v", err)
		}
	})
	next = func(after string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatalf("no signal after: %s", after)
		}
	}
	next("the start")
	return next
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestWatchFiles walks one watcher through what editors and operators do.
func TestWatchFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf")
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, at("a.yaml"), "version: 1\n")
	next := watching(t, dir)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"write in place", func() { put(t, at("a.yaml"), "version: 1 \n") }},
		{"a new file", func() { put(t, at("b.yaml"), "nodes: {}\n") }},
		{"an editor that renames", func() {
			put(t, at(".a.yaml.swp"), "version: 1  \n")
			do(t, os.Rename(at(".a.yaml.swp"), at("a.yaml")))
		}},
		{"a file removed", func() { do(t, os.Remove(at("b.yaml"))) }},
		{"a new subdirectory with a file", func() { put(t, at("sub/deep/c.yaml"), "hosts: {}\n") }},
		{"a write in the new subdirectory", func() { put(t, at("sub/deep/c.yaml"), "hosts: {} \n") }},
		{"a referenced file", func() { put(t, at("secrets/pw"), "hunter2") }},
		{"the subdirectory moved away", func() { do(t, os.Rename(at("sub"), dir+"-sub")) }},
		{"the directory removed", func() { do(t, os.RemoveAll(dir)) }},
		{"the directory created again", func() { put(t, at("a.yaml"), "version: 1\n") }},
		{"a write in the new directory", func() { put(t, at("a.yaml"), "version: 1 \n") }},
	} {
		step.do()
		next(step.name)
	}
}

// TestWatchConfigMap swaps the link that all files of a ConfigMap go through.
func TestWatchConfigMap(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "..1", "a.yaml"), "version: 1\n")
	put(t, filepath.Join(dir, "..1", "sub", "b.yaml"), "nodes: {}\n")
	link(t, "..1", filepath.Join(dir, "..data"))
	link(t, "..data/a.yaml", filepath.Join(dir, "a.yaml"))
	link(t, "..data/sub", filepath.Join(dir, "sub"))
	next := watching(t, dir)
	for i := 2; i < 5; i++ {
		revision := fmt.Sprintf("..%d", i)
		put(t, filepath.Join(dir, revision, "a.yaml"), "version: 1\n")
		put(t, filepath.Join(dir, revision, "sub", "b.yaml"), "nodes: {}\n")
		link(t, revision, filepath.Join(dir, "..data_tmp"))
		do(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
		next("swap to " + revision)
	}
}

// TestWatchSwappedRoot replaces a link that is the directory itself.
func TestWatchSwappedRoot(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "current")
	put(t, filepath.Join(base, "r1", "a.yaml"), "version: 1\n")
	put(t, filepath.Join(base, "r2", "a.yaml"), "version: 1\n")
	link(t, "r1", root)
	next := watching(t, root)
	link(t, "r2", root+".new")
	do(t, os.Rename(root+".new", root))
	next("the root was swapped")
	put(t, filepath.Join(base, "r2", "a.yaml"), "version: 1 \n")
	next("a write behind the new link")
}

func TestWatchOutside(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	put(t, filepath.Join(dir, "a.yaml"), "version: 1\n")
	put(t, filepath.Join(dir, ".secrets", "pw"), "hunter2")
	certificate := filepath.Join(elsewhere, "live", "todo.pem")
	put(t, filepath.Join(elsewhere, "archive", "1.pem"), "1")
	put(t, filepath.Join(elsewhere, "archive", "2.pem"), "2")
	do(t, os.Mkdir(filepath.Dir(certificate), 0o755))
	link(t, "../archive/1.pem", certificate)

	known := []string{".secrets/pw"} // as Config.Files of the newest Config
	next := watching(t, dir, func() []string {
		files := known
		if pw, err := os.ReadFile(filepath.Join(dir, ".secrets", "pw")); err == nil && string(pw) == "hunter3" {
			known = []string{".secrets/pw", certificate} // what is loaded because of this look refers to one more
		}
		return files
	})
	put(t, filepath.Join(dir, ".secrets", "pw"), "hunter3")
	next("a hidden file that is referenced")
	next("a file that is referenced now")
	put(t, filepath.Join(elsewhere, "archive", "1.pem"), "one")
	next("a write behind the link")
	link(t, "../archive/2.pem", certificate+".new")
	do(t, os.Rename(certificate+".new", certificate))
	next("the link swapped")
}

// TestWatchIsQuiet wants no signal for what is no configuration, and one for a burst.
func TestWatchIsQuiet(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.yaml"), "version: 1\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed := make(chan struct{}, 1)
	go config.Watch(ctx, dir, changed)
	<-changed // the one at the start

	for i := range 200 {
		put(t, filepath.Join(dir, ".a.yaml.swp"), fmt.Sprint(i))
		put(t, filepath.Join(dir, ".git", "index"), fmt.Sprint(i))
	}
	select {
	case <-changed:
		t.Error("a signal for hidden files")
	case <-time.After(300 * time.Millisecond):
	}
	for i := range 200 {
		put(t, filepath.Join(dir, "a.yaml"), fmt.Sprintf("version: 1 # %d\n", i))
	}
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("no signal for a burst of writes")
	}
}

// TestWatchIsQuick wants the signal well before the patrol would find the change.
func TestWatchIsQuick(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.yaml")
	put(t, name, "version: 1\n")
	next := watching(t, dir)
	best := time.Hour
	for i := range 100 { // how quick it can be is told by the first that a busy machine lets through
		start := time.Now()
		put(t, name, fmt.Sprintf("version: 1 # %d\n", i))
		next("a write")
		if best = min(best, time.Since(start)); i > 3 && best < 500*time.Millisecond {
			break
		}
	}
	t.Logf("the quickest: %s", best)
	if best > 500*time.Millisecond {
		t.Errorf("the quickest signal took %s", best)
	}
}
