package render

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "haproxy.cfg")
	for i, step := range []struct {
		content string
		changed bool
	}{{"one", true}, {"one", false}, {"two", true}} {
		changed, err := WriteFile(path, []byte(step.content), 0o600)
		if err != nil || changed != step.changed {
			t.Fatalf("step %d: changed %v, %v", i, changed, err)
		}
		got, _ := os.ReadFile(path)
		if string(got) != step.content {
			t.Fatalf("step %d: content %q", i, got)
		}
	}
	info, _ := os.Stat(path)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left %d files behind, want 1", len(entries))
	}
}

func TestExecuteUnknown(t *testing.T) {
	if _, err := Execute("no-such.tmpl", nil); err == nil {
		t.Fatal("rendered a template that does not exist")
	}
}
