package haproxy

import (
	"maps"
	"strings"
)

// Health is what HAProxy says of a server.
type Health string

// HAProxy's verdict on a server.
const (
	Up      Health = "up"
	Down    Health = "down"
	Unknown Health = ""
)

// ServerKey names a server in a backend.
type ServerKey struct{ Backend, Server string }

// Verdicts are the health of every server, by backend. They are never changed:
// later ones share every backend in which nothing did, so that an unchanged
// pointer means unchanged health.
type Verdicts map[string]*BackendHealth

// BackendHealth is the health of the servers of one backend.
type BackendHealth struct{ servers map[string]Health }

// NewVerdicts makes verdicts from single ones.
func NewVerdicts(single map[ServerKey]Health) Verdicts {
	fresh, _ := Verdicts(nil).with(single, nil)
	return fresh
}

// Of is the health of one server, Unknown when HAProxy has none of that name.
func (v Verdicts) Of(backend, server string) Health {
	if b := v[backend]; b != nil {
		return b.servers[server]
	}
	return Unknown
}

// has reports whether there is a verdict on the server, be it Unknown.
func (v Verdicts) has(key ServerKey) bool {
	b := v[key.Backend]
	if b == nil {
		return false
	}
	_, ok := b.servers[key.Server]
	return ok
}

// keys calls f for every server that there is a verdict on.
func (v Verdicts) keys(f func(ServerKey)) {
	for backend, b := range v {
		for server := range b.servers {
			f(ServerKey{backend, server})
		}
	}
}

// with is v with some verdicts replaced and others removed, and whether that
// makes a difference.
func (v Verdicts) with(fresh map[ServerKey]Health, gone []ServerKey) (Verdicts, bool) {
	next := v
	owned := make(map[string]map[string]Health) // copied already
	own := func(backend string) map[string]Health {
		if servers, ok := owned[backend]; ok {
			return servers
		}
		if len(owned) == 0 {
			next = make(Verdicts, len(v)+1)
			maps.Copy(next, v)
		}
		servers := make(map[string]Health)
		if old := v[backend]; old != nil {
			maps.Copy(servers, old.servers)
		}
		backend = strings.Clone(backend)
		owned[backend], next[backend] = servers, &BackendHealth{servers}
		return servers
	}
	for key, health := range fresh {
		if old := v.Of(key.Backend, key.Server); old != health || !v.has(key) {
			own(key.Backend)[strings.Clone(key.Server)] = health // the name may be a piece of a long answer
		}
	}
	for _, key := range gone {
		if next.has(key) {
			delete(own(key.Backend), key.Server)
		}
	}
	for backend, servers := range owned {
		if len(servers) == 0 {
			delete(next, backend)
		}
	}
	return next, len(owned) > 0
}
