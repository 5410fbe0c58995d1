package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

// notices are what clients of one node will notice, in the order of weight.
func (d differ) notices(node string, was, is *Desired) []string {
	notices := []string{}
	notices = append(notices, d.moves(node)...)
	notices = append(notices, d.vanishing(node)...)
	notices = append(notices, rerouted(was.HAProxy, is.HAProxy)...)
	notices = append(notices, d.deserted(was, is)...)
	notices = append(notices, d.leavers(was, is)...)
	for _, name := range change("", peerSet(was), peerSet(is)).Changed {
		notices = append(notices, "the session with "+name+" is set up anew: what it hears from this node is gone for a moment")
	}
	if kind, _ := haproxy.Compare(was.HAProxy, is.HAProxy); kind == haproxy.Reload && len(was.HAProxy.Frontends) > 0 {
		notices = append(notices, "HAProxy reloads: no connection is lost, long ones stay with the old worker")
	}
	return notices
}

// moves are the VIPs that the election takes to or from the node.
func (d differ) moves(node string) []string {
	var moves []string
	for _, vip := range d.after.cfg.VIPs {
		old, ok := d.before.cfg.VIP(vip.Name)
		if !ok || vip.HA != config.VRRP || old.HA != config.VRRP {
			continue
		}
		from, to := d.before.holders(old), d.after.holders(vip)
		if !slices.Equal(from, to) && (slices.Contains(from, node) || slices.Contains(to, node)) {
			moves = append(moves, fmt.Sprintf("VIP %s moves from %s to %s: connections through it end", vip.Name, orNobody(from), orNobody(to)))
		}
	}
	return moves
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// vanishing are the addresses that this node does not carry any more, while
// no other does.
func (d differ) vanishing(node string) []string {
	still := make(map[string]bool)
	for _, vip := range d.after.cfg.VIPs {
		for _, a := range vip.Addresses {
			still[a.String()] = true
		}
	}
	var gone []string
	for _, vip := range d.before.cfg.VIPs {
		if !slices.Contains(vip.Nodes, node) {
			continue
		}
		for _, a := range vip.Addresses {
			if !still[a.String()] {
				gone = append(gone, a.String()+" stops answering")
			}
		}
	}
	return gone
}

// rerouted are the requests that another service answers, or none.
func rerouted(was, is haproxy.Config) []string {
	before, after := answers(was), answers(is)
	var changes []string
	for _, request := range either(before, after) {
		switch old, fresh := before[request], after[request]; {
		case old == "" || old == fresh:
		case fresh == "":
			changes = append(changes, request+" is not answered any more by "+old)
		default:
			changes = append(changes, request+" is answered by "+fresh+" instead of "+old)
		}
	}
	return changes
}

// answers has the service for each kind of request.
func answers(c haproxy.Config) map[string]string {
	all := make(map[string]string)
	for _, f := range c.Frontends {
		if f.Default != "" {
			all[f.Name] = f.Default
		}
		for _, r := range f.Passthrough {
			all["TLS for "+r.Host+" ("+f.Name+")"] = r.Backend
		}
		for _, r := range f.Routes {
			host := r.Host
			if host == "" {
				host = "any host"
			}
			all[host+r.Path+" ("+f.Name+")"] = r.Backend
		}
	}
	return all
}

// deserted are the services that lose their last endpoint.
func (d differ) deserted(was, is *Desired) []string {
	var left []string
	for _, name := range either(was.Pools, is.Pools) {
		old, fresh := was.Pools[name], is.Pools[name]
		if old != nil && fresh != nil && len(old.Members) > 0 && len(fresh.Members) == 0 {
			left = append(left, "service "+name+" has no endpoint left: its clients get an error")
		}
	}
	return left
}

// leavers are the endpoints that leave services which stay.
func (d differ) leavers(was, is *Desired) []string {
	var left []string
	for _, name := range either(was.Pools, is.Pools) {
		old, fresh := was.Pools[name], is.Pools[name]
		if old == nil || fresh == nil {
			continue
		}
		gone := change("", endpoints(old), endpoints(fresh)).Removed
		if len(gone) == 0 {
			continue
		}
		patience := "as long as they take"
		if service, ok := d.after.cfg.Service(name); ok && service.Backend.Drain > 0 {
			patience = "for " + service.Backend.Drain.String() + " at most"
		}
		left = append(left, fmt.Sprintf("%s get no new sessions of %s and finish theirs, %s", some(gone), name, patience))
	}
	return left
}
