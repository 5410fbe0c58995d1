package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Pos is a place in a configuration file.
type Pos struct {
	File         string
	Line, Column int
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// compare orders places by file, then line, then column.
func (p Pos) compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

// Fault is one mistake an operator made.
type Fault struct {
	Pos     Pos
	Path    string // services.todo.vip
	Problem string // "egde" is not a declared VIP (declared: edge, mail)
	Hint    string // did you mean "edge"?
}

// String gives "file:line:column: path: problem; hint", in one line: names of
// files and keys may hold what a terminal would obey.
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
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, b.String())
}

// flatFault is a fault as JSON shows it.
type flatFault struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Problem string `json:"problem"`
	Hint    string `json:"hint"`
}

// MarshalJSON gives {file, line, column, path, problem, hint}.
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(flatFault{f.Pos.File, f.Pos.Line, f.Pos.Column, f.Path, f.Problem, f.Hint})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var flat flatFault
	if err := json.Unmarshal(data, &flat); err != nil {
		return err
	}
	*f = Fault{Pos{flat.File, flat.Line, flat.Column}, flat.Path, flat.Problem, flat.Hint}
	return nil
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

// sortFaults gives the faults in the order of their places; nil stays nil.
func sortFaults(list []*Fault) Faults {
	var out Faults
	for _, f := range list {
		out = append(out, *f)
	}
	slices.SortStableFunc(out, func(a, b Fault) int {
		return cmp.Or(a.Pos.compare(b.Pos), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Problem, b.Problem))
	})
	return out
}
