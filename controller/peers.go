package controller

import (
	"cmp"
	"slices"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

// wantPeers are the nodes that this one shares stick tables with: all that may
// carry a VIP whose service has a table, so that a client keeps its server when
// the VIP moves.
func wantPeers(cfg *config.Config, node config.Node, services []config.Service) haproxy.Peers {
	sharing := make(map[string]bool)
	for _, s := range services {
		if s.Backend.StickySource == 0 {
			continue
		}
		vip, _ := cfg.VIP(s.VIP)
		for _, name := range vip.Nodes {
			sharing[name] = true
		}
	}
	want := haproxy.Peers{Local: node.Name, Port: cfg.HAProxy.PeersPort}
	for _, n := range cfg.Nodes {
		if sharing[n.Name] {
			want.Nodes = append(want.Nodes, haproxy.Peer{Name: n.Name, Address: n.Address})
		}
	}
	slices.SortFunc(want.Nodes, func(a, b haproxy.Peer) int { return cmp.Compare(a.Name, b.Name) })
	return want
}
