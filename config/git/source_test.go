package git

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReferences(t *testing.T) {
	w := newWork(t)
	first := w.git("rev-parse", "HEAD")
	w.git("tag", "light")
	w.git("tag", "-m", "heavy", "heavy")
	w.put("fleet/vipilot.yaml", fleet+"# 2\n")
	second := w.commit("second")
	w.git("checkout", "-q", "-b", "feature/x")
	third := w.commit("third")
	w.git("checkout", "-q", "main")
	w.git("branch", "both", first)
	w.git("tag", "both", second)
	for ref, want := range map[string]string{
		"": second, "main": second, "light": first, "heavy": first, "refs/tags/heavy": first, "feature/x": third,
		"refs/heads/main": second, first: first, "refs/heads/both": first, "refs/tags/both": second,
	} {
		u := parse(t, "git+file://"+w.dir+"?path=fleet")
		u.Ref = ref
		wantRevision(t, source(t, Options{URL: u}), want, "")
	}
	for ref, want := range map[string]string{
		"gone": `no branch or tag "gone"`, "both": "is a branch and a tag", "refs/heads/gone": "there is no refs/heads/gone",
		strings.Repeat("ab", 20): "not complete",
	} {
		u := parse(t, "git+file://"+w.dir+"?path=fleet")
		u.Ref = ref
		wantRevision(t, source(t, Options{URL: u}), "", want)
	}
}

// TestLastGoodStays does to one repository what may happen to it, and wants a
// whole revision in force all the time.
func TestLastGoodStays(t *testing.T) {
	w := newWork(t)
	dir, aside := t.TempDir(), w.dir+".aside"
	s := source(t, Options{URL: parse(t, "git+file://"+w.dir+"?ref=main&path=fleet"), Dir: dir, Limits: Limits{Bytes: 1 << 20, Files: 50, Depth: 5}})
	first := w.git("rev-parse", "HEAD")
	wantRevision(t, s, first, "")

	if err := os.Rename(w.dir, aside); err != nil {
		t.Fatal(err)
	}
	wantRevision(t, s, first, "not a Git repository")
	again := source(t, Options{URL: s.opts.URL, Dir: dir}) // a restart without the server
	if cfg, err := again.Load(t.Context(), nil); err != nil || cfg.Revision != first {
		t.Errorf("after a restart: %v, %v", cfg, err)
	}
	if err := os.Rename(aside, w.dir); err != nil {
		t.Fatal(err)
	}
	wantRevision(t, s, first, "")

	w.git("branch", "-m", "main", "trunk") // the branch is gone
	wantRevision(t, s, first, `no branch or tag "main"`)
	w.git("branch", "-m", "trunk", "main")

	w.git("checkout", "-q", "--orphan", "other") // a push by force
	forced := w.commit("history rewritten")
	w.git("branch", "-f", "main", "other")
	wantRevision(t, s, forced, "")
	w.git("checkout", "-q", "main")

	for name, spoil := range map[string]struct {
		do   func()
		want string
	}{
		"huge file": {func() { w.put("fleet/huge.bin", strings.Repeat("x", 2<<20)) }, "too large"},
		"many files": {func() {
			for i := range 60 {
				w.put("fleet/"+strings.Repeat("n", i+1), "x")
			}
		}, "more than 50 files"},
		"deep":         {func() { w.put("fleet/a/b/c/d/e/f/g/x", "x") }, "nested more than 5"},
		"absolute":     {func() { w.link("/etc/passwd", "fleet/link.yaml") }, "leads out of the folder"},
		"upwards":      {func() { w.link("../../x", "fleet/link.yaml") }, "leads out of the folder"},
		"out in steps": {func() { w.link("sub", "fleet/a"); w.put("fleet/sub/x", ""); w.link("a/../../other", "fleet/b") }, "leads out of the folder"},
		"folder gone":  {func() { w.git("rm", "-rq", "fleet"); w.put("elsewhere", "x") }, `no folder "fleet"`},
	} {
		spoil.do()
		w.commit(name)
		wantRevision(t, s, forced, spoil.want)
		w.git("reset", "-q", "--hard", forced)
		w.git("clean", "-qfd")
	}
	wantRevision(t, s, forced, "")

	w.put("fleet/vipilot.yaml", "nods: {}\n")
	faulty := w.commit("a fault")
	if err := s.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	if cfg, err := s.Load(t.Context(), nil); err == nil || cfg == nil || cfg.Revision != faulty {
		t.Errorf("a revision with faults is %v, %v; want %s", cfg, err, faulty)
	}
	w.git("reset", "-q", "--hard", forced)
	wantRevision(t, s, forced, "")
	if entries, _ := os.ReadDir(s.store.dir); len(entries) != 3 {
		t.Errorf("left in the state directory: %v, want the current revision, the one before and the link", entries)
	}
}

