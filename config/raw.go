package config

import (
	"slices"
	"strings"
)

// RawLine is a line of HAProxy's own language, and where it stands.
type RawLine struct {
	Text string
	Pos  Pos
	Path string
}

// sectionWords open a section of haproxy.cfg.
var sectionWords = []string{"acme", "backend", "cache", "crt-store", "defaults", "fcgi-app", "frontend", "global", "http-errors", "listen",
	"log-forward", "log-profile", "mailers", "peers", "program", "resolvers", "ring", "traces", "userlist"}

// asRawLine reads one line. What HAProxy makes of it is looked at by whoever
// knows HAProxy; here it is kept to one line in its section.
func asRawLine(v value) (RawLine, bool) {
	text, ok := checked("a line for haproxy.cfg", func(text string) *refusal {
		words := strings.Fields(text)
		switch {
		case len(words) == 0:
			return &refusal{"is empty", ""}
		case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }):
			return &refusal{"has a character that is not printable ASCII", "one line is one item of the list"}
		case len(text) > 1000:
			return &refusal{"is longer than 1000 characters", ""}
		case slices.Contains(sectionWords, words[0]) || strings.HasPrefix(words[0], "."):
			return &refusal{"would leave the section", "only lines within a section are possible"}
		}
		return nil
	})(v)
	return RawLine{text, v.pos(), v.path}, ok
}
