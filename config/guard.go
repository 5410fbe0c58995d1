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

// checkCanaries warns where the nodes behind a canary would not wait until it
// can no longer go back.
func (l *loader) checkCanaries() {
	guard := l.cfg.Guard
	if guard.Soak >= guard.Settle && guard.Soak > 0 {
		return
	}
	for _, n := range l.cfg.Nodes {
		if !n.Canary {
			continue
		}
		at := l.declared[kindNode][n.Name].dig("canary")
		if guard.Soak == 0 {
			at.warnf("the other nodes do not wait for it: guard.soak is 0s").Hint = "set guard.soak to how long it has to be well with a revision"
			continue
		}
		at.warnf("guard.soak (%s) is shorter than guard.settle (%s): the other nodes may take a revision that it is about to take back",
			brief(guard.Soak), brief(guard.Settle)).Hint = "set guard.soak to at least guard.settle"
	}
}
