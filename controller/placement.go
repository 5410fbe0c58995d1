package controller

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/vrrp"
)

// Priorities of VRRP instances: the first node of a VIP has the top one, each
// further node a step less. 255 would mean owning the address, 0 leaving.
const (
	topPriority    = 200
	priorityStep   = 10
	lowestPriority = 2 // 1 is for nodes that yield
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
			Source: node.Address, Addresses: vip.Addresses, Announced: vip.Announce != nil, GARP: vrrp.GARP(vip.VRRP.GARP),
		}
		// Only VRRPv2 has passwords, and its adverts come in whole seconds; the
		// configuration has warned of one that cannot be used.
		if vip.VRRP.AdvertInterval%time.Second == 0 {
			instance.Password = vip.VRRP.Password.Reveal()
		}
		if vip.VRRP.Unicast {
			instance.UnicastPeers = otherAddresses(cfg, vip, node)
		}
		want.Instances = append(want.Instances, instance)
	}
	return want
}

func priority(rank, nodes int) uint8 {
	step := min(priorityStep, (topPriority-lowestPriority)/max(nodes, 1))
	return uint8(max(lowestPriority, topPriority-rank*step))
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
