package controller

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunDirFormat(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, formatFile)
	for range 2 { // of before formats, then of this one
		if err := takeRunDir(dir, "v1.0.0"); err != nil {
			t.Fatal(err)
		}
	}
	if data, _ := os.ReadFile(file); string(data) != `{"version":1,"program":"v1.0.0"}`+"\n" {
		t.Errorf("the run directory says %s", data)
	}
	for text, want := range map[string]string{
		`{"version":2,"program":"v9.0.0"}`: `format 2, of vipilot "v9.0.0", and this program knows formats up to 1`,
		`{"version":0}`:                    "does not say which format",
		`{`:                                "does not say which format",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := takeRunDir(dir, "v1.0.0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if data, _ := os.ReadFile(file); string(data) != text {
			t.Errorf("what was refused is overwritten: %s", data)
		}
	}
	for range 2 {
		if err := leaveRunDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := takeRunDir(dir, "v1.0.0"); err != nil {
		t.Errorf("after an orderly end: %v", err)
	}
}
