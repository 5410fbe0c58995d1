package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/routing"
)

// View is what is known of containers: snapshots of engines, or endpoints
// named by hand, or neither, when only static servers are known.
type View struct {
	Hosts  map[string]discovery.Snapshot
	Given  Given
	Drains *Drains // by hand, of the node that was asked
}

// losses are the things that are assumed to be gone, by name.
type losses struct{ nodes, hosts, peers map[string]bool }

// prospect is what the nodes of a configuration would want, each decided by
// [Desire], when everything answers that is not lost.
type prospect struct {
	cfg    *config.Config
	lost   losses
	nodes  []config.Node // alive
	want   map[string]*Desired
	health haproxy.Verdicts
}

// foresee asks Desire for every node, with nothing lost.
func foresee(cfg *config.Config, view View) (*prospect, error) {
	all := &prospect{cfg: cfg, nodes: cfg.Nodes, want: make(map[string]*Desired)}
	for _, node := range cfg.Nodes {
		want, err := decide(Input{Node: node.Name, Config: cfg, Hosts: view.Hosts, Drains: view.Drains, Obtained: standIns(cfg), Stage: lastStage(node)}, view.Given)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", node.Name, err)
		}
		all.want[node.Name] = want
	}
	return all.without(losses{}), nil
}

// decide is Desire when everybody answers.
func decide(in Input, given Given) (*Desired, error) {
	var plan planner
	want, err := plan.desire(in)
	if err != nil {
		return nil, err
	}
	in.Answered = make(map[string]*Answers, len(want.Pools))
	for service, pool := range want.Pools {
		answers := &Answers{Started: make(map[string]time.Time, len(pool.Members))}
		for _, m := range pool.Members {
			answers.Started[m.Server] = m.Started
		}
		in.Answered[service] = answers
	}
	if want, err = plan.desire(in); err != nil {
		return nil, err
	}
	return &want, want.give(in.Config, in.Node, given)
}

// without is p after losses. What HAProxy and keepalived of a node want does
// not depend on the others, so only health and routes are decided again.
func (p *prospect) without(lost losses) *prospect {
	left := &prospect{cfg: p.cfg, lost: lost, want: make(map[string]*Desired)}
	single := make(map[haproxy.ServerKey]haproxy.Health)
	for _, node := range p.cfg.Nodes {
		if lost.nodes[node.Name] {
			continue
		}
		want := *p.want[node.Name]
		for service, pool := range want.Pools {
			for _, m := range pool.Members {
				single[haproxy.ServerKey{Backend: m.backend(service), Server: m.Server}] = left.verdict(m)
			}
		}
		left.health = haproxy.NewVerdicts(single)
		want.Silent = make(map[string]string)
		want.Routing = wantRouting(Input{Node: node.Name, Config: p.cfg, Health: left.health, Stage: lastStage(node)}, node, &want)
		left.nodes, left.want[node.Name] = append(left.nodes, node), &want
	}
	return left
}

// verdict is what HAProxy would say of m.
func (p *prospect) verdict(m Member) haproxy.Health {
	for name := range p.lost.hosts {
		host, _ := p.cfg.Host(name)
		if m.Host == name || host.Address.IsValid() && m.Address.Addr() == host.Address {
			return haproxy.Down
		}
	}
	return haproxy.Up
}

// ready are the members of a service that new sessions go to; every node that
// carries the service has the same.
func (p *prospect) ready(service config.Service) []Member {
	var ready []Member
	for _, node := range p.nodes {
		pool := p.want[node.Name].Pools[service.Name]
		if pool == nil {
			continue
		}
		for _, m := range pool.Members {
			if m.ready(p.health.Of(m.backend(service.Name), m.Server)) {
				ready = append(ready, m)
			}
		}
		break
	}
	return ready
}

// holders are the nodes that carry the VIP's addresses: the election's winner,
// or every node of an anycast or static one.
func (p *prospect) holders(vip config.VIP) []string {
	candidates := slices.DeleteFunc(slices.Clone(p.nodes), func(n config.Node) bool { return !slices.Contains(vip.Nodes, n.Name) })
	if vip.HA == config.VRRP && len(candidates) > 1 {
		candidates = []config.Node{slices.MaxFunc(candidates, func(a, b config.Node) int {
			// RFC 5798, 6.4.3: between equals the higher address wins.
			return cmp.Or(cmp.Compare(p.priority(a, vip), p.priority(b, vip)), a.Address.Compare(b.Address))
		})}
	}
	holders := []string{}
	for _, node := range candidates {
		holders = append(holders, node.Name)
	}
	return holders
}

// lastStage is where a node is in the end.
func lastStage(node config.Node) Stage {
	if node.Drain {
		return Yielding
	}
	return InService
}

func (p *prospect) priority(node config.Node, vip config.VIP) uint8 {
	election := p.want[node.Name].VRRP
	for _, instance := range election.Instances {
		if instance.Name == vip.Name {
			if election.Yield {
				return 1
			}
			return instance.Priority
		}
	}
	return 0
}

// audience has, for every node that announces the VIP, who hears it: peers,
// and "ospf" for the routers of the area.
func (p *prospect) audience(vip config.VIP, holders []string) map[string][]string {
	heard := make(map[string][]string)
	for _, node := range p.nodes {
		routes := p.want[node.Name].Routing
		told := func(prefix routing.Prefix) bool {
			return prefix.VIP == vip.Name && (!prefix.WhileHeld || prefix.Standby != nil || slices.Contains(holders, node.Name))
		}
		if slices.ContainsFunc(routes.Prefixes, told) {
			heard[node.Name] = []string{}
			for _, peer := range routes.Peers {
				if !p.lost.peers[peer.Name] {
					heard[node.Name] = append(heard[node.Name], peer.Name)
				}
			}
		}
		if routes.OSPF != nil && slices.ContainsFunc(routes.OSPF.Prefixes, told) {
			heard[node.Name] = append(heard[node.Name], "ospf")
		}
	}
	return heard
}

// unreachable says why no client gets to the VIP, "" when one does.
func (p *prospect) unreachable(vip config.VIP, holders []string, heard map[string][]string) string {
	switch {
	case len(holders) == 0:
		return "none of its nodes is left"
	case vip.Announce == nil:
		return ""
	}
	for _, peers := range heard {
		if len(peers) > 0 {
			return ""
		}
	}
	if len(heard) > 0 {
		return "no router is left to announce it to"
	}
	for _, name := range holders {
		if reason := p.want[name].Silent[vip.Name]; reason != "" {
			return "not announced: " + reason
		}
	}
	return "not announced"
}
