package status

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// stepWidth is the room for a step's name.
const stepWidth = 10

// WriteAnswer writes an answer for a person at a terminal: the chain of steps,
// what it comes to, and what to do next. It shows nothing unprintable,
// whatever the answer holds.
func WriteAnswer(w io.Writer, a *Answer, color bool) error {
	buffered := bufio.NewWriter(w)
	p := &page{w: buffered, color: color}
	if !a.Found {
		p.line(paint{bad, "✗ "}, paint{text: oneLine(a.Reason)})
		for _, name := range a.DidYouMean {
			p.line(paint{off, "→ did you mean "}, paint{text: oneLine(name)}, paint{off, "?"})
		}
		return buffered.Flush()
	}
	for i, e := range append([]Explanation{a.Explanation}, a.Others...) {
		if i > 0 {
			p.line()
		}
		p.explanation(e, a.Node)
	}
	if a.LeftOut > 0 {
		p.line()
		p.line(paint{off, fmt.Sprintf("and %d more; name one in full to see it", a.LeftOut)})
	}
	return buffered.Flush()
}

func (p *page) explanation(e Explanation, node string) {
	p.line(paint{off, e.Kind + " "}, paint{text: oneLine(e.Name)}, paint{off, ", as " + node + " sees it"})
	p.line()
	for _, s := range e.Steps {
		p.step(s)
	}
	p.line()
	end, t := e.Verdict, good
	sign := OK
	if e.Verdict != GetsTraffic {
		t, sign = bad, Fail
	}
	if e.Reason != "" {
		end += ": "
	}
	p.line(paint{t, sign.sign() + " "}, paint{text: oneLine(e.Name) + " "}, paint{t, end}, paint{text: oneLine(e.Reason)})
	if e.Next != "" {
		p.line(paint{off, "→ "}, paint{text: oneLine(e.Next)})
	}
}

func (p *page) step(s Step) {
	t := s.Verdict.tone()
	name := s.Step + strings.Repeat(" ", max(0, stepWidth-utf8.RuneCountInString(s.Step)))
	text := paint{text: " " + oneLine(s.Text)}
	if s.Verdict == Skip {
		text.tone = off
	}
	p.line(paint{text: "  "}, paint{t, s.Verdict.sign() + " " + name}, text)
	for _, n := range s.Detail {
		margin := strings.Repeat(" ", stepWidth+5)
		text := paint{text: oneLine(n.Text)}
		if n.Verdict == Skip {
			text.tone = off
		}
		p.line(paint{text: margin}, paint{n.Verdict.tone(), n.Verdict.sign() + " "}, text)
	}
}

// sign is the verdict for those who see no colours.
func (v Verdict) sign() string {
	switch v {
	case OK:
		return "✓"
	case Fail:
		return "✗"
	case Warn:
		return "!"
	}
	return "–"
}

func (v Verdict) tone() tone {
	switch v {
	case OK:
		return good
	case Fail:
		return bad
	case Warn:
		return warn
	}
	return off
}
