package config

import "time"

// Limits and defaults of the guard section.
const (
	defaultSettle = 10 * time.Second
	defaultSoak   = 5 * time.Minute
	defaultWait   = 30 * time.Minute
	longestGuard  = 24 * time.Hour
)

// readGuard reads the guard section.
func readGuard(parts []value) Guard {
	g := Guard{MaxRemoved: 100, Settle: defaultSettle, Soak: defaultSoak, Wait: defaultWait}
	upTo := asDuration(0, longestGuard, time.Millisecond)
	object(parts, keys{
		"max_removed": into(&g.MaxRemoved, asPercent),
		"settle":      into(&g.Settle, upTo),
		"soak":        into(&g.Soak, upTo),
		"wait":        into(&g.Wait, upTo),
		"on_timeout":  into(&g.GoOn, oneOf(map[string]bool{"continue": true, "stop": false})),
	})
	return g
}
