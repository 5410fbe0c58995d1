package controller

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
)

// previousState is a copy of the state directory that the previous release left.
func previousState(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(dir, os.DirFS("testdata/previous/state")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// recalled gives all that a memory on dir recalls, and what it says of it.
func recalled(dir string) (in Input, said string) {
	m := newMemory(dir, slog.New(slog.DiscardHandler))
	in = Input{Node: "lb1", Hosts: make(map[string]discovery.Snapshot), Answered: make(map[string]*Answers)}
	var words []string
	note := func(err error) {
		if err != nil {
			words = append(words, err.Error())
		}
	}
	var err error
	in.Config, err = m.loadConfig()
	note(err)
	note(m.loadEndpoints(&in))
	note(m.loadDrains(&in))
	_, err = m.loadBad()
	note(err)
	_, err = (&loop{memory: m}).loadTrial(new(config.Config))
	note(err)
	return in, strings.Join(words, "\n")
}

// A node starts from what the previous release has left.
func TestPreviousState(t *testing.T) {
	in, said := recalled(previousState(t))
	if said != "" || in.Config == nil {
		t.Fatalf("the previous release's state: configuration %v; %s", in.Config, said)
	}
	if in.Config.Revision != "845e8e4a7cfc" {
		t.Errorf("revision %q is not what the previous release called it", in.Config.Revision)
	}
	servers := backend(t, desire(t, in), "todo").Servers
	if len(servers) != 2 || servers[0].Address.String() != "10.77.0.11:32770" || servers[0].Name == servers[1].Name {
		t.Errorf("servers %v", servers)
	}
	for _, s := range servers {
		if s.State != haproxy.Ready {
			t.Errorf("%s answered before and is not ready: %+v", s.Name, s)
		}
	}
	if in.Hosts["app1"].StaleSince.IsZero() || in.Hosts["app1"].Connected {
		t.Error("what is remembered is not marked stale")
	}
}

// What a newer release has left is not understood: each file says so, and the
// node goes on without it.
func TestNewerState(t *testing.T) {
	dir := previousState(t)
	for _, name := range []string{"config.json", "endpoints.json", drainsFile, "bad.json", trialFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"version":99,"hosts":["in","other","words"],"files":7}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in, said := recalled(dir)
	if in.Config != nil || len(in.Hosts) != 0 || in.Drains != nil {
		t.Errorf("something of a newer version was taken: %+v", in)
	}
	for _, name := range []string{"config.json: version 99", "endpoints.json: version 99", drainsFile + ": version 99", "bad.json: version 99", trialFile + ": version 99", "it is ignored"} {
		if !strings.Contains(said, name) {
			t.Errorf("nothing is said of %s in\n%s", name, said)
		}
	}
}
