package config

import (
	"net/netip"
	"time"

	"gopkg.in/yaml.v3"
)

func defaultBackend() Backend { return Backend{Balance: "roundrobin", Drain: 30 * time.Second} }

// readBackend reads services.<name>.backend over the defaults in b.
func readBackend(v value, b *Backend) {
	sets := make(map[string]*Selector)
	timeout := asDuration(time.Millisecond, 24*time.Hour, time.Millisecond)
	object([]value{v}, keys{
		"containers":     func(c value) { b.Containers = readSelector(c) },
		"servers":        into(&b.Servers, someOf(asServer)),
		"port":           into(&b.Port, asPort),
		"network":        into(&b.Network, asName),
		"balance":        into(&b.Balance, word("roundrobin", "leastconn", "random", "source", "uri")),
		"sticky":         func(s value) { readSticky(s, b) },
		"slow_start":     into(&b.SlowStart, asDuration(time.Second, 24*time.Hour, time.Millisecond)),
		"outlier":        func(o value) { b.Outlier = readOutlier(o) },
		"split":          readSplit(b),
		"sets":           readSets(sets),
		"check":          func(c value) { b.Check = readCheck(c) },
		"drain":          into(&b.Drain, asDuration(0, 24*time.Hour, time.Millisecond)),
		"maxconn":        into(&b.MaxConn, asInt(0, 1_000_000)),
		"retries":        intoNew(&b.Retries, asInt(0, 100)),
		"proxy_protocol": into(&b.ProxyProtocol, asProxyVersion),
		"protocol":       into(&b.H2, oneOf(map[string]bool{"h1": false, "h2": true})),
		"tls":            func(t value) { b.TLS = readBackendTLS(t) },
		"timeouts": within(keys{
			"connect": into(&b.Timeouts.Connect, timeout),
			"server":  into(&b.Timeouts.Server, timeout),
			"queue":   into(&b.Timeouts.Queue, timeout),
			"tunnel":  into(&b.Timeouts.Tunnel, timeout),
			"client":  into(&b.Timeouts.Client, timeout),
		}),
	})
	b.settleSets(v, sets)
	seen := make(map[netip.AddrPort]int)
	for i, s := range b.Servers {
		if first, twice := seen[s.Address]; twice && s.Address.IsValid() {
			list := v.dig("servers").list()
			list[i].faultf("%s is listed twice, first at %s", s.Address, list[first].pos())
		}
		seen[s.Address] = i
	}
}

// readCheck reads services.<name>.backend.check.
func readCheck(v value) *Check {
	c := Check{Interval: time.Second, Rise: 2, Fall: 3}
	object([]value{v}, keys{
		"path":     into(&c.Path, asCheckPath),
		"interval": into(&c.Interval, asDuration(10*time.Millisecond, time.Hour, time.Millisecond)),
		"rise":     into(&c.Rise, asInt(1, 100)),
		"fall":     into(&c.Fall, asInt(1, 100)),
	})
	return &c
}

// readSelector reads services.<name>.backend.containers.
func readSelector(v value) *Selector {
	var s Selector
	object([]value{v}, keys{
		"labels":  into(&s.Labels, asLabels),
		"compose": into(&s.Compose, asComposeService),
		"swarm":   into(&s.Swarm, asName),
		"image":   into(&s.Image, asGlob),
		"name":    into(&s.Name, asGlob),
	})
	if v.isMapping() && (len(v.node.Content) == 0 || len(v.node.Content) == 2 && v.has("labels") && len(v.dig("labels").node.Content) == 0) {
		v.faultf("names no condition and would match every container").
			Hint = "name labels, compose, image or name, or leave containers out to select by the label vipilot.service"
	}
	return &s
}

// asServer reads a static server, as address:port or with more said of it.
func asServer(v value) (StaticServer, bool) {
	read := parsed("address:port", parseServer)
	if v.node.Kind != yaml.MappingNode {
		s, ok := read(v)
		s.Weight = 100
		return s, ok
	}
	before := len(v.l.faults)
	var s StaticServer
	weight, backup, set := 100, false, ""
	object([]value{v}, keys{
		"address": into(&s, read),
		"backup":  into(&backup, asBool),
		"weight":  into(&weight, asInt(1, 256)),
		"set":     into(&set, asName),
	}, "address")
	s.Weight, s.Backup, s.Set = weight, backup, set
	return s, len(v.l.faults) == before
}
