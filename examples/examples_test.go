// Package examples holds complete configurations; a test loads each.
package examples

import (
	"os"
	"testing"

	"github.com/vipilot/vipilot/config"
)

func TestExamplesLoad(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	loaded := 0
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		loaded++
		if _, err := config.Load(config.Dir(e.Name())); err != nil {
			t.Errorf("examples/%s:\n%v", e.Name(), err)
		}
	}
	if loaded == 0 {
		t.Fatal("no example found")
	}
}
