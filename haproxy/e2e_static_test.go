package haproxy

import (
	"fmt"
	"strings"
	"testing"
)

// TestE2EWeightsAndBackups: new sessions go by weight, and to a backup only
// while nobody else is up.
func TestE2EWeightsAndBackups(t *testing.T) {
	l := newLab(t)
	l.run()
	port := freePort(t)
	heavy, light, spare := app(t, "heavy"), app(t, "light"), app(t, "spare")
	heavy.Weight, light.Weight, spare.Backup = 200, 100, true
	l.set(simple(port, heavy, light, spare))
	l.eventually("all are up", func() bool {
		seen := l.Servers()
		return seen.Of("app", "heavy") == Up && seen.Of("app", "light") == Up && seen.Of("app", "spare") == Up
	})
	answers := func() string {
		seen := make(map[string]int)
		for range 30 {
			_, body, _ := fetch(port, "x", "/")
			name, _, _ := strings.Cut(body, " ")
			seen[name]++
		}
		return fmt.Sprint(seen)
	}
	if got := answers(); got != "map[heavy:20 light:10]" {
		t.Errorf("by weight, 2 to 1 and no backup: %s", got)
	}
	heavy.State, light.State = Maint, Maint
	if c := l.set(simple(port, heavy, light, spare)); c.Kind != Runtime {
		t.Errorf("that was a %s", c.Kind)
	}
	if got := answers(); got != "map[spare:30]" {
		t.Errorf("alone: %s", got)
	}
	light.State = Ready
	l.set(simple(port, heavy, light, spare))
	l.eventually("the backup steps back", func() bool { return answers() == "map[light:30]" })
}
