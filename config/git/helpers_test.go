package git

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const fleet = "version: 1\nnodes: {lb1: {address: 10.77.0.21, interface: eth0}}\nvips: {v: {addresses: [203.0.113.10], ha: static}}\n"

// work is a repository that the git binary makes.
type work struct {
	t   testing.TB
	dir string
}

func newWork(t testing.TB) work {
	t.Helper()
	w := work{t, filepath.Join(t.TempDir(), "fleet")}
	w.run("", "init", "-q", "-b", "main", w.dir)
	w.put("fleet/vipilot.yaml", fleet)
	w.commit("first")
	return w
}

// run runs git without the settings of whoever runs the test.
func (w work) run(dir string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Ann", "-c", "user.email=ann@example.net", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w work) git(args ...string) string { w.t.Helper(); return w.run(w.dir, args...) }

func (w work) put(name, text string) {
	w.t.Helper()
	full := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// commit commits everything and gives its hash.
func (w work) commit(message string, options ...string) string {
	w.t.Helper()
	w.git("add", "-A")
	w.git(append([]string{"commit", "-q", "--allow-empty", "-m", message}, options...)...)
	return w.git("rev-parse", "HEAD")
}

func parse(t testing.TB, source string) URL {
	t.Helper()
	u, err := Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func source(t testing.TB, opts Options) *Source {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s, err := NewSource(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantRevision wants Sync to end well or badly, and Load to give the revision.
func wantRevision(t testing.TB, s *Source, revision, fault string) {
	t.Helper()
	err := s.Sync(t.Context())
	if (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
		t.Errorf("sync: %v, want %q", err, fault)
	}
	if got := s.Fault(); (got == nil) != (fault == "") {
		t.Errorf("fault: %v, want %q", got, fault)
	}
	cfg, err := s.Load(t.Context(), nil)
	if revision == "" {
		if err == nil {
			t.Errorf("revision %s, want none", cfg.Revision)
		}
		return
	}
	if err != nil || cfg.Revision != revision {
		t.Errorf("load: %v, %v; want revision %s", cfg, err, revision)
	}
}
