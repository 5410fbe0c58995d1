package status

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Diff says what changed from old to new, as events without ID and time, in
// an order that depends on nothing but its arguments. An old of nil is an
// empty report. From is empty for what is new; To is "removed" for what went.
//
//	board.Emit(status.Diff(board.Report(), r, cause)...)
func Diff(old, new *Report, cause string) []Event {
	if new == nil || old == new {
		return nil
	}
	if old == nil {
		old = &Report{}
	}
	d := diff{cause: cause}
	d.value("node", new.Node, ready(old), ready(new))
	d.value("stage", new.Node, old.Stage, new.Stage)
	d.config(old.Config, new.Config)
	d.components(old.Components, new.Components)
	d.states("node", "", nodeStates(old), nodeStates(new))
	d.states("host", "", hostStates(old), hostStates(new))
	d.states("vip", "", vipRoles(old), vipRoles(new))
	d.prefixes(old.VIPs, new.VIPs)
	for _, name := range changedServices(old.Services, new.Services) {
		d.service(name, old.Services[name], new.Services[name])
	}
	return d.events
}

// diff collects events that share a cause.
type diff struct {
	cause  string
	events []Event
}

func (d *diff) value(kind, subject, from, to string) {
	if from != to {
		d.events = append(d.events, Event{Kind: kind, Subject: subject, From: from, To: to, Cause: d.cause})
	}
}

// states compares two sets of named states.
func (d *diff) states(kind, prefix string, old, new map[string]string) {
	for _, name := range keys(old, new) {
		to, kept := new[name]
		if !kept {
			to = "removed"
		}
		d.value(kind, prefix+name, old[name], to)
	}
}

func (d *diff) config(old, new Config) {
	d.value("config", "revision", old.Revision, new.Revision)
	d.value("config", "pending", text(old.Pending), text(new.Pending))
	d.value("config", "error", text(old.Error), text(new.Error))
}

// checkerState is that of the keepalived for UDP, with what is wrong.
func checkerState(k Keepalived) string {
	if k.Checker == nil {
		return ""
	}
	return strings.Trim(k.Checker.State+": "+text(k.Checker.Error), ": ")
}

func (d *diff) components(old, new Components) {
	d.value("component", "haproxy", old.HAProxy.State, new.HAProxy.State)
	d.value("component", "haproxy pid", number(old.HAProxy.PID), number(new.HAProxy.PID))
	reload := diff{cause: strings.Trim(d.cause+": "+new.HAProxy.ReloadCause, ": ")}
	reload.value("component", "haproxy reloads", number(old.HAProxy.Reloads), number(new.HAProxy.Reloads))
	d.events = append(d.events, reload.events...)
	d.value("component", "haproxy old workers", number(old.HAProxy.OldWorkers), number(new.HAProxy.OldWorkers))
	d.value("component", "keepalived", old.Keepalived.State, new.Keepalived.State)
	d.value("component", "keepalived pid", number(old.Keepalived.PID), number(new.Keepalived.PID))
	d.value("component", "keepalived reloads", number(old.Keepalived.Reloads), number(new.Keepalived.Reloads))
	d.value("component", "udp", checkerState(old.Keepalived), checkerState(new.Keepalived))
	d.value("component", "speaker", old.Speaker.State, new.Speaker.State)
	d.value("component", "speaker pid", number(old.Speaker.PID), number(new.Speaker.PID))
	d.states("component", "", frrStates(old.FRR), frrStates(new.FRR))
	d.states("component", "neighbor ", neighborStates(old.FRR), neighborStates(new.FRR))
	d.states("component", "peer ", peerStates(old.Speaker), peerStates(new.Speaker))
}

func (d *diff) prefixes(old, new map[string]VIP) {
	for _, name := range keys(old, new) {
		was, is := old[name].Announced, new[name].Announced
		all := slices.Sorted(slices.Values(slices.Concat(was, is)))
		for _, prefix := range slices.Compact(all) {
			d.value("prefix", name+" "+prefix, announced(was, prefix), announced(is, prefix))
		}
	}
}

// changedServices names those that are not the same in both, sorted. Nearly
// all are in most rounds, and mostly share their lists: that costs no memory,
// and no look at endpoints.
func changedServices(old, new map[string]Service) []string {
	var names []string
	for name, s := range new {
		if was := old[name]; !equal(was.Endpoints, s.Endpoints) || !equal(was.Rejected, s.Rejected) {
			names = append(names, name)
		}
	}
	for name := range old {
		if _, ok := new[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// equal is slices.Equal, at once where both are one list.
func equal[T comparable](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// service compares two states of one service.
func (d *diff) service(name string, old, new Service) {
	was, is := standings(old), standings(new)
	for _, key := range keys(was, is) {
		from, known := was[key]
		to, kept := is[key]
		if !kept {
			to.state = "removed"
		}
		d.value("endpoint", name+" "+key, from.state, to.state)
		if known && kept && from.address != "" && to.address != "" {
			d.value("endpoint", name+" "+key+" address", from.address, to.address)
		}
	}
}

// standing is how one endpoint or rejected container stands with a service.
type standing struct{ state, address string }

// standings are kept by name, or by name and address where a name has several
// addresses, as a Swarm task published in ingress mode does.
func standings(s Service) map[string]standing {
	m := make(map[string]standing, len(s.Endpoints)+len(s.Rejected))
	for _, r := range s.Rejected {
		m[r.Name] = standing{state: "rejected: " + r.Reason}
	}
	times := make(map[string]int, len(s.Endpoints))
	for _, e := range s.Endpoints {
		times[e.Name]++
	}
	for _, e := range s.Endpoints {
		key := e.Name
		if times[e.Name] > 1 {
			key += " " + e.Address
		}
		m[key] = standing{cmp.Or(e.State, "unknown"), e.Address}
	}
	return m
}

func hostStates(r *Report) map[string]string {
	return project(r.Hosts, func(h Host) string { return h.State })
}

func vipRoles(r *Report) map[string]string {
	return project(r.VIPs, func(v VIP) string { return v.Role })
}

func peerStates(s Speaker) map[string]string {
	return project(s.Peers, func(p Peer) string { return p.State })
}

// project keeps one word of each value.
func project[V any](m map[string]V, word func(V) string) map[string]string {
	words := make(map[string]string, len(m))
	for name, v := range m {
		words[name] = cmp.Or(word(v), "unknown")
	}
	return words
}

// keys are the names in either map, sorted.
func keys[V any](a, b map[string]V) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

func announced(prefixes []string, prefix string) string {
	if slices.Contains(prefixes, prefix) {
		return "announced"
	}
	return "withdrawn"
}

func ready(r *Report) string {
	if r.Ready {
		return "ready"
	}
	return "not ready"
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
