package status

import (
	"maps"
	"strings"
)

// search is r with only what a query asks for: services that all its words
// match, by name, VIP, or by one of their endpoints' names, addresses, states
// and reasons, and what these stand on. Nodes and routers stay: they are few.
func search(r *Report, query string) *Report {
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return r
	}
	found := *r
	found.Services = make(map[string]Service)
	hosts, vips := make(map[string]bool), make(map[string]bool)
	for name, s := range r.Services {
		part, ok := searchService(name, s, words)
		if !ok {
			continue
		}
		found.Services[name] = part
		vips[s.VIP] = true
		for _, e := range part.Endpoints {
			hosts[hostOf(r, e.Name)] = true
		}
		for _, one := range part.Rejected {
			hosts[hostOf(r, one.Name)] = true
		}
	}
	found.Hosts, found.VIPs = maps.Clone(r.Hosts), maps.Clone(r.VIPs)
	maps.DeleteFunc(found.Hosts, func(name string, h Host) bool { return !hosts[name] && !matches(words, name, h.State) })
	maps.DeleteFunc(found.VIPs, func(name string, v VIP) bool {
		return !vips[name] && !matches(words, name, v.Role, strings.Join(v.Addresses, " "))
	})
	return &found
}

// searchService keeps all of a service that is named itself, otherwise the
// endpoints that are.
func searchService(name string, s Service, words []string) (Service, bool) {
	if matches(words, name, s.VIP) {
		return s, true
	}
	part := Service{VIP: s.VIP}
	for _, e := range s.Endpoints {
		if matches(words, name, s.VIP, e.Name, e.Address, e.State, e.Reason) {
			part.Endpoints = append(part.Endpoints, e)
		}
	}
	for _, one := range s.Rejected {
		if matches(words, name, s.VIP, one.Name, "rejected", one.Reason, one.Detail) {
			part.Rejected = append(part.Rejected, one)
		}
	}
	return part, len(part.Endpoints)+len(part.Rejected) > 0
}

// matches reports whether every word is in one of the texts.
func matches(words []string, texts ...string) bool {
	all := strings.ToLower(strings.Join(texts, "\n"))
	for _, w := range words {
		if !strings.Contains(all, w) {
			return false
		}
	}
	return true
}

// matching are the events that a query asks for.
func matching(events []Event, query string) []Event {
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return events
	}
	var kept []Event
	for _, e := range events {
		if matches(words, e.Kind, e.Subject, e.From, e.To, e.Cause) {
			kept = append(kept, e)
		}
	}
	return kept
}
