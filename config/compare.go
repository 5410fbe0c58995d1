package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// compare looks for things that cannot be side by side. It walks in the order
// of declaration and reports the later of two, with the place of the first.
// Things that have faults of their own are left out.
func (l *loader) compare() {
	byPlace := func(a, b Pos) int { return a.compare(b) }
	slices.SortStableFunc(l.cfg.VIPs, func(a, b VIP) int { return byPlace(a.Pos, b.Pos) })
	slices.SortStableFunc(l.cfg.Services, func(a, b Service) int { return byPlace(a.Pos, b.Pos) })
	l.compareNodes()
	l.compareHosts()
	l.compareVIPs()
	l.comparePeers()
	l.compareServices()
	l.compareTLS()
	l.compareServers()
	l.compareProxies()
}

// owners remembers who was first to use a thing.
type owners[K comparable] map[K]value

// claim reports at v when what it uses belongs to another already. The last
// verb of the format is for the path of that other.
func (o owners[K]) claim(key K, v value, format string, args ...any) bool {
	first, taken := o[key]
	if !taken {
		o[key] = v
		return true
	}
	v.faultf("%s at %s", fmt.Sprintf(format, append(args, first.path)...), first.place())
	return false
}

func (l *loader) compareNodes() {
	addresses := make(owners[netip.Addr])
	for _, n := range l.cfg.Nodes {
		if n.Address.IsValid() {
			addresses.claim(n.Address, l.declared[kindNode][n.Name].dig("address"), "%s is the same address as %s", n.Address)
		}
	}
}

func (l *loader) compareHosts() {
	engines := make(owners[string])
	for _, h := range l.cfg.Hosts {
		if h.Docker.Scheme != "" {
			engines.claim(h.Docker.String(), l.declared[kindHost][h.Name].dig("docker"), "%s is the same engine as %s", h.Docker)
		}
	}
}

func (l *loader) comparePeers() {
	if l.cfg.Routing.BGP == nil {
		return
	}
	addresses := make(owners[netip.Addr])
	for _, p := range l.cfg.Routing.BGP.Peers {
		if p.Address.IsValid() {
			addresses.claim(p.Address, l.declared[kindPeer][p.Name].dig("address"), "%s is the same address as %s", p.Address)
		}
	}
}

func (l *loader) compareVIPs() {
	addresses, ids := make(owners[netip.Addr]), make(owners[uint8])
	for _, vip := range l.cfg.VIPs {
		at := l.declared[kindVIP][vip.Name]
		places := at.dig("addresses").list()
		for i, addr := range vip.Addresses {
			addresses.claim(addr, places[i], "%s is the same address as %s", addr)
			l.compareWithNodes(vip, addr, places[i])
		}
		if vip.HA == VRRP && !l.broken[declaration{kindVIP, vip.Name}] {
			l.compareVRID(ids, vip, at)
		}
	}
}

// compareVRID wants a virtual router ID of its own for every VIP.
func (l *loader) compareVRID(ids owners[uint8], vip VIP, at value) {
	other, taken := ids[vip.VRRP.ID]
	if !taken {
		ids[vip.VRRP.ID] = at
		return
	}
	at.dig("vrrp", "id").faultf("VIP %q has VRID %d, and so has VIP %q at %s", vip.Name, vip.VRRP.ID, other.name(), other.keyPos()).
		Hint = "set vrrp.id to a number from 1 to 255 that no other VIP has"
}

// compareWithNodes keeps VRRP and anycast off the address a node has anyhow;
// a static VIP may well be one.
func (l *loader) compareWithNodes(vip VIP, addr netip.Addr, at value) {
	for _, n := range l.cfg.Nodes {
		if n.Address == addr && vip.HA != Static {
			at.faultf("%s is the address of node %q itself", addr, n.Name).Hint = "choose another, or ha: static"
		}
	}
}

// compareServers remarks on a static address that two services send to.
func (l *loader) compareServers() {
	first := make(map[netip.AddrPort]string)
	for _, s := range l.cfg.Services {
		places := l.declared[kindService][s.Name].dig("backend", "servers").list()
		for i, server := range s.Backend.Servers {
			other, taken := first[server.Address]
			if taken && server.Address.IsValid() {
				places[i].warnf("%s serves %q as well", server.Address, other)
				continue
			}
			first[server.Address] = s.Name
		}
	}
}
