package status

import (
	"encoding/json"
	"maps"
)

// MarshalJSON renders the report with {} for a map nobody filled and [] for
// such a slice, so a reader never meets null where the contract shows a set.
func (r Report) MarshalJSON() ([]byte, error) {
	type plain Report // without this method
	p := plain(r)
	p.Components.Speaker.Peers = orEmpty(p.Components.Speaker.Peers)
	p.Hosts = orEmpty(p.Hosts)
	p.VIPs = filled(p.VIPs, func(v VIP) VIP {
		v.Addresses, v.Announced = orNone(v.Addresses), orNone(v.Announced)
		return v
	})
	p.Services = filled(p.Services, func(s Service) Service {
		s.Endpoints, s.Rejected = orNone(s.Endpoints), orNone(s.Rejected)
		return s
	})
	return json.Marshal(p)
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func orNone[V any](s []V) []V {
	if s == nil {
		return []V{}
	}
	return s
}

// filled copies m: a published report is never written to.
func filled[V any](m map[string]V, fill func(V) V) map[string]V {
	m = orEmpty(maps.Clone(m))
	for k, v := range m {
		m[k] = fill(v)
	}
	return m
}
