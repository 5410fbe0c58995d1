package controller

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
)

// clusters are the Swarms that the declared managers tell of, sorted by ID. Of
// several managers of one Swarm the one counts that was asked last, among
// those that can be asked at present: losing one loses nothing.
func clusters(cfg *config.Config, hosts map[string]discovery.Snapshot) []*discovery.Swarm {
	best := make(map[string]discovery.Snapshot)
	for _, h := range cfg.Hosts {
		s := hosts[h.Name]
		if !h.Swarm || s.Swarm == nil {
			continue
		}
		if known, ok := best[s.Swarm.ID]; !ok || preferred(s, known) {
			best[s.Swarm.ID] = s
		}
	}
	var list []*discovery.Swarm
	for _, id := range slices.Sorted(maps.Keys(best)) {
		list = append(list, best[id].Swarm)
	}
	return list
}

// preferred reports whether a is to be believed rather than b.
func preferred(a, b discovery.Snapshot) bool {
	if sees(a) != sees(b) {
		return sees(a)
	}
	return a.Swarm.At.After(b.Swarm.At)
}

// sees reports whether a manager's view of its Swarm is of now.
func sees(s discovery.Snapshot) bool { return s.Connected && s.SwarmErr == nil }

// swarms is what the planner remembers of the Swarms.
type swarms struct {
	list  []*discovery.Swarm
	nodes map[string]bool // IDs of all their nodes
	epoch int             // counts the changes of nodes
	views map[nodeKey]*view
}

type nodeKey struct{ swarm, node string }

// lookAtSwarms brings the views of the Swarms' nodes up to date.
func (p *planner) lookAtSwarms(in Input, list []*discovery.Swarm, dirty map[int]bool) {
	old, fresh := p.swarms.views, make(map[nodeKey]*view)
	for _, s := range list {
		for _, n := range s.Nodes {
			key := nodeKey{s.ID, n.ID}
			fresh[key] = p.lookAtNode(in, n, old[key])
			if fresh[key] != old[key] {
				markChanged(dirty, old[key], fresh[key])
			}
		}
	}
	for key, v := range old {
		if fresh[key] == nil {
			markChanged(dirty, v, nil)
		}
	}
	if !slices.Equal(list, p.swarms.list) { // any node may be another entrance than before
		for _, v := range fresh {
			for i := range v.mesh {
				dirty[i] = true
			}
		}
	}
	p.swarms.list, p.swarms.views = list, fresh
}

// lookAtNode makes the view of one node, unless it is what it was.
func (p *planner) lookAtNode(in Input, n *discovery.SwarmNode, old *view) *view {
	from := origin{node: n}
	var local []discovery.Container
	for _, h := range p.config.Hosts {
		if s := in.Hosts[h.Name]; n.ID != "" && s.Node == n.ID {
			local, from.whole, from.drained = s.Containers, s.Connected, h.Drain
		}
	}
	from.first, from.count = identity(local)
	if old != nil && old.origin == from {
		return old
	}
	v := p.selection.look(n.Sight(local, from.whole), func(s config.Service) discovery.Want {
		return discovery.Want{
			Host: n.Name, HostAddress: n.Address, HostDrained: from.drained,
			Port: s.Backend.Port, First: rangeOf(s).Port, Last: rangeOf(s).Last, UDP: s.UDP != nil, Network: s.Backend.Network, Direct: p.direct,
		}
	})
	v.origin = from
	return v
}

// learnNodes remembers which containers are the Swarms' business.
func (s *swarms) learnNodes(list []*discovery.Swarm) {
	if slices.Equal(list, s.list) {
		return
	}
	nodes := make(map[string]bool)
	for _, one := range list {
		for _, n := range one.Nodes {
			if n.ID != "" {
				nodes[n.ID] = true
			}
		}
	}
	if !maps.Equal(nodes, s.nodes) {
		s.nodes = nodes
		s.epoch++
	}
}

// taskMembers adds to pool i who serves it as Swarm task, or as entrance to
// one: each node of the Swarm, where a service is reached through the mesh.
func (p *planner) taskMembers(i int, fresh *pool, answers *Answers) {
	add := func(s *discovery.Swarm, m Member) {
		m.Swarm = s.ID
		m.Answered = answers.has(m.Server, m.Started)
		fresh.Members = append(fresh.Members, m)
	}
	for _, s := range p.swarms.list {
		through := make(map[string]discovery.Endpoint) // by the mesh's name for it: the best task behind it
		for _, n := range s.Nodes {
			v := p.swarms.views[nodeKey{s.ID, n.ID}]
			for _, m := range v.members[i] {
				add(s, m)
			}
			for _, e := range v.mesh[i] {
				if known, ok := through[e.Mesh]; !ok || known.Drain && !e.Drain {
					through[e.Mesh] = e
				}
			}
			for _, r := range v.rejected[i] {
				r.Name = strings.TrimPrefix(r.Name, "/") // of a task that has found no node
				fresh.Rejected = append(fresh.Rejected, r)
			}
		}
		for _, mesh := range slices.Sorted(maps.Keys(through)) {
			for _, n := range s.Nodes {
				if e, ok := n.Entrance(through[mesh]); ok {
					add(s, Member{Endpoint: e, Server: serverName(p.selection.services[i], e)})
				}
			}
		}
	}
}

// keepLast lets tasks that were told to stop serve on while nobody else does
// and a successor is about to: an update that stops one task as soon as the
// one before it runs, tells of both in the same moment.
func keepLast(members []Member) {
	successor := false
	for _, m := range members {
		if m.serves() {
			return
		}
		successor = successor || !m.Drain
	}
	for i, m := range members {
		if successor && m.Swarm != "" && m.Reason == discovery.ReasonStopping {
			members[i].Drain, members[i].Reason = false, ""
		}
	}
}

// withoutTasks are the containers of a host that no manager tells of as well.
func (p *planner) withoutTasks(containers []discovery.Container) []discovery.Container {
	isTask := func(c discovery.Container) bool { return c.IsTaskOf(p.swarms.nodes) }
	if !slices.ContainsFunc(containers, isTask) {
		return containers
	}
	return slices.DeleteFunc(slices.Clone(containers), isTask)
}

// staleSwarms are the Swarms that none of their declared managers sees now,
// and since when.
func (l *loop) staleSwarms() map[string]time.Time {
	stale := make(map[string]time.Time)
	seen := make(map[string]bool)
	for _, h := range l.in.Config.Hosts {
		s := l.in.Hosts[h.Name]
		if !h.Swarm || s.Swarm == nil {
			continue
		}
		seen[s.Swarm.ID] = seen[s.Swarm.ID] || sees(s)
		if since := s.Swarm.At; since.After(stale[s.Swarm.ID]) {
			stale[s.Swarm.ID] = since
		}
	}
	maps.DeleteFunc(stale, func(id string, _ time.Time) bool { return seen[id] })
	return stale
}

// pokeManagers makes the managers look at once: an engine has told of a
// container that may be one of their tasks.
func (l *loop) pokeManagers(old, now discovery.Snapshot) {
	a, n := identity(old.Containers)
	if b, m := identity(now.Containers); now.Node == "" || a == b && n == m {
		return
	}
	for _, s := range l.sources {
		if s.poke != nil {
			s.poke()
		}
	}
}
