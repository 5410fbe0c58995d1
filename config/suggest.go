package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// didYouMean gives the hint that names the candidate closest to word, or ""
// when none is close.
func didYouMean(word string, candidates []string) string {
	best, limit := "", min(len(word)/3+1, 3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c), limit); d <= limit && c != word {
			best, limit = c, d-1
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance is the number of insertions, deletions, substitutions and
// swaps of neighbours that turn a into b; above limit it only says "more".
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// enumerate gives the words for a message, sorted, not too many of them.
func enumerate(words []string) string {
	const most = 10
	words = slices.Sorted(slices.Values(words))
	if len(words) == 0 {
		return "none"
	}
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
	}
	return strings.Join(words, ", ")
}

// userPassword is a password in a URL, where none belongs.
var userPassword = regexp.MustCompile(`(://[^:@]*:)[^@]*@`)

// quote shows an operator's text in a message, not too much of it.
func quote(text string) string {
	const most = 60
	text = userPassword.ReplaceAllString(text, "$1***@")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return strconv.Quote(text)
}
