package controller

import (
	"cmp"
	"maps"
	"slices"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
)

// shares are the parts of the traffic that nodes and hosts carry.
func shares(before, after *prospect) (nodes, hosts map[string]status.Share) {
	nodesBefore, hostsBefore := before.carry()
	nodesAfter, hostsAfter := after.carry()
	merge := func(before, after map[string]float64) map[string]status.Share {
		all := make(map[string]status.Share)
		for name := range before {
			all[name] = status.Share{Before: before[name]}
		}
		for name, share := range after {
			all[name] = status.Share{Before: before[name], Share: share}
		}
		return all
	}
	return merge(nodesBefore, nodesAfter), merge(hostsBefore, hostsAfter)
}

// carry spreads one unit of traffic evenly over the services that are served,
// and each service over the nodes that hold its VIP and the hosts of its
// endpoints. A server on no declared host counts for itself.
func (p *prospect) carry() (nodes, hosts map[string]float64) {
	nodes, hosts = make(map[string]float64), make(map[string]float64)
	for _, n := range p.nodes {
		nodes[n.Name] = 0
	}
	for _, h := range p.cfg.Hosts {
		if !p.lost.hosts[h.Name] {
			hosts[h.Name] = 0
		}
	}
	served := 0
	for _, service := range p.cfg.Services {
		if !p.tellService(service).Serves {
			continue
		}
		served++
		vip, _ := p.cfg.VIP(service.VIP)
		carriers := p.carriers(vip)
		for _, name := range carriers {
			nodes[name] += 1 / float64(len(carriers))
		}
		for host, part := range p.weights(service) {
			hosts[host] += part
		}
	}
	for _, all := range []map[string]float64{nodes, hosts} {
		for name := range all {
			all[name] /= float64(max(served, 1))
		}
	}
	return nodes, hosts
}

// carriers are the nodes that clients of the VIP get to.
func (p *prospect) carriers(vip config.VIP) []string {
	holders := p.holders(vip)
	if heard := p.audience(vip, holders); vip.HA == config.Anycast && len(heard) > 0 {
		return slices.Sorted(maps.Keys(heard))
	}
	return holders
}

// weights are the parts of one service's traffic by host. Backups get none
// while another is ready.
func (p *prospect) weights(service config.Service) map[string]float64 {
	ready := p.ready(service)
	if first := slices.DeleteFunc(slices.Clone(ready), func(m Member) bool { return m.Backup }); len(first) > 0 {
		ready = first
	}
	parts, total := make(map[string]float64), 0.0
	for _, m := range ready {
		parts[cmp.Or(m.Host, m.Name)] += float64(m.Weight)
		total += float64(m.Weight)
	}
	for host := range parts {
		parts[host] /= max(total, 1)
	}
	return parts
}
