package haproxy

import "testing"

func TestVerdicts(t *testing.T) {
	a1, a2, b1 := ServerKey{"a", "1"}, ServerKey{"a", "2"}, ServerKey{"b", "1"}
	first := NewVerdicts(map[ServerKey]Health{a1: Up, a2: Unknown, b1: Down})
	if same, changed := first.with(map[ServerKey]Health{a1: Up, a2: Unknown}, []ServerKey{{"c", "1"}}); changed || same["a"] != first["a"] {
		t.Error("equal verdicts count as a change")
	}
	second, changed := first.with(map[ServerKey]Health{a1: Down}, nil)
	if !changed || second.Of("a", "1") != Down || second.Of("b", "1") != Down || !second.has(a2) {
		t.Errorf("after a change: %v, %v", changed, second)
	}
	if first.Of("a", "1") != Up || first["a"] == second["a"] || first["b"] != second["b"] {
		t.Error("a change must copy the backend it touches, and no other")
	}
	third, changed := second.with(nil, []ServerKey{a1, a2})
	if _, ok := third["a"]; !changed || ok || third.has(a1) || !second.has(a1) || third["b"] != first["b"] {
		t.Errorf("after the removal of a backend's servers: %v", third)
	}
	count := 0
	third.keys(func(ServerKey) { count++ })
	if count != 1 {
		t.Errorf("%d verdicts are left, want 1", count)
	}
}
