package controller

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/vrrp"
)

// Priorities of VRRP instances: the first node of a VIP has the top one, each
// further node a step less. 255 would mean owning the address, 0 leaving.
const (
	topPriority     = 200
	priorityStep    = 10
	drainedPriority = 1
)

// wantVRRP makes one instance for each VRRP VIP that lists this node. The
// track file is left to the caller.
func wantVRRP(cfg *config.Config, node config.Node) vrrp.Config {
	want := vrrp.Config{Node: node.Name}
	for _, vip := range cfg.VIPs {
		rank := slices.Index(vip.Nodes, node.Name)
		if vip.HA != config.VRRP || rank < 0 {
			continue
		}
		instance := vrrp.Instance{
			Name: vip.Name, VRID: vip.VRRP.ID, Interface: cmp.Or(vip.VRRP.Interface, node.Interface),
			Priority: priority(rank, len(vip.Nodes)), AdvertInterval: vip.VRRP.AdvertInterval,
			Preempt: vip.VRRP.Preempt, PreemptDelay: vip.VRRP.PreemptDelay,
			Source: node.Address, Addresses: vip.Addresses,
		}
		// Only VRRPv2 has passwords, and its adverts come in whole seconds; the
		// configuration has warned of one that cannot be used.
		if vip.VRRP.AdvertInterval%time.Second == 0 {
			instance.Password = vip.VRRP.Password.Reveal()
		}
		if node.Drain {
			instance.Priority = drainedPriority
		}
		if vip.VRRP.Unicast {
			instance.UnicastPeers = otherAddresses(cfg, vip, node)
		}
		want.Instances = append(want.Instances, instance)
	}
	return want
}

func priority(rank, nodes int) uint8 {
	step := min(priorityStep, (topPriority-drainedPriority-1)/max(nodes, 1))
	return uint8(max(drainedPriority+1, topPriority-rank*step))
}

func otherAddresses(cfg *config.Config, vip config.VIP, node config.Node) []netip.Addr {
	var others []netip.Addr
	for _, name := range vip.Nodes {
		if other, ok := cfg.Node(name); ok && name != node.Name {
			others = append(others, other.Address)
		}
	}
	return others
}

// wantAnycast are the addresses this node carries on its loopback.
func wantAnycast(cfg *config.Config, node config.Node) []netip.Addr {
	var want []netip.Addr
	for _, vip := range cfg.VIPs {
		if vip.HA == config.Anycast && slices.Contains(vip.Nodes, node.Name) {
			want = append(want, vip.Addresses...)
		}
	}
	return want
}

// wantRouting says which prefixes this node may announce. Every prefix waits
// at the gate until the kernel holds the address: that is what makes only the
// VRRP master announce, with or without a controller.
func wantRouting(in Input, node config.Node, d *Desired) routing.Config {
	bgp := in.Config.Routing.BGP
	if bgp == nil {
		return routing.Config{}
	}
	want := routing.Config{ASN: bgp.ASN, RouterID: node.RouterID, GracefulRestart: bgp.GracefulRestart}
	for _, p := range in.Config.PeersOf(node) {
		peer := routing.Peer{
			Name: p.Name, Address: p.Address, ASN: p.ASN, Password: p.Password.Reveal(), TTLSecurity: p.TTLSecurity, HoldTime: p.HoldTime,
		}
		if p.Address.Is4() == node.Address.Is4() {
			peer.LocalAddress = node.Address
		}
		want.Peers = append(want.Peers, peer)
	}
	for _, vip := range in.Config.VIPs {
		if vip.Announce == nil || !vip.Announce.BGP || !slices.Contains(vip.Nodes, node.Name) {
			continue
		}
		if reason := silence(in, node, vip, d); reason != "" {
			d.Silent[vip.Name] = reason
			continue
		}
		for _, a := range vip.Addresses {
			want.Prefixes = append(want.Prefixes, routing.Prefix{
				Prefix: netip.PrefixFrom(a, a.BitLen()), VIP: vip.Name, Communities: vip.Announce.Communities, WhileHeld: true,
			})
		}
	}
	slices.SortFunc(want.Prefixes, func(a, b routing.Prefix) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), a.Prefix.Bits()-b.Prefix.Bits())
	})
	return want
}

// silence returns why a VIP must not be announced, or "" when it may.
func silence(in Input, node config.Node, vip config.VIP, d *Desired) string {
	switch {
	case in.Leaving:
		return "the controller is leaving"
	case node.Drain:
		return fmt.Sprintf("node %s is drained (nodes.%s.state)", node.Name, node.Name)
	}
	open := withoutFrontends(d.HAProxy, in.Taken).Frontends
	if !slices.ContainsFunc(open, func(f haproxy.Frontend) bool { return binds(f, vip) }) {
		return "HAProxy does not listen on it"
	}
	if vip.Announce.When == config.WhenProxy {
		return ""
	}
	var services []string
	for _, s := range in.Config.Services {
		if s.VIP != vip.Name || len(in.Taken) > 0 && !reaches(open, s.Name) {
			continue
		}
		if standsAlone(s) {
			return ""
		}
		services = append(services, s.Name)
		for _, m := range d.Pools[s.Name].Members {
			if m.ready(in.Health.Of(s.Name, m.Server)) {
				return ""
			}
		}
	}
	return "no ready endpoint in " + strings.Join(services, ", ")
}

func binds(f haproxy.Frontend, vip config.VIP) bool {
	return slices.ContainsFunc(f.Binds, func(b haproxy.Bind) bool { return slices.Contains(vip.Addresses, b.Address) })
}

// reaches reports whether one of the frontends leads to the backend.
func reaches(frontends []haproxy.Frontend, backend string) bool {
	return slices.ContainsFunc(frontends, func(f haproxy.Frontend) bool {
		return f.Default == backend || slices.ContainsFunc(f.Routes, func(r haproxy.Route) bool { return r.Backend == backend })
	})
}
