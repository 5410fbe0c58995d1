package config

import (
	"fmt"
	"strings"
)

// Pos is a place in a configuration file.
type Pos struct {
	File         string
	Line, Column int
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Fault is one mistake an operator made.
type Fault struct {
	Pos     Pos
	Path    string // services.todo.vip
	Problem string // "egde" is not a declared VIP (declared: edge, mail)
	Hint    string // did you mean "edge"?
}

// String gives "file:line:column: path: problem; hint".
func (f Fault) String() string {
	var b strings.Builder
	if f.Pos.File != "" {
		b.WriteString(f.Pos.String() + ": ")
	}
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Problem)
	if f.Hint != "" {
		b.WriteString("; " + f.Hint)
	}
	return b.String()
}

// Faults are all mistakes of one configuration, in the order of their places.
type Faults []Fault

// Error gives one line a fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}
