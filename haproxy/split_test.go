package haproxy

import (
	"maps"
	"slices"
	"testing"
)

// splitConfig is a service with a canary set, behind one frontend.
func splitConfig(percent int, servers ...Server) Config {
	return Config{
		Frontends: []Frontend{{Name: "front", Mode: HTTP, Binds: []Bind{{loopback, 80}}, Routes: []Route{{Path: "/", Backend: "app"}, {Path: "/x", Backend: "app-x"}}}},
		Backends: []*Backend{
			{Name: "app", Mode: HTTP, Split: []Share{{"v2", percent}}, Servers: servers},
			{Name: "app-x", Mode: HTTP},
		},
	}
}

func inSet(set string, s Server) Server {
	s.Set = set
	return s
}

func TestSplitter(t *testing.T) {
	a, b := ready("a", "10.77.0.11:1"), inSet("v2", ready("b", "10.77.0.11:2"))
	want := splitConfig(10, a, b)
	var s splitter
	first := s.apply(want)
	var names []string
	for _, b := range first.Backends {
		names = append(names, b.Name)
	}
	if !slices.Equal(names, []string{"app", "app-x", "app:v2"}) {
		t.Fatalf("backends %q", names)
	}
	again := s.apply(want)
	if !sameFrontends(first, again) || again.Backends[2] != first.Backends[2] {
		t.Error("the same again is another")
	}
	other := want
	grown := *want.Backends[0]
	grown.Servers = append(slices.Clone(grown.Servers), inSet("v2", ready("c", "10.77.0.11:3")))
	other.Backends = []*Backend{&grown, want.Backends[1]}
	more := s.apply(other)
	if more.Backends[0] != first.Backends[0] || more.Backends[2] == first.Backends[2] || !sameFrontends(first, more) {
		t.Error("a server of one set touched the others")
	}
	if kind, causes := Compare(want, splitConfig(20, a, b)); kind != Runtime {
		t.Errorf("another share: %s %q", kind, causes)
	}
	plain := splitConfig(0, a)
	plain.Backends[0].Split = nil
	if kind, _ := Compare(want, plain); kind != Reload {
		t.Errorf("no split any more: %s", kind)
	}
	if untouched := s.apply(plain); untouched.Backends[0] != plain.Backends[0] || s.sets != nil {
		t.Error("without a split something is changed")
	}
}

// Verdicts on sets are the service's, those on the gate stay the gate's.
func TestServiceVerdicts(t *testing.T) {
	set, moved, gate := ServerKey{"app:canary", "1"}, ServerKey{"app:canary", "2"}, ServerKey{Gate, "3.app"}
	verdicts, gone := serviceVerdicts(map[ServerKey]Health{set: Up, {"app", "2"}: Down, gate: Up}, []ServerKey{moved, {"app:canary", "4"}, {Gate, "5.app"}})
	if want := map[ServerKey]Health{{"app", "1"}: Up, {"app", "2"}: Down, gate: Up}; !maps.Equal(verdicts, want) {
		t.Errorf("verdicts %v, want %v", verdicts, want)
	}
	if want := []ServerKey{{"app", "4"}, {Gate, "5.app"}}; !slices.Equal(gone, want) {
		t.Errorf("left: %v, want %v", gone, want)
	}
}

func TestSplitRefuses(t *testing.T) {
	for name, change := range map[string]func(*Backend){
		"more than all": func(b *Backend) { b.Split = []Share{{"v2", 60}, {"v3", 50}} },
		"twice":         func(b *Backend) { b.Split = []Share{{"v2", 10}, {"v2", 10}} },
		"hostile":       func(b *Backend) { b.Split = []Share{{"v2\n", 10}} },
		"a colon":       func(b *Backend) { b.Split = []Share{{"v:2", 10}} },
		"unknown set":   func(b *Backend) { b.Servers = []Server{inSet("v9", ready("a", "10.77.0.11:1"))} },
	} {
		want := splitConfig(10)
		change(want.Backends[0])
		if _, err := Render(want, testPaths); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
