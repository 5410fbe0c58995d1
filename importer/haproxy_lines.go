package importer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	parser "github.com/haproxytech/client-native/v6/config-parser"
	"github.com/haproxytech/client-native/v6/config-parser/common"
	"github.com/haproxytech/client-native/v6/config-parser/options"
)

// maxLine is what config-parser's scanner takes.
const maxLine = 60_000

// line is a line of haproxy.cfg.
type line struct {
	no    int
	words []string // quotes and all
	used  bool     // carried over, or nothing is lost without it
}

// text is the line without passwords: it is said to people, and in comments.
func (l *line) text() string {
	words := l.words
	if len(words) > 2 && words[0] == "stats" && words[1] == "auth" {
		user, _, _ := strings.Cut(words[2], ":")
		words = append(slices.Clone(words[:2]), user+":***")
	}
	return strings.Join(words, " ")
}

// section is a section of haproxy.cfg with its lines.
type section struct {
	kind, name, from string // from: of which defaults
	no               int
	lines            []*line
	defaults         *section // nil = none
}

// of are the lines that begin with these words.
func (s *section) of(words ...string) []*line {
	var found []*line
	for _, l := range s.lines {
		if len(l.words) >= len(words) && slices.Equal(l.words[:len(words)], words) {
			found = append(found, l)
		}
	}
	return found
}

// last is the last line that begins with these words, here or in the defaults,
// and marks it as used; nil = there is none.
func (s *section) last(words ...string) *line {
	for at := s; at != nil; at = at.defaults {
		if found := at.of(words...); len(found) > 0 {
			for _, l := range found {
				l.used = true
			}
			return found[len(found)-1]
		}
	}
	return nil
}

// cfg is a parsed haproxy.cfg: config-parser's types, and the lines, which
// config-parser does not number. Every line has its number as comment, and the
// types carry comments, so the two find each other.
type cfg struct {
	file     string
	sections []*section
	typed    parser.Parser
}

var sectionKinds = []string{"global", "defaults", "frontend", "backend", "listen", "userlist", "peers", "resolvers", "mailers", "cache", "program",
	"http-errors", "ring", "log-forward", "fcgi-app", "crt-store", "traces", "log-profile", "acme"}

// readCfg splits haproxy.cfg into sections and lines and parses it.
func readCfg(s Source) (*cfg, error) {
	c := &cfg{file: s.Name}
	var numbered strings.Builder
	var in, defaults *section
	for i, text := range strings.Split(string(s.Text), "\n") {
		if len(text) > maxLine || i > maxLines {
			return nil, fmt.Errorf("%s:%d: longer than a configuration of HAProxy is", s.Name, i+1)
		}
		words, _ := common.StringSplitWithCommentIgnoreEmpty(strings.TrimRight(text, "\r"))
		if len(words) == 0 {
			continue
		}
		if slices.Contains(sectionKinds, words[0]) {
			in = &section{kind: words[0], no: i + 1}
			if len(words) > 1 {
				in.name = words[1]
			}
			if len(words) > 3 && words[2] == "from" {
				in.from = words[3]
			}
			in.defaults = c.defaultsOf(in, defaults)
			if in.kind == "defaults" {
				defaults = in
			}
			c.sections = append(c.sections, in)
			fmt.Fprintln(&numbered, strings.Join(words, " "))
			continue
		}
		if in == nil {
			return nil, fmt.Errorf("%s:%d: %q stands before the first section", s.Name, i+1, printable(words[0]))
		}
		in.lines = append(in.lines, &line{no: i + 1, words: words})
		fmt.Fprintf(&numbered, "  %s # %d\n", strings.Join(words, " "), i+1)
	}
	var err error
	if c.typed, err = typed(numbered.String()); err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	return c, nil
}

// typed parses a whole file. The parser is not ours and panics at some lines
// that are not complete, such as "stick x".
func typed(text string) (p parser.Parser, err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = fmt.Errorf("a line of it is not complete, and cannot be read: haproxy -c tells which (%v)", bug)
		}
	}()
	return parser.New(options.String(text), options.UseV2HTTPCheck, options.UseListenSectionParsers)
}

// defaultsOf are the defaults that hold in a section: those it names, else the last before it.
func (c *cfg) defaultsOf(s, last *section) *section {
	if s.from != "" {
		for _, d := range c.sections {
			if d.kind == "defaults" && d.name == s.from {
				return d
			}
		}
	}
	if s.kind == "defaults" {
		return nil
	}
	return last
}

func (c *cfg) at(no int) string { return fmt.Sprintf("%s:%d", c.file, no) }

// find is the section of a kind and name; nil = there is none.
func (c *cfg) find(name string, kinds ...string) *section {
	for _, s := range c.sections {
		if s.name == name && slices.Contains(kinds, s.kind) {
			return s
		}
	}
	return nil
}

// typedOf gives what config-parser made of the lines of a section that begin
// with a keyword, and marks those lines as used.
func typedOf[T any](c *cfg, s *section, keyword string, commentOf func(T) string) (map[*line]T, []*line) {
	kinds := map[string]parser.Section{"frontend": parser.Frontends, "backend": parser.Backends, "listen": parser.Listen, "userlist": parser.UserList}
	found := make(map[*line]T)
	got, err := c.typed.Get(kinds[s.kind], s.name, keyword)
	if err != nil {
		return found, nil
	}
	list, _ := got.([]T)
	var order []*line
	for _, item := range list {
		no, _ := strconv.Atoi(commentOf(item))
		for _, l := range s.lines {
			if l.no == no {
				found[l], l.used = item, true
				order = append(order, l)
			}
		}
	}
	return found, order
}

// unquoted takes quotes and backslashes away, as HAProxy does.
func unquoted(word string) string {
	var out strings.Builder
	quote := rune(0)
	escaped := false
	for _, c := range word {
		switch {
		case escaped:
			out.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped = true
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		default:
			out.WriteRune(c)
		}
	}
	return out.String()
}

// condition splits a rule at if or unless.
func condition(words []string) (rule []string, unless bool, cond []string) {
	for i, w := range words {
		if w == "if" || w == "unless" {
			return words[:i], w == "unless", words[i+1:]
		}
	}
	return words, false, nil
}
