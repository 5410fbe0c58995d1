package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// value is one YAML node and where it stands. Whoever reads a value reports
// its mistakes and carries on, so that one pass finds all of them.
type value struct {
	l     *loader
	file  string
	node  *yaml.Node // never an alias
	key   *yaml.Node // the key it stands under; nil for list items
	path  string     // services.todo.vip, for people
	shape string     // services.*.vip, for tables
}

// reader turns a value into a T; false means that it has reported why it cannot.
type reader[T any] func(value) (T, bool)

// keys is the schema of a mapping: what becomes of the value of each key.
type keys map[string]func(value)

// into stores what read finds in dst, which keeps its default otherwise.
func into[T any](dst *T, read reader[T]) func(value) {
	return func(v value) {
		v.fallsBack(*dst)
		if x, ok := read(v); ok {
			*dst = x
		}
	}
}

// intoNew is into for a pointer that says by nil that the key is absent.
func intoNew[T any](dst **T, read reader[T]) func(value) {
	return func(v value) {
		if x, ok := read(v); ok {
			*dst = &x
		}
	}
}

// within reads a mapping that only groups other keys.
func within(schema keys, required ...string) func(value) {
	return func(v value) { object([]value{v}, schema, required...) }
}

// object reads the entries of one mapping, given in one or more parts,
// and reports unknown, doubled and missing keys.
func object(parts []value, schema keys, required ...string) {
	if parts != nil && parts[0].outlines(form{kind: kMapping, keys: slices.Sorted(maps.Keys(schema)), required: required}) {
		parts[0].probe(schema)
		return
	}
	given := entries(parts)
	for _, e := range given {
		read, ok := schema[e.key.Value]
		if !ok {
			e.unknownKey(slices.Sorted(maps.Keys(schema)))
			continue
		}
		read(e)
	}
	for _, key := range required {
		if !slices.ContainsFunc(given, func(e value) bool { return e.key.Value == key }) && parts[0].isMapping() {
			parts[0].faultf("missing key %q", key)
		}
	}
}

// named reads a section of named things. It checks the names and remembers
// where each thing of this kind is declared, for references to it.
func named[T any](parts []value, kind string, read func(value) T) []T {
	var out []T
	if parts != nil && parts[0].outlines(form{kind: kNames}) {
		for _, p := range parts[0].probes("name") {
			p.shape = parts[0].shape + ".*"
			out = append(out, read(p))
		}
		return nil
	}
	for _, e := range entries(parts) {
		if why := checkName(e.key.Value); why != nil {
			e.l.faultAt(e.keyPos(), e.path, "%s %w", quote(e.key.Value), why).Hint = why.hint
		}
		e.shape = parts[0].shape + ".*"
		e.l.declare(kind, e)
		before := len(e.l.faults)
		out = append(out, read(e))
		if slices.ContainsFunc(e.l.faults[before:], e.isCompared) {
			e.l.broken[declaration{kind, e.key.Value}] = true
		}
	}
	return out
}

// isCompared reports whether a fault is in what things are compared by. Who
// serves, and how, is not: a slip there hides no clash of two rules.
func (v value) isCompared(f *Fault) bool {
	return !strings.HasPrefix(f.Path, v.path+".backend.") && !strings.HasPrefix(f.Path, v.path+".raw")
}

// setOf reads a list whose items must differ.
func setOf[T comparable](read reader[T]) reader[[]T] {
	return func(v value) ([]T, bool) {
		if v.outlines(form{kind: kList}) {
			for _, item := range v.list() {
				read(item)
			}
			return nil, false
		}
		items, ok := v.items()
		out := make([]T, 0, len(items))
		first := make(map[T]value, len(items))
		for _, item := range items {
			x, good := read(item)
			if other, twice := first[x]; good && twice {
				item.faultf("%s is listed twice, first at %s", quote(fmt.Sprint(x)), other.pos())
				good = false
			}
			first[x] = item
			out, ok = append(out, x), ok && good
		}
		return out, ok
	}
}

// someOf is setOf for a list that says nothing when it is empty.
func someOf[T comparable](read reader[T]) reader[[]T] {
	list := setOf(read)
	return func(v value) ([]T, bool) {
		out, ok := list(v)
		if v.outlines(form{kind: kList, least: 1}) {
			return nil, false
		}
		if ok && len(out) == 0 {
			v.faultf("the list is empty").Hint = "name at least one, or leave the key out"
			return nil, false
		}
		return out, ok
	}
}

