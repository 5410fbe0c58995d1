package config

import (
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
