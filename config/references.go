package config

import (
	"maps"
	"slices"
)

// The kinds of things that have names, as messages call them.
const (
	kindNode    = "node"
	kindHost    = "host"
	kindNetwork = "network"
	kindVIP     = "VIP"
	kindService = "service"
	kindPeer    = "peer"
	kindIssuer  = "acme issuer"
)

// reference is a name that must be declared somewhere, in whatever order.
type reference struct {
	kind string
	at   value
}

// asRef reads the name of a declared thing. That it is declared is checked
// when everything has been read.
func asRef(kind string) reader[string] {
	return func(v value) (string, bool) {
		name, ok := v.text("the name of a " + kind)
		if ok {
			v.l.refs = append(v.l.refs, reference{kind, v})
		}
		return name, ok
	}
}

func (l *loader) declare(kind string, v value) {
	if l.declared[kind] == nil {
		l.declared[kind] = make(map[string]value)
	}
	l.declared[kind][v.name()] = v
}

func (l *loader) resolveReferences() {
	for _, ref := range l.refs {
		name := ref.at.node.Value
		if _, ok := l.declared[ref.kind][name]; ok {
			continue
		}
		declared := slices.Collect(maps.Keys(l.declared[ref.kind]))
		f := ref.at.faultf("%s is not a declared %s (declared: %s)", quote(name), ref.kind, enumerate(declared))
		f.Hint = didYouMean(name, slices.Sorted(slices.Values(declared)))
	}
}
