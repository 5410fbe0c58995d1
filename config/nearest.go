package config

import (
	"cmp"
	"slices"
	"strings"
)

// Nearest gives at most n of the candidates that somebody who typed word may
// have meant, the likeliest first: those a few mistakes away, then those that
// contain it.
func Nearest(word string, candidates []string, n int) []string {
	type guess struct {
		name  string
		worth int // smaller is likelier
	}
	const contains = 100 // worse than any mistake
	var guesses []guess
	lower := strings.ToLower(word)
	limit := min(len(word)/3+1, 3)
	for _, c := range candidates {
		name := strings.ToLower(c)
		if d := distance(lower, name, limit); d <= limit {
			guesses = append(guesses, guess{c, d})
		} else if i := strings.Index(name, lower); i >= 0 && lower != "" {
			guesses = append(guesses, guess{c, contains + i})
		}
	}
	slices.SortFunc(guesses, func(a, b guess) int { return cmp.Or(a.worth-b.worth, strings.Compare(a.name, b.name)) })
	var names []string
	for _, g := range guesses {
		if !slices.Contains(names, g.name) && len(names) < n {
			names = append(names, g.name)
		}
	}
	return names
}
