package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// readSticky reads services.<name>.backend.sticky: what ties a client to its
// server is a cookie, or its address.
func readSticky(v value, b *Backend) {
	object([]value{v}, keys{
		"cookie": into(&b.StickyCookie, asCookie),
		"source": into(&b.StickySource, asDuration(time.Second, 24*24*time.Hour, time.Millisecond)),
	})
	if v.isMapping() && v.has("cookie") == v.has("source") {
		v.faultf("wanted one of cookie and source").Hint = "write sticky: {cookie: SRV} or sticky: {source: 30m}"
	}
}

// readOutlier reads services.<name>.backend.outlier. What is observed depends
// on the service where it is not said: see readService.
func readOutlier(v value) *Outlier {
	var o Outlier
	object([]value{v}, keys{
		"errors":  into(&o.Errors, asInt(1, 10_000)),
		"observe": into(&o.Observe, word("layer4", "layer7")),
	}, "errors")
	return &o
}

// settleOutlier fills in what is observed, and refuses to look into the
// answers of a service whose answers HAProxy does not read.
func (s *Service) settleOutlier(v value) {
	o := s.Backend.Outlier
	switch {
	case o == nil:
	case o.Observe == "" && s.HTTP != nil:
		o.Observe = "layer7"
	case o.Observe == "":
		o.Observe = "layer4"
	case o.Observe == "layer7" && s.HTTP == nil:
		v.dig("backend", "outlier", "observe").faultf("layer7 needs an http service").Hint = "use layer4"
	}
}

// asProxyVersion reads true, which is v2, false, v1 or v2.
func asProxyVersion(v value) (string, bool) {
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!bool" {
		yes, ok := asBool(v)
		if yes {
			return "v2", ok
		}
		return "", ok
	}
	return word("v1", "v2")(v)
}

// readHAProxy reads the haproxy section.
func readHAProxy(parts []value) HAProxy {
	var h HAProxy
	object(parts, keys{
		"peers_port": into(&h.PeersPort, asPort),
		"global":     into(&h.Global, someOf(asRawLine)),
		"defaults":   into(&h.Defaults, someOf(asRawLine)),
	})
	return h
}

// readSplit reads services.<name>.backend.split and .sets: which sets of
// servers there are, and what each gets.
func readSplit(b *Backend) func(value) {
	return func(v value) {
		sum := 0
		b.Split = named([]value{v}, "set", func(e value) Set {
			s := Set{Name: e.name()}
			into(&s.Percent, asPercent)(e)
			if sum += s.Percent; sum > 100 {
				e.faultf("the sets get %d%% together", sum).Hint = "what the sets do not get goes to the servers without a set"
			}
			return s
		})
		slices.SortFunc(b.Split, func(x, y Set) int { return strings.Compare(x.Name, y.Name) })
	}
}

// readSets reads services.<name>.backend.sets. They are joined with the split
// when both are known: see settleSets.
func readSets(found map[string]*Selector) func(value) {
	return func(v value) {
		named([]value{v}, "set", func(e value) *Selector {
			found[e.name()] = readSelector(e)
			return found[e.name()]
		})
	}
}

// settleSets gives each set of the split its containers, and wants every set
// that is spoken of to have a share.
func (b *Backend) settleSets(v value, described map[string]*Selector) {
	var names []string
	for i := range b.Split {
		b.Split[i].Containers = described[b.Split[i].Name]
		names = append(names, b.Split[i].Name)
	}
	unknown := func(at value, name string) {
		if !slices.Contains(names, name) {
			f := at.faultf("set %s has no share under split (sets: %s)", quote(name), enumerate(names))
			if f.Hint = didYouMean(name, names); f.Hint == "" {
				f.Hint = "write split: {" + name + ": 10%}"
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(described)) {
		unknown(v.dig("sets", name), name)
	}
	list := v.dig("servers").list()
	for i, s := range b.Servers {
		if s.Set != "" && i < len(list) {
			unknown(list[i].dig("set"), s.Set)
		}
	}
}
