package controller

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/vipilot/vipilot/discovery"
)

// FuzzState starts from any files in the state directory, torn by a crash or
// written by somebody else: each is of use or ignored with a reason, and what
// is of use renders.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"revision":"x","files":{"fleet.yaml":"dmVyc2lvbjogMQo="}}`), []byte(`{"version":2}`+"\n"+`{"host":"app1","containers":[{"ID":"a","Name":"web-1"}]}`+"\n"))
	f.Add([]byte(`{"version":99}`), []byte(`{"version":99}`))
	f.Add([]byte("{"), []byte(`{"version":2}`+"\n"+`{"service":"todo","answered":{"x":"2026-01-01T00:00:00Z"}}`+"\n{"))
	f.Add([]byte("null"), []byte(`null null`))
	cfg := load(f, grabbing)
	f.Fuzz(func(t *testing.T, config, endpoints []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{"config.json": config, "drains.json": config, "endpoints.json": endpoints} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m := newMemory(dir, slog.New(slog.DiscardHandler))
		if kept, err := m.loadConfig(); err == nil && kept != nil && len(kept.Files) == 0 {
			t.Error("a configuration of no files")
		}
		in := Input{Node: "lb1", Config: cfg, Hosts: make(map[string]discovery.Snapshot), Answered: make(map[string]*Answers)}
		_ = m.loadEndpoints(&in)
		_, _ = Desire(in)
	})
}