func (w work) link(target, name string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(w.dir, name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(w.dir, name)); err != nil {
		w.t.Fatal(err)
	}
}

func TestLinksInsideAndSubmodules(t *testing.T) {
	w, other := newWork(t), newWork(t)
	w.link("../shared/more.yaml", "fleet/sub/more.yaml")
	w.put("fleet/shared/more.yaml", "networks: {n: {direct: true}}\n")
	w.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", other.dir, "fleet/module")
	commit := w.commit("links")
	s := source(t, Options{URL: parse(t, "git+file://"+w.dir+"?path=fleet")})
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.newest().dir, "module")); err == nil {
		t.Error("the submodule is there")
	}
	if _, err := s.Load(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "declared twice") {
		t.Errorf("%s: the file and the link to it should both be read: %v", commit, err)
	}
}

// Nodes that were started together do not ask together.
func TestPollsAreScattered(t *testing.T) {
	s := source(t, Options{URL: parse(t, "git+file:///nowhere"), Interval: 100 * time.Second})
	seen := make(map[time.Duration]bool)
	for range 1000 {
		pause := s.pause()
		if pause < 80*time.Second || pause > 120*time.Second {
			t.Fatalf("a pause of %s, want 100s give or take a fifth", pause)
		}
		seen[pause.Truncate(time.Second)] = true
	}
	if len(seen) < 30 {
		t.Errorf("1000 pauses take %d values of 40", len(seen))
	}
}

// TestFollow wants news of commits, pokes, faults and files outside.
func TestFollow(t *testing.T) {
	w := newWork(t)
	certificate := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(certificate, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(fleet, "ha: static", "vrrp: {advert_interval: 1s, password_file: "+certificate+"}", 1)
	w.put("fleet/vipilot.yaml", text)
	first := w.commit("with a password")
	s := source(t, Options{URL: parse(t, "git+file://"+w.dir+"?ref=main&path=fleet"), Interval: time.Hour})
	ctx, stop := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	outside := func() []string { return []string{certificate} }
	go func() { ended <- s.Follow(ctx, changed, outside) }()

	var last string
	await := func(what string, good func() bool) {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for !good() {
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("no news of %s; revision %s, fault %v", what, last, s.Fault())
			}
		}
	}
	revision := func() string {
		if cfg, err := s.Load(ctx, nil); err == nil {
			last = cfg.Revision
		}
		return last
	}
	await("the first revision", func() bool { return strings.HasPrefix(revision(), first+"+") })
	before := last
	if err := os.WriteFile(certificate, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	await("a file outside", func() bool { return revision() != before && strings.HasPrefix(last, first+"+") })
	w.put("fleet/vipilot.yaml", fleet)
	second := w.commit("without")
	s.Poke()
	s.Poke()
	await("a commit", func() bool { return revision() == second })
	w.git("branch", "-m", "main", "trunk")
	s.Poke()
	await("a fault", func() bool { return s.Fault() != nil })
	if revision() != second {
		t.Errorf("revision %s with a fault", last)
	}
	w.git("branch", "-m", "trunk", "main")
	s.Poke()
	await("the end of the fault", func() bool { return s.Fault() == nil })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestLeftovers starts on what a run that was killed has left.
func TestLeftovers(t *testing.T) {
	w := newWork(t)
	dir := t.TempDir()
	u := parse(t, "git+file://"+w.dir+"?path=fleet")
	s := source(t, Options{URL: u, Dir: dir})
	first := w.git("rev-parse", "HEAD")
	wantRevision(t, s, first, "")
	half := filepath.Join(s.store.dir, newPrefix+"123", "files")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(strings.Repeat("0", 40), filepath.Join(s.store.dir, newPrefix+currentName)); err != nil {
		t.Fatal(err)
	}
	s = source(t, Options{URL: u, Dir: dir})
	if _, err := os.Stat(half); err == nil {
		t.Error("half a checkout is still there")
	}
	w.put("fleet/vipilot.yaml", fleet+"# 2\n")
	wantRevision(t, s, w.commit("second"), "")
	if err := os.RemoveAll(s.newest().dir); err != nil { // somebody tidied up
		t.Fatal(err)
	}
	wantRevision(t, source(t, Options{URL: u, Dir: dir}), w.git("rev-parse", "HEAD"), "")
}
