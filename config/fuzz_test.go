package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/vipilot/vipilot/config"
)

// FuzzLoad wants of any text either faults with their places, or a Config
// that its own files give again.
func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("version: 1\nnodes: &a {x: *a, ? [y] : z, ~: 1}\n--- !!binary x\n...\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := config.Load(with("f.yaml", string(data)))
		if err != nil {
			if faults := new(config.Faults); !errors.As(err, faults) {
				t.Fatalf("not a list of faults: %v", err)
			}
			wantFaults(t, err)
			return
		}
		again, err := config.Load(cfg.Files)
		if err != nil || !reflect.DeepEqual(cfg, again) {
			t.Fatalf("its own files give another: %v", err)
		}
	})
}
