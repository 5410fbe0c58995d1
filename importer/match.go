package importer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// match is which requests a rule takes: each list is one of these, and all
// that are given must hold. The zero value takes everything.
type match struct {
	hosts, paths, methods []string
	headers               map[string]string // "*" = any value
	sources, denied       []string          // networks; not a route in vipilot, but who may come
	except                []match           // and none of these, which a route cannot say
	notes                 []string          // what else it took where it comes from
	never                 bool              // contradicts itself
}

// maxTerms bounds what a rule may unfold to.
const maxTerms = 64

// both is the conjunction of two.
func both(a, b match) match {
	m := match{never: a.never || b.never}
	m.hosts, m.never = shared(a.hosts, b.hosts, m.never)
	m.methods, m.never = shared(a.methods, b.methods, m.never)
	m.sources, m.never = shared(a.sources, b.sources, m.never)
	m.paths, m.never = narrower(below(a.paths), below(b.paths), m.never)
	m.denied, m.except, m.notes = append(slices.Clone(a.denied), b.denied...), append(slices.Clone(a.except), b.except...), append(slices.Clone(a.notes), b.notes...)
	m.headers = maps.Clone(a.headers)
	for name, value := range b.headers {
		if m.headers == nil {
			m.headers = make(map[string]string)
		}
		if had, ok := m.headers[name]; ok && had != value && had != "*" && value != "*" {
			m.never = true
		}
		if value != "*" || m.headers[name] == "" {
			m.headers[name] = value
		}
	}
	return m
}

// shared are the elements of both lists, where an empty list is everything.
func shared(a, b []string, never bool) ([]string, bool) {
	if len(a) == 0 || len(b) == 0 {
		return append(slices.Clone(a), b...), never
	}
	var out []string
	for _, x := range a {
		if slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out, never || len(out) == 0
}

// below leaves out prefixes that include everything: then there is no condition.
func below(paths []string) []string {
	if slices.Contains(paths, "/") {
		return nil
	}
	return paths
}

// narrower is shared for prefixes: of two the longer, where it begins with the other.
func narrower(a, b []string, never bool) ([]string, bool) {
	if len(a) == 0 || len(b) == 0 {
		return append(slices.Clone(a), b...), never
	}
	var out []string
	for _, x := range a {
		for _, y := range b {
			if strings.HasPrefix(x, y) {
				out = append(out, x)
			} else if strings.HasPrefix(y, x) {
				out = append(out, y)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), never || len(out) == 0
}

// all is the conjunction of two disjunctions.
func all(a, b []match) ([]match, error) {
	if len(a)*len(b) > maxTerms {
		return nil, fmt.Errorf("unfolds to more than %d cases", maxTerms)
	}
	var out []match
	for _, x := range a {
		for _, y := range b {
			if m := both(x, y); !m.never {
				out = append(out, m)
			}
		}
	}
	return out, nil
}

// joined folds cases that differ in one list only into one.
func joined(cases []match) []match {
	lists := []func(*match) *[]string{
		func(m *match) *[]string { return &m.hosts },
		func(m *match) *[]string { return &m.paths },
		func(m *match) *[]string { return &m.methods },
	}
	for _, list := range lists {
		var out []match
		for _, m := range cases {
			own := *list(&m)
			i := slices.IndexFunc(out, func(o match) bool {
				had := *list(&o)
				if (len(had) == 0) != (len(own) == 0) {
					return false // one of them takes everything
				}
				*list(&o) = own
				return o.key() == m.key()
			})
			if i < 0 {
				out = append(out, m)
				continue
			}
			merged := append(slices.Clone(*list(&out[i])), own...)
			slices.Sort(merged)
			*list(&out[i]) = slices.Compact(merged)
			out[i].notes = append(out[i].notes, m.notes...)
		}
		cases = out
	}
	return cases
}

// unframed is m without conditions on how a message is framed, which are
// HAProxy's own to say, and whether there were any.
func (m match) unframed() (match, bool) {
	rest := maps.Clone(m.headers)
	maps.DeleteFunc(rest, func(name, _ string) bool { return name == "Upgrade" || name == "Connection" })
	framed := len(rest) < len(m.headers)
	m.headers = rest
	return m, framed
}

// onlySources says whether m looks at the client's address and nothing else.
func (m match) onlySources() bool {
	return len(m.sources) > 0 && len(m.hosts)+len(m.paths)+len(m.methods)+len(m.headers)+len(m.denied)+len(m.except) == 0
}

// precedes says whether o, in vipilot, takes the requests of m that e takes as
// well: the longest path wins.
func (o match) precedes(m, e match) bool {
	if len(o.paths) == 0 || len(e.paths) == 0 || len(o.methods)+len(o.headers)+len(o.sources)+len(o.denied)+len(o.except) > 0 {
		return false
	}
	if (match{hosts: m.hosts}).key() != (match{hosts: o.hosts}).key() {
		return false
	}
	return !slices.ContainsFunc(e.paths, func(path string) bool {
		return !slices.ContainsFunc(o.paths, func(p string) bool {
			return strings.HasPrefix(path, p) && !slices.ContainsFunc(m.paths, func(own string) bool { return len(own) >= len(p) })
		})
	})
}

// key is equal for equal ones.
func (m match) key() string {
	sorted := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	var headers []string
	for _, name := range slices.Sorted(maps.Keys(m.headers)) {
		headers = append(headers, name+"="+m.headers[name])
	}
	var except []string
	for _, e := range m.except {
		except = append(except, e.key())
	}
	return fmt.Sprintf("%q %q %q %q %q %q %q", sorted(m.hosts), sorted(m.paths), sorted(m.methods), headers, sorted(m.sources), sorted(m.denied), except)
}

// network reads an address or a network as vipilot writes it.
func network(text string) (string, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked().String(), nil
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return "", fmt.Errorf("%q is not a network", printable(text))
	}
	return netip.PrefixFrom(a, a.BitLen()).String(), nil
}
