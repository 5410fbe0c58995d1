package discovery

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestMisses(t *testing.T) {
	c := Container{Name: "web-1", Image: "nginx:1", Labels: map[string]string{"app": "shop", "Tier": "front", composeProject: "p", composeService: "s"}}
	s := Selector{
		Labels: map[string]string{"app": "todo", "tier": "front", "zone": "a"}, Compose: "p/web", Swarm: "x", Image: "nginx:2*", Name: "web-?",
	}
	want := []string{
		`label app=todo (it has "shop")`,
		`label tier=front (it has label "Tier", and labels are case-sensitive)`,
		`label zone=a (it has no such label)`,
		`compose p/web (it is "p/s")`,
		`swarm x (it has no such label)`,
		`image nginx:2* (its image is "nginx:1")`,
	}
	if got := s.Misses(c); !slices.Equal(got, want) {
		t.Errorf("misses\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	hostile := Container{Name: strings.Repeat("x\n", 99), Labels: map[string]string{"app": "a\nb\x1b[31m"}}
	for _, miss := range s.Misses(hostile) {
		if strings.ContainsAny(miss, "\n\x1b") || len(miss) > 400 {
			t.Errorf("miss %q", miss)
		}
	}
}

// Conditions and Matches are two ways to say the same.
func TestConditionsAgreeWithMatches(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	for range 20_000 {
		s := Selector{Compose: pick("", "", "p/web", "p/", "p"), Swarm: pick("", "", "s"), Image: pick("", "", "nginx", "*:1"), Name: pick("", "", "web-*", "[")}
		if random.IntN(2) == 0 {
			s.Labels = map[string]string{pick("app", "tier"): pick("a", "b")}
		}
		c := Container{Name: pick("web-1", "db"), Image: pick("nginx", "nginx:1", "x:1"), Labels: map[string]string{
			pick("app", "tier"): pick("a", "b"), composeProject: pick("p", "q"), composeService: pick("web", ""), swarmService: pick("s", "t"),
		}}
		conditions := s.Conditions(c)
		all := len(conditions) > 0 && !slices.ContainsFunc(conditions, func(one Condition) bool { return !one.Met })
		if all != s.Matches(c) {
			t.Fatalf("%+v of %+v: conditions %+v, matches %v", s, c, conditions, s.Matches(c))
		}
	}
}
