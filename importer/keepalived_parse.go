package importer

import (
	"fmt"
	"strings"
)

// block is a line of keepalived.conf with what its braces hold.
type block struct {
	words []string
	at    int // line
	in    []*block
}

// Bounds of a keepalived.conf: none that runs anywhere comes near.
const (
	maxLines  = 100_000
	maxBlocks = 16
)

// parseKeepalived reads keepalived.conf: words, quotes, comments that begin
// with ! or #, and braces. It knows no keyword.
func parseKeepalived(s Source) ([]*block, error) {
	top := &block{}
	open := []*block{top}
	var last *block // what a brace on the next line belongs to
	for i, line := range strings.Split(string(s.Text), "\n") {
		if i >= maxLines {
			return nil, fmt.Errorf("%s: more than %d lines", s.Name, maxLines)
		}
		words, err := keepalivedWords(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", s.Name, i+1, err)
		}
		var b *block
		for _, w := range words {
			here := open[len(open)-1]
			switch w {
			case "{":
				if last == nil {
					return nil, fmt.Errorf("%s:%d: a brace that belongs to nothing", s.Name, i+1)
				}
				if open = append(open, last); len(open) > maxBlocks {
					return nil, fmt.Errorf("%s:%d: nested deeper than %d", s.Name, i+1, maxBlocks)
				}
				b, last = nil, nil
			case "}":
				if len(open) == 1 {
					return nil, fmt.Errorf("%s:%d: a closing brace too many", s.Name, i+1)
				}
				open, b, last = open[:len(open)-1], nil, nil
			default:
				if b == nil {
					b = &block{at: i + 1}
					here.in = append(here.in, b)
					last = b
				}
				b.words = append(b.words, strings.Trim(w, `"`))
			}
		}
	}
	if len(open) > 1 {
		return nil, fmt.Errorf("%s:%d: the brace of %q is not closed", s.Name, open[len(open)-1].at, printable(open[len(open)-1].words[0]))
	}
	return top.in, nil
}

// keepalivedWords splits a line. A quoted word keeps its quotes, which tell it
// from a brace.
func keepalivedWords(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r\v\f")
		switch {
		case line == "" || line[0] == '!' || line[0] == '#':
			return words, nil
		case line[0] == '"':
			end := strings.IndexByte(line[1:], '"')
			if end < 0 {
				return nil, fmt.Errorf("a quoted word does not end")
			}
			words, line = append(words, line[:end+2]), line[end+2:]
		case line[0] == '{' || line[0] == '}':
			words, line = append(words, line[:1]), line[1:]
		default:
			end := strings.IndexAny(line, " \t\r\v\f{}\"")
			if end < 0 {
				end = len(line)
			}
			words, line = append(words, line[:end]), line[end:]
		}
	}
}

// name is the first word.
func (b *block) name() string { return b.words[0] }

// arg is the i-th word after the name, "" where there is none.
func (b *block) arg(i int) string {
	if i >= len(b.words) {
		return ""
	}
	return b.words[i]
}

func (b *block) text() string { return strings.Join(b.words, " ") }
