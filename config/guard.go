package config

// readGuard reads the guard section.
func readGuard(parts []value) Guard {
	var g Guard
	object(parts, keys{"max_removed": into(&g.MaxRemoved, asPercent)})
	return g
}
