package vrrp

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/vipilot/vipilot/internal/supervise"
)

func TestDeliverCoalesces(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(filepath.Join(dir, memoryFile))
		out := make(chan RoleChange)
		go m.deliver(t.Context(), out)
		say := func(name string, role Role) {
			t.Helper()
			if err := m.assume([]notice{{name, role}}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		say("first", Backup) // taken out at once, waits in the hand of deliver
		say("a", Backup)
		say("b", Backup)
		say("a", Master)
		say("a", Master) // no change
		for _, want := range []notice{{"first", Backup}, {"b", Backup}, {"a", Master}} {
			if got := <-out; got.Instance != want.Instance || got.Role != want.Role || got.At.IsZero() {
				t.Errorf("delivered %+v, want %+v", got, want)
			}
		}
		synctest.Wait()
		select {
		case c := <-out:
			t.Errorf("delivered %+v as well", c)
		default:
		}
	})
}

func TestRecall(t *testing.T) {
	path := filepath.Join(t.TempDir(), memoryFile)
	m := newMemory(path)
	p := &supervise.Process{PID: 7, StartTime: 8}
	err := m.edit(func(k *kept) { k.PID, k.StartTime, k.Loaded, k.Held = 7, 8, "hash", public().holdings() })
	if err == nil {
		err = m.assume([]notice{{"public", Master}})
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		process *supervise.Process
		role    Role
		loaded  string
	}{
		"same process":    {p, Master, "hash"},
		"another process": {&supervise.Process{PID: 7, StartTime: 9}, "", ""},
		"no process":      {nil, "", ""},
	} {
		m := newMemory(path)
		if err := m.recall(c.process); err != nil {
			t.Fatal(err)
		}
		got := m.read()
		if got.Roles["public"] != c.role || got.Loaded != c.loaded || len(got.Held) != 3 {
			t.Errorf("%s: recalled %+v", name, got)
		}
	}
	if err := os.WriteFile(path, []byte("no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newMemory(path).recall(p); err == nil {
		t.Error("recalled nonsense")
	}
}

func (i Instance) holdings() []held { return Config{Instances: []Instance{i}}.holdings() }

func TestDump(t *testing.T) {
	data, err := os.ReadFile("testdata/dump.json") // recorded from keepalived 2.2.7
	if err != nil {
		t.Fatal(err)
	}
	var dump []dumped
	if err := json.Unmarshal(data, &dump); err != nil {
		t.Fatal(err)
	}
	if got := notices(dump); len(got) != 1 || got[0] != (notice{"public", Master}) {
		t.Errorf("roles %+v", got)
	}
	same := Config{Instances: []Instance{public()}}
	if d := differs(dump, same); d != "" {
		t.Errorf("differs: %s", d)
	}
	for name, c := range map[string]Config{
		"other priority":  {Instances: []Instance{with(func(i *Instance) { i.Priority = 1 })}},
		"other addresses": {Instances: []Instance{with(func(i *Instance) { i.Addresses = addrs("203.0.113.11", "2001:db8::10") })}},
		"one more":        {Instances: []Instance{public(), intra()}},
		"another":         {Instances: []Instance{intra()}},
	} {
		if differs(dump, c) == "" {
			t.Errorf("%s: no difference seen", name)
		}
	}
}

// Roles that the previous release wrote are those of its process.
func TestMemoryOfPrevious(t *testing.T) {
	m := newMemory(filepath.Join("..", "controller", "testdata", "previous", "run", "keepalived", memoryFile)) // only read
	if err := m.recall(&supervise.Process{PID: 48, StartTime: 2424518}); err != nil {
		t.Fatal(err)
	}
	if k := m.read(); k.Roles["public"] != Master || len(k.Held) != 2 || k.Loaded == "" {
		t.Errorf("recalled %+v", k)
	}
}
