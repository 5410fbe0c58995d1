package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vipilot/vipilot/config"
)

// FuzzEndpoints reads any file for --endpoints.
func FuzzEndpoints(f *testing.F) {
	f.Add([]byte("todo: [10.77.0.11:80, {name: app1/web-1, address: \"10.77.0.12:80\"}]\n"))
	f.Add([]byte(`{"node":"lb1","services":{"todo":{"endpoints":[{"name":"app1/web-1","address":"10.77.0.11:80","via":"x"}]}}}`))
	f.Add([]byte("todo: &a [*a]\n"))
	f.Add([]byte("? [a]\n: {}\n"))
	cfg := new(config.Config)
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "endpoints")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		given, err := readEndpoints(name, cfg)
		if err != nil {
			return
		}
		for service, list := range given {
			for _, e := range list {
				if !e.Address.IsValid() || e.Address.Port() == 0 {
					t.Errorf("%s: %+v", service, e)
				}
			}
		}
	})
}
