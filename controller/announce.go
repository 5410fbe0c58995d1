package controller

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/routing"
)

// wantRouting says which prefixes this node may announce. Every prefix waits
// at the gate until the kernel holds the address: that is what makes only the
// VRRP master announce, with or without a controller.
func wantRouting(in Input, node config.Node, d *Desired) routing.Config {
	want := routing.Config{FRR: in.FRR}
	if bgp := in.Config.Routing.BGP; bgp != nil {
		want.ASN, want.RouterID, want.ViaFRR, want.GracefulRestart = bgp.ASN, node.RouterID, bgp.Speaker == "frr", bgp.GracefulRestart
		for _, p := range in.Config.PeersOf(node) {
			want.Peers = append(want.Peers, wantPeer(p, node))
		}
	}
	if ospf := in.Config.Routing.OSPF; ospf != nil {
		want.OSPF = wantOSPF(*ospf, node)
	}
	for _, vip := range in.Config.VIPs {
		if vip.Announce == nil || !slices.Contains(vip.Nodes, node.Name) {
			continue
		}
		if reason := silence(in, node, vip, d); reason != "" {
			d.Silent[vip.Name] = reason
			continue
		}
		for _, a := range vip.Addresses {
			if vip.Announce.BGP && want.ASN != 0 {
				p := wantPrefix(vip, a)
				if in.Stage != InService {
					p.Standby = nil // a node on its way out stands by for nobody
				}
				want.Prefixes = append(want.Prefixes, p)
			}
			if vip.Announce.OSPF && want.OSPF != nil {
				want.OSPF.Prefixes = append(want.OSPF.Prefixes, routing.Prefix{Prefix: netip.PrefixFrom(a, a.BitLen()), VIP: vip.Name, WhileHeld: true})
			}
		}
	}
	slices.SortFunc(want.Prefixes, byPrefix)
	if want.OSPF != nil {
		slices.SortFunc(want.OSPF.Prefixes, byPrefix)
	}
	return want
}

func byPrefix(a, b routing.Prefix) int {
	return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), a.Prefix.Bits()-b.Prefix.Bits())
}

func wantPeer(p config.Peer, node config.Node) routing.Peer {
	peer := routing.Peer{
		Name: p.Name, Address: p.Address, ASN: p.ASN, Password: p.Password.Reveal(), TTLSecurity: p.TTLSecurity,
		HoldTime: p.HoldTime, Multihop: p.Multihop, LocalAddress: p.Source, BFD: routing.BFD(p.BFD),
		Export: routing.Export{MED: p.MED, Prepend: p.Prepend, LocalPreference: p.LocalPreference, Communities: p.Communities},
	}
	if !peer.LocalAddress.IsValid() && p.Address.Is4() == node.Address.Is4() {
		peer.LocalAddress = node.Address
	}
	return peer
}

// wantOSPF is OSPF without its prefixes. The node's own address is known for
// its own interface; on others the speaker looks for it.
func wantOSPF(o config.OSPF, node config.Node) *routing.OSPF {
	want := &routing.OSPF{
		RouterID: node.RouterID, Area: o.Area, HelloInterval: o.HelloInterval, DeadInterval: o.DeadInterval,
		Broadcast: o.Broadcast, BFD: routing.BFD(o.BFD), Password: o.Password.Reveal(),
	}
	for _, name := range o.Interfaces {
		one := routing.OSPFInterface{Name: name}
		if name == node.Interface && node.Address.Is4() {
			one.Address = node.Address
		}
		want.Interfaces = append(want.Interfaces, one)
	}
	return want
}

// wantPrefix is one address of a VIP as BGP tells it. With backup: med the
// holder's path has a MED as well, for routers that prefer none to some.
func wantPrefix(vip config.VIP, a netip.Addr) routing.Prefix {
	p := routing.Prefix{
		Prefix: netip.PrefixFrom(a, a.BitLen()), VIP: vip.Name, WhileHeld: true,
		Communities: vip.Announce.Communities, LocalPreference: vip.Announce.LocalPreference,
	}
	switch vip.Announce.Backup {
	case config.BackupMED:
		none, some := uint32(0), vip.Announce.MED
		p.MED, p.Standby = &none, &routing.Standby{MED: &some}
	case config.BackupPrepend:
		p.Standby = &routing.Standby{Prepend: vip.Announce.Prepend}
	}
	return p
}

// silence returns why a VIP must not be announced, or "" when it may.
func silence(in Input, node config.Node, vip config.VIP, d *Desired) string {
	switch {
	case in.Stage == Leaving:
		return "the controller is leaving"
	case in.Stage == Returning && vip.HA != config.VRRP:
		return "node " + node.Name + " is coming into service"
	case in.Stage != InService && in.Stage != Reconnecting && vip.HA != config.VRRP: // the holder of a VRRP VIP announces it as long as it has it
		return "node " + node.Name + " is being drained"
	}
	open := withoutFrontends(d.HAProxy, in.Taken).Frontends
	listens := slices.ContainsFunc(open, func(f haproxy.Frontend) bool { return binds(f, vip) })
	if !listens && !balances(d, vip) {
		if services := udpOf(in.Config, vip); len(services) > 0 {
			return cmp.Or(in.NoUDP, "no ready endpoint in "+strings.Join(services, ", "))
		}
		return "HAProxy does not listen on it"
	}
	if vip.Announce.When == config.WhenProxy && (in.NoUDP == "" || listens) {
		return ""
	}
	var services []string
	for _, s := range in.Config.Services {
		if s.VIP != vip.Name || len(in.Taken) > 0 && s.UDP == nil && !reaches(open, s.Name) {
			continue
		}
		if standsAlone(s) {
			return ""
		}
		services = append(services, s.Name)
		for _, m := range d.Pools[s.Name].Members {
			if m.ready(in.Health.Of(m.backend(s.Name), m.Server)) {
				return ""
			}
		}
	}
	reason := "no ready endpoint in " + strings.Join(services, ", ")
	if !listens && in.NoUDP != "" {
		reason = in.NoUDP
	}
	if vip.Announce.KeepLast && (listens || in.NoUDP == "") {
		return keepLastAnnouncer(in, node, vip, d, reason)
	}
	return reason
}

func binds(f haproxy.Frontend, vip config.VIP) bool {
	return slices.ContainsFunc(f.Binds, func(b haproxy.Bind) bool { return slices.Contains(vip.Addresses, b.Address) })
}

// reaches reports whether one of the frontends leads to the backend.
func reaches(frontends []haproxy.Frontend, backend string) bool {
	return slices.ContainsFunc(frontends, func(f haproxy.Frontend) bool {
		return f.Default == backend || slices.ContainsFunc(slices.Concat(f.Routes, f.Passthrough), func(r haproxy.Route) bool { return serviceOf(r.Backend) == backend })
	})
}
