package config

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"gopkg.in/yaml.v3"
)

// outline is all that the decoder takes: every key by its shape, such as
// services.*.http.port, with its forms and its default. It is found by running
// the decoder itself over probes, so that JSON Schema and reference cannot say
// anything else than the decoder does. A reader made of the combinators of
// decode.go and scalars.go takes part by itself; one that looks at nodes on its
// own says what it takes with [value.outlines].
type outline map[string]*outlined

// outlined is one key, list item or named thing of the outline.
type outlined struct {
	forms    []form
	fallback any // what a configuration without the key has; nil = nothing worth a word
}

// form is one way to write a value.
type form struct {
	kind        kind
	wanted      string   // text, scalars: what it should be
	words       []string // word: which there are
	values      []any    // word: what they stand for
	least, most int64    // whole: the range, both included; list: least items
	from, to    time.Duration
	keys        []string // mapping: what it may hold
	required    []string // mapping: what it must hold
}

type kind string

const (
	kText     kind = "text"
	kWord     kind = "word"
	kBool     kind = "true or false"
	kWhole    kind = "whole number"
	kDuration kind = "duration"
	kPercent  kind = "percentage"
	kList     kind = "list"
	kMapping  kind = "mapping"
	kNames    kind = "mapping of names"
	kScalars  kind = "mapping to plain values"
)

// describeKeys runs the decoder over probes of every section.
func describeKeys() outline {
	l := &loader{
		files: Tree{}, read: Tree{}, left: math.MaxInt, outline: make(outline),
		declared: make(map[string]map[string]value), broken: make(map[declaration]bool),
	}
	root := value{l: l, file: "outline.yaml", node: &yaml.Node{Kind: yaml.MappingNode}}
	root.outlines(form{kind: kMapping, keys: sections})
	top := make(map[string][]value)
	for _, name := range sections {
		top[name] = root.probes(name)
	}
	l.decode(top, Pos{"outline.yaml", 1, 1})
	return l.outline
}

// outlines notes a form that v may have and says true, while the decoder is
// being outlined; its caller then has nothing more to do with v.
func (v value) outlines(f form) bool {
	if v.l.outline == nil {
		return false
	}
	at := v.l.outline.at(v.shape)
	same := slices.IndexFunc(at.forms, func(g form) bool {
		return g.kind == f.kind && g.wanted == f.wanted && slices.Equal(g.words, f.words)
	})
	if same < 0 {
		at.forms = append(at.forms, f)
		return true
	}
	known := &at.forms[same]
	known.least = max(known.least, f.least)
	known.keys = bothOf(known.keys, f.keys)
	known.required = bothOf(known.required, f.required)
	return true
}

func (o outline) at(shape string) *outlined {
	if o[shape] == nil {
		o[shape] = new(outlined)
	}
	return o[shape]
}

// probes are values of every kind under a key, for readers that look at the kind.
func (v value) probes(key string) []value {
	scalar := func(tag, text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text} }
	mapping := &yaml.Node{Kind: yaml.MappingNode}
	nodes := []*yaml.Node{
		mapping, scalar("!!str", ""), scalar("!!int", "1"), scalar("!!bool", "true"),
		{Kind: yaml.SequenceNode, Content: []*yaml.Node{mapping, scalar("!!str", "")}},
	}
	out := make([]value, len(nodes))
	for i, node := range nodes {
		out[i], _ = v.entry(scalar("!!str", key), node)
	}
	return out
}

// probe reads every key of a mapping, whatever it holds.
func (v value) probe(schema keys) {
	for _, key := range slices.Sorted(maps.Keys(schema)) {
		for _, p := range v.probes(key) {
			schema[key](p)
		}
	}
}

// fallsBack notes the default of v, while the decoder is being outlined.
func (v value) fallsBack(to any) {
	if v.l.outline == nil {
		return
	}
	at := v.l.outline.at(v.shape)
	if x := reflect.ValueOf(to); at.fallback == nil && x.IsValid() {
		at.fallback = to
	}
}

// usual gives the default as it is written: nil when there is none.
func (o *outlined) usual() any {
	for _, f := range o.forms {
		for i, x := range f.values {
			if reflect.DeepEqual(x, o.fallback) {
				return f.words[i]
			}
		}
	}
	x := reflect.ValueOf(o.fallback)
	if b, ok := o.fallback.(bool); ok && slices.ContainsFunc(o.forms, func(f form) bool { return f.kind == kBool }) {
		return b
	}
	if !x.IsValid() || x.IsZero() || slices.ContainsFunc(o.forms, func(f form) bool { return f.kind == kWord }) {
		return nil
	}
	switch fallback := o.fallback.(type) {
	case time.Duration:
		return brief(fallback)
	case netip.Addr, fmt.Stringer:
		return fmt.Sprint(fallback)
	case []string:
		return fallback
	}
	switch {
	case x.CanInt():
		if o.forms[0].kind == kPercent {
			return fmt.Sprintf("%d%%", x.Int())
		}
		return x.Int()
	case x.CanUint():
		return x.Uint()
	case x.Kind() == reflect.String:
		return x.String()
	}
	return nil
}

func bothOf(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
