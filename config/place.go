package config

import (
	"net/netip"
	"slices"
)

// place fills in where VIPs live and checks that their nodes can carry them
// and that their announcements have somebody to speak to.
func (l *loader) place() {
	for i := range l.cfg.VIPs {
		vip := &l.cfg.VIPs[i]
		at := l.declared[kindVIP][vip.Name]
		if !at.has("nodes") {
			for _, n := range l.cfg.Nodes {
				vip.Nodes = append(vip.Nodes, n.Name)
			}
			if len(vip.Nodes) == 0 {
				at.faultf("no node can carry it: no nodes are declared")
			}
		}
		if vip.HA == VRRP {
			l.checkUnicastFamily(vip, at)
		}
		l.checkSpeakers(vip, at)
	}
	l.checkInterfaces()
	l.checkRouterIDs()
	l.checkCanaries()
}

// checkSpeakers wants a routing section for every protocol a VIP is announced by.
func (l *loader) checkSpeakers(vip *VIP, at value) {
	if vip.Announce == nil {
		return
	}
	protocols := at.dig("announce", "protocols")
	if vip.Announce.BGP && l.cfg.Routing.BGP == nil {
		protocols.faultf("bgp is announced to nobody: there is no routing.bgp").Hint = "declare routing.bgp with its peers"
	}
	l.checkBackupPath(vip, at)
	if vip.Announce.OSPF && l.cfg.Routing.OSPF == nil {
		protocols.faultf("ospf is announced to nobody: there is no routing.ospf").Hint = "declare routing.ospf with its interfaces"
	}
}

// checkBackupPath keeps prepended paths from peers that would see a loop in them.
func (l *loader) checkBackupPath(vip *VIP, at value) {
	if vip.Announce.Backup != BackupPrepend || l.cfg.Routing.BGP == nil {
		return
	}
	for _, p := range l.cfg.Routing.BGP.Peers {
		if p.ASN == l.cfg.Routing.BGP.ASN {
			at.dig("announce", "backup").faultf("peer %q has our own ASN and would take the path for a loop", p.Name).Hint = "use med"
		}
	}
}

// checkInterfaces wants an interface for every VRRP instance of a node.
func (l *loader) checkInterfaces() {
	for _, n := range l.cfg.Nodes {
		if n.Interface != "" || l.broken[declaration{kindNode, n.Name}] {
			continue
		}
		homeless := slices.IndexFunc(l.cfg.VIPs, func(v VIP) bool {
			return v.HA == VRRP && v.VRRP.Interface == "" && slices.Contains(v.Nodes, n.Name) && !l.broken[declaration{kindVIP, v.Name}]
		})
		if homeless >= 0 {
			vip := l.cfg.VIPs[homeless].Name
			l.declared[kindNode][n.Name].faultf("has no interface for the VRRP of VIP %q", vip).
				Hint = "set interface here or in vips." + vip + ".vrrp"
		}
	}
}

// checkUnicastFamily wants nodes that can send adverts to each other.
func (l *loader) checkUnicastFamily(vip *VIP, at value) {
	if !vip.VRRP.Unicast {
		return
	}
	var first netip.Addr
	for _, name := range vip.Nodes {
		node, _ := l.cfg.Node(name)
		switch {
		case !node.Address.IsValid():
		case !first.IsValid():
			first = node.Address
		case first.Is4() != node.Address.Is4():
			at.dig("vrrp", "unicast").faultf("node %q has the address %s, the first of its nodes %s: unicast needs one family", name, node.Address, first)
		}
	}
}

// checkRouterIDs wants a router ID for every node once there is a speaker.
func (l *loader) checkRouterIDs() {
	if l.cfg.Routing.BGP == nil && l.cfg.Routing.OSPF == nil {
		return
	}
	for _, n := range l.cfg.Nodes {
		if !n.RouterID.IsValid() && n.Address.IsValid() {
			l.declared[kindNode][n.Name].faultf("has no IPv4 address to take the router ID from").Hint = "set router_id"
		}
	}
}
