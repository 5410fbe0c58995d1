package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/status"
)

// place is where containers run: a declared host, or a node of a Swarm that a
// declared manager tells of.
type place struct {
	name       string
	host       config.Host          // the zero Host where only managers know the machine
	node       *discovery.SwarmNode // nil for what a host's own engine tells
	swarm      string
	containers []discovery.Container
	want       func(config.Service) discovery.Want
}

// placesOf are the hosts in the order of their names, then the Swarms' nodes. A
// task is told of once, as the decision sees it.
func placesOf(in Input) []place {
	plan := new(planner)
	if plan.adopt(in) != nil {
		return nil // the node is not declared: no round has been made either
	}
	list := clusters(in.Config, in.Hosts)
	plan.swarms.learnNodes(list)
	var places []place
	for _, h := range in.Config.Hosts {
		places = append(places, place{
			name: h.Name, host: h, containers: plan.withoutTasks(in.Hosts[h.Name].Containers), want: plan.wants(h),
		})
	}
	for _, s := range list {
		for _, n := range s.Nodes {
			places = append(places, plan.placeOf(in, s, n))
		}
	}
	return places
}

// placeOf is a Swarm's node, as [planner.lookAtNode] sees it.
func (p *planner) placeOf(in Input, s *discovery.Swarm, n *discovery.SwarmNode) place {
	at := place{name: n.Name, node: n, swarm: s.ID}
	var local []discovery.Container
	whole := false
	for _, h := range p.config.Hosts {
		known := in.Hosts[h.Name]
		if n.ID == "" || known.Node != n.ID {
			continue
		}
		at.host, local, whole = h, known.Containers, known.Connected
	}
	at.containers = n.Sight(local, whole)
	at.want = func(s config.Service) discovery.Want {
		return discovery.Want{
			Host: n.Name, HostAddress: n.Address, HostDrained: at.host.Drain,
			Port: s.Backend.Port, First: rangeOf(s).Port, Last: rangeOf(s).Last, UDP: s.UDP != nil, Network: s.Backend.Network, Direct: p.direct,
		}
	}
	return at
}

// called is the name of a container at p, as in status.
func (p place) called(c discovery.Container) string {
	return strings.TrimPrefix(p.name+"/"+c.Name, "/") // a task that has found no node
}

// placeStep is whether the machine is heard of.
func (x *explainer) placeStep(p place) status.Step {
	if p.node == nil {
		return x.hostStep(p.host)
	}
	step := status.Step{Step: "host", Verdict: status.OK, Text: fmt.Sprintf("%s is a node of a Swarm, of which %s", p.name, x.managers(p.swarm))}
	switch {
	case p.node.ID == "":
		step.Verdict, step.Text = status.Skip, "no node of the Swarm has taken the task yet"
	case p.node.Down:
		step.Verdict, step.Text = status.Fail, fmt.Sprintf("the managers have lost %s, and start its tasks elsewhere", p.name)
		step.Next = "docker node ls"
	case p.host.Drain, x.in.Drains.has(status.DrainHost, p.host.Name):
		return x.hostStep(p.host)
	case p.node.Drained:
		step.Verdict, step.Text = status.Warn, fmt.Sprintf("%s is drained in its Swarm: the managers move its tasks elsewhere", p.name)
	case !x.isSeen(p.swarm):
		step.Verdict, step.Text = status.Warn, fmt.Sprintf("%s is a node of a Swarm of which no manager can be asked now: what was known stays in force", p.name)
		step.Next = "look at the managers' engines, and at the network to them"
	}
	return step
}

// managers names the hosts that tell of a Swarm.
func (x *explainer) managers(swarm string) string {
	names := x.managersOf(swarm, func(discovery.Snapshot) bool { return true })
	if len(names) == 1 {
		return names[0] + " tells"
	}
	return some(names) + " tell"
}

func (x *explainer) isSeen(swarm string) bool { return len(x.managersOf(swarm, sees)) > 0 }

func (x *explainer) managersOf(swarm string, are func(discovery.Snapshot) bool) []string {
	var names []string
	for _, h := range x.cfg.Hosts {
		if s := x.in.Hosts[h.Name]; h.Swarm && s.Swarm != nil && s.Swarm.ID == swarm && are(s) {
			names = append(names, h.Name)
		}
	}
	return names
}

// meshSteps are for a task that clients reach through any node of its Swarm.
func (x *explainer) meshSteps(s config.Service, p place, through discovery.Endpoint, ways []status.Note) []status.Step {
	address := status.Step{
		Step: "address", Verdict: status.OK, Detail: ways,
		Text: fmt.Sprintf("port %d of every node of the Swarm, which pass it on to %s (routing mesh)", through.Address.Port(), through.Mesh),
	}
	var entrances []status.Step
	if pool := x.want.Pools[s.Name]; pool != nil {
		for _, m := range pool.Members {
			if m.Mesh == through.Mesh && m.Swarm == p.swarm {
				one := x.serverStep(s, m)
				one.Text = m.Name + ": " + one.Text
				entrances = append(entrances, one)
			}
		}
	}
	if len(entrances) == 0 {
		return []status.Step{address, {Step: "server", Verdict: status.Fail, Text: "no node of the Swarm can be an entrance: see vip, and docker node ls"}}
	}
	best := slices.MinFunc(entrances, func(a, b status.Step) int { return order(b.Verdict) - order(a.Verdict) })
	for _, one := range entrances {
		if one.Text != best.Text {
			best.Detail = append(best.Detail, status.Note{Verdict: one.Verdict, Text: one.Text})
		}
	}
	best.Detail = notes(best.Detail)
	return []status.Step{address, best}
}
