package haproxy

import (
	"fmt"
	"net/netip"

	"github.com/haproxytech/client-native/v6/config-parser/params"
)

// serverRequests are the commands that turn the servers have of a backend into
// b's: new ones first, so that there is never a gap, and the servers that left.
// leaving tells which absent servers still exist in maint, waiting for their
// deletion, and need only be readied.
func serverRequests(b *Backend, have []Server, leaving func(string) bool, paths Paths) (requests []request, gone []string) {
	var late []request
	set := func(list *[]request, server, what string) {
		*list = append(*list, request{text: "set server " + b.Name + "/" + server + " " + what, owner: b.Name})
	}
	for o, n := range pairs(have, b.Servers, serverName) {
		switch {
		case n == nil:
			gone = append(gone, o.Name)
			if o.State != Maint {
				set(&late, o.Name, "state maint")
			}
			continue
		case o == nil && !leaving(n.Name):
			requests = append(requests, addRequests(b, *n, paths)...)
			set(&requests, n.Name, "state "+string(n.State))
			continue
		case o == nil: // whatever weight it left with
			o = &Server{State: Maint, Weight: -1}
		}
		if o.Weight != n.Weight {
			set(&requests, n.Name, fmt.Sprintf("weight %d", n.Weight))
		}
		switch {
		case o.State != n.State && n.State == Ready:
			set(&requests, n.Name, "state ready")
		case o.State != n.State:
			set(&late, n.Name, "state "+string(n.State))
		}
	}
	return append(requests, late...), gone
}

// addRequests creates a server, which stays in maint. Before 3.0 HAProxy gives
// a server added at run time no dynamic cookie; a change of address does, so
// such a server is born on another port.
func addRequests(b *Backend, s Server, paths Paths) []request {
	name, target := b.Name+"/"+s.Name, s.Address
	if b.StickyCookie != "" && !b.StickyName {
		port := uint16(1)
		if s.Address.Port() == port {
			port = 2
		}
		target = netip.AddrPortFrom(s.Address.Addr(), port)
	}
	born := targetOf(target)
	if target == s.Address {
		born = paths.address(b, s)
	}
	list := []request{{
		text:  "add server " + name + " " + born + " " + params.ServerOptionsString(serverOptions(b, s)),
		want:  "New server registered",
		owner: b.Name,
	}}
	if target != s.Address {
		list = append(list, request{
			text:  fmt.Sprintf("set server %s addr %s port %d", name, s.Address.Addr(), s.Address.Port()),
			want:  "port changed",
			owner: b.Name,
		})
	}
	if b.Place == BehindIt { // the gate has the check
		return list
	}
	return append(list, request{text: "enable health " + name, owner: b.Name})
}

// mapRequests are the commands that turn a map's entries have into
// its own: what is to be found first, then what is not.
func mapRequests(m routeMap, have []entry) []request {
	var requests, late []request
	name := m.name
	for o, n := range pairs(have, m.entries, entryKey) {
		switch {
		case n == nil:
			late = append(late, request{text: "del map " + name + " " + o.key, owner: name})
		case o == nil:
			requests = append(requests, request{text: "add map " + name + " " + n.key + " " + n.value, owner: name})
		case o.value != n.value:
			requests = append(requests, request{text: "set map " + name + " " + n.key + " " + n.value, owner: name})
		}
	}
	return append(requests, late...)
}
