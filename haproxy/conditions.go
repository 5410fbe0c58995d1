package haproxy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Condition is what a request must fulfil besides host and path for a route to
// take it. It is comparable; the zero value is fulfilled by every request.
// [When] makes one.
type Condition struct {
	Methods string // sorted, joined by spaces
	Headers string // "Name: value" lines, sorted; the value * is any
}

// When is the condition that the method is one of methods (none = any) and
// that each header is there with its value; the value "*" stands for any.
func When(methods []string, headers []Header) Condition {
	methods = slices.Sorted(slices.Values(methods))
	lines := make([]string, len(headers))
	for i, h := range headers {
		lines[i] = h.Name + ": " + h.Value
	}
	slices.Sort(lines)
	return Condition{strings.Join(methods, " "), strings.Join(lines, "\n")}
}

// Count is how many conditions there are: one for the methods, one a header.
func (c Condition) Count() int {
	n := len(c.fields())
	if c.Methods != "" {
		n++
	}
	return n
}

// String tells the condition to people.
func (c Condition) String() string {
	var parts []string
	if c.Methods != "" {
		parts = append(parts, "method "+strings.ReplaceAll(c.Methods, " ", " or "))
	}
	for _, h := range c.fields() {
		parts = append(parts, "header "+h.Name+": "+h.Value)
	}
	return strings.Join(parts, ", ")
}

// Fits reports whether a request with this method and no special header
// fulfils the condition.
func (c Condition) Fits(method string) bool {
	return c.Headers == "" && (c.Methods == "" || slices.Contains(strings.Fields(c.Methods), method))
}

func (c Condition) fields() []Header {
	var list []Header
	for line := range strings.Lines(c.Headers) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		list = append(list, Header{name, value})
	}
	return list
}

// expression is the condition in HAProxy's words.
func (c Condition) expression() string {
	var parts []string
	if c.Methods != "" {
		parts = append(parts, "{ method "+c.Methods+" }")
	}
	for _, h := range c.fields() {
		if h.Value == "*" {
			parts = append(parts, "{ req.fhdr("+h.Name+") -m found }")
			continue
		}
		parts = append(parts, "{ req.fhdr("+h.Name+") -m str -- "+quoted(h.Value)+" }")
	}
	return strings.Join(parts, " ")
}

func (c Condition) fault() string {
	for method := range strings.FieldsSeq(c.Methods) {
		if !methodForm.MatchString(method) {
			return fmt.Sprintf("method %q is none", method)
		}
	}
	for _, h := range c.fields() {
		if !headerForm.MatchString(h.Name) || !valueForm.MatchString(h.Value) || h.Value == "" {
			return fmt.Sprintf("header %q: the name or the value has an impossible character", h.Name)
		}
	}
	return ""
}

// compareConditions puts what is asked first in front: the most conditions, and
// of as many an order that is the same everywhere.
func compareConditions(a, b Condition) int {
	return cmp.Or(b.Count()-a.Count(), cmp.Compare(a.Methods, b.Methods), cmp.Compare(a.Headers, b.Headers))
}

// conditions are the different conditions of a frontend's routes, in the order
// they are asked.
func (f Frontend) conditions() []Condition {
	var list []Condition
	for _, routes := range [][]Route{f.Routes, f.Redirects} {
		for _, r := range routes {
			if r.If != (Condition{}) && !slices.Contains(list, r.If) {
				list = append(list, r.If)
			}
		}
	}
	slices.SortFunc(list, compareConditions)
	return list
}

// conditionalMap is a second map beside the frontend's own: routes with
// conditions, by the number of the condition and then as ever. Only rules with
// that number in front look there, whatever a client calls its host.
func (f Frontend) conditionalMap(conditions []Condition) routeMap {
	m := routeMap{name: "maps/" + f.Name + ".if.map"}
	add := func(r Route, value string) {
		if i := slices.Index(conditions, r.If); i >= 0 {
			m.entries = append(m.entries, entry{strconv.Itoa(i) + "/" + f.key(r), value})
		}
	}
	for _, r := range f.Routes {
		add(r, f.value(r))
	}
	for _, r := range f.Redirects {
		add(r, f.redirectValue(r))
	}
	m.sort()
	return m
}