// entries gives the values of a mapping's keys in their order. A key given twice,
// in the same part or another, is reported with both places.
func entries(parts []value) []value {
	var out []value
	seen := make(map[string]value)
	for _, part := range parts {
		if !part.wantMapping() {
			continue
		}
		for i := 0; i+1 < len(part.node.Content) && part.l.spend(1); i += 2 {
			e, ok := part.entry(part.node.Content[i], part.node.Content[i+1])
			if !ok {
				continue
			}
			if other, twice := seen[e.key.Value]; twice {
				e.l.faultAt(e.keyPos(), e.path, "%s is declared twice, first at %s", quote(e.key.Value), other.keyPos())
				continue
			}
			seen[e.key.Value] = e
			out = append(out, e)
		}
	}
	return out
}

// entry gives the value of one key of a mapping.
func (v value) entry(key, node *yaml.Node) (value, bool) {
	key = resolve(key)
	if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
		bad := value{l: v.l, file: v.file, node: key, path: v.path}
		bad.faultf("wanted a key, found %s", bad.found())
		return value{}, false
	}
	e := value{l: v.l, file: v.file, node: resolve(node), key: key, path: key.Value, shape: key.Value}
	if v.path != "" {
		e.path, e.shape = v.path+"."+key.Value, v.shape+"."+key.Value
	}
	return e, true
}

// items gives the values of a list.
func (v value) items() ([]value, bool) {
	if v.node.Kind != yaml.SequenceNode {
		f := v.faultf("wanted a list, found %s", v.found())
		if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() != "!!null" {
			f.Hint = fmt.Sprintf("write [%s]", v.node.Value)
		}
		return nil, false
	}
	if !v.l.spend(len(v.node.Content)) {
		return nil, false
	}
	return v.list(), true
}

// list gives the values of a list, of anything else none; it reports nothing.
func (v value) list() []value {
	if v.node.Kind != yaml.SequenceNode {
		return nil
	}
	out := make([]value, len(v.node.Content))
	for i, node := range v.node.Content {
		out[i] = value{
			l: v.l, file: v.file, node: resolve(node),
			path: fmt.Sprintf("%s[%d]", v.path, i), shape: v.shape + "[]",
		}
	}
	return out
}

// dig follows keys down as far as they are given; it reports nothing.
func (v value) dig(path ...string) value {
	for _, key := range path {
		found, ok := v.get(key)
		if !ok {
			break
		}
		v = found
	}
	return v
}

// get gives the value of a key of a mapping; it reports nothing.
func (v value) get(key string) (value, bool) {
	if v.node.Kind != yaml.MappingNode {
		return value{}, false
	}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		if k := resolve(v.node.Content[i]); k.Kind == yaml.ScalarNode && k.Value == key {
			return v.entry(k, v.node.Content[i+1])
		}
	}
	return value{}, false
}

// has says whether a mapping gives the key.
func (v value) has(key string) bool {
	_, ok := v.get(key)
	return ok
}

// isMapping is true of nothing as well: a key without a value is an empty mapping.
func (v value) isMapping() bool {
	return v.node.Kind == yaml.MappingNode || v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null"
}

func (v value) wantMapping() bool {
	if !v.isMapping() {
		v.faultf("wanted a mapping, found %s", v.found())
	}
	return v.isMapping()
}

func (v value) name() string { return v.key.Value }

// pos is the place of the value, keyPos that of the key it stands under.
func (v value) pos() Pos { return Pos{v.file, max(v.node.Line, 1), max(v.node.Column, 1)} }

func (v value) keyPos() Pos {
	if v.key == nil {
		return v.pos()
	}
	return Pos{v.file, max(v.key.Line, 1), max(v.key.Column, 1)}
}

// faultf reports a mistake: of a scalar at its place, of anything larger at
// its key. The caller may add a hint to what is returned.
func (v value) faultf(format string, args ...any) *Fault {
	return v.l.faultAt(v.place(), v.path, format, args...)
}

// warnf reports something that does not keep the configuration from being used.
func (v value) warnf(format string, args ...any) *Fault {
	return v.l.warnAt(v.place(), v.path, format, args...)
}

func (v value) place() Pos {
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() != "!!null" {
		return v.pos()
	}
	return v.keyPos()
}

func (v value) unknownKey(allowed []string) {
	f := v.l.faultAt(v.keyPos(), v.path, "unknown key %s", quote(v.key.Value))
	if f.Hint = didYouMean(v.key.Value, allowed); f.Hint == "" {
		f.Hint = "known here: " + enumerate(allowed)
	}
}

// found says what the value is, for a message.
func (v value) found() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch v.node.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!str", "!!timestamp":
		return quote(v.node.Value)
	case "!!int", "!!float":
		return "the number " + v.node.Value
	case "!!bool":
		return v.node.Value
	case "!!merge":
		return "<<"
	}
	return "a value tagged " + quote(v.node.Tag)
}

// resolve follows an alias to what it stands for.
func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}
