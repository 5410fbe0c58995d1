package controller

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
)

// Desire decides what the node should do. It is pure: equal input gives equal
// output, and nothing outside is read or changed.
func Desire(in Input) (Desired, error) { return new(planner).desire(in) }

// planner is Desire with a memory: what one host's containers mean, and who
// serves one service, are kept until something they depend on changes, so one
// event costs one host and the services it touches. With an empty memory it
// is Desire itself, and a test holds the two together.
type planner struct {
	config     *config.Config
	node       config.Node
	tier       *Tier // not nil: node is the zero Node
	obtained   *Obtained
	challenges *haproxy.Backend // nil = nothing comes over ACME
	selection  *selection
	frontends  []haproxy.Frontend
	peers      haproxy.Peers
	direct     map[string]bool  // networks.<name>.direct, of those that say so
	views      map[string]*view // by host
	swarms     swarms
	drains     *Drains
	machines   map[string]bool // drained by hand
	pools      []*pool         // by index of the service in selection
	// The same again, as others take them; replaced and never changed.
	named    map[string]*Pool
	backends []*haproxy.Backend
	grown    grown            // both, with the branches of services
	gate     *haproxy.Backend // of the last decision for a tier
}

// pool is a Pool and what it was made from.
type pool struct {
	Pool
	answers *Answers
}

func (p *planner) desire(in Input) (Desired, error) {
	if err := p.adopt(in); err != nil {
		return Desired{}, err
	}
	dirty := p.lookAtHosts(in)
	p.lookAtDrains(in, dirty)
	p.refillPools(in, dirty)
	d := Desired{Pools: p.named, Silent: make(map[string]string)}
	d.HAProxy.Frontends, d.HAProxy.Backends = p.grown.frontends, p.grown.backends
	d.HAProxy.Peers = p.peers
	if p.challenges != nil {
		d.HAProxy.Backends = append([]*haproxy.Backend{p.challenges}, p.grown.backends...)
	}
	if p.tier != nil {
		d.HAProxy = p.wantTier(&d)
		return d, nil
	}
	d.HAProxy.Raw = haproxy.Raw{Global: texts(in.Config.HAProxy.Global), Defaults: texts(in.Config.HAProxy.Defaults)}
	d.HAProxy.Closing = in.Stage != InService && in.Stage != Returning || in.Expected
	d.VRRP = wantVRRP(in.Config, p.node)
	for i := range d.VRRP.Instances {
		d.VRRP.Instances[i].Relieved = slices.Contains(in.Relieved, d.VRRP.Instances[i].Name)
	}
	d.VRRP.Virtual = p.virtualServers()
	d.VRRP.Yield = in.Stage == Yielding || in.Stage == Returning || in.Stage == Leaving
	d.Anycast = wantAnycast(in.Config, p.node)
	d.Routing = wantRouting(in, p.node, &d)
	return d, nil
}

// adopt forgets everything when the configuration is another one.
func (p *planner) adopt(in Input) error {
	if p.config == in.Config && p.name() == in.Node && p.tier == in.Tier {
		if p.obtained != in.Obtained {
			p.obtained, p.frontends = in.Obtained, wantFrontends(in.Config, p.selection.services, in.Obtained)
			p.growBranches()
		}
		return nil
	}
	if in.Tier != nil {
		return p.adoptTier(in)
	}
	node, ok := in.Config.Node(in.Node)
	if !ok {
		return fmt.Errorf("node %q is not declared (declared: %s); declare it under nodes: or start with --node", in.Node, nodeNames(in.Config))
	}
	if err := checkRaw(in.Config); err != nil {
		return err
	}
	services := servedBy(in.Config, node)
	*p = planner{
		config: in.Config, node: node, obtained: in.Obtained,
		selection:  newSelection(services),
		frontends:  wantFrontends(in.Config, services, in.Obtained),
		challenges: wantChallenges(wantOrders(in.Config, node)),
		peers:      wantPeers(in.Config, node, services),
		direct:     direct(in.Config),
		views:      make(map[string]*view),
		pools:      make([]*pool, len(services)),
		named:      make(map[string]*Pool, len(services)),
		backends:   make([]*haproxy.Backend, len(services)),
	}
	return nil
}

// lookAtHosts brings the views up to date and returns the services touched.
func (p *planner) lookAtHosts(in Input) map[int]bool {
	dirty := make(map[int]bool)
	list := clusters(p.config, in.Hosts)
	p.swarms.learnNodes(list)
	p.lookAtSwarms(in, list, dirty)
	for _, host := range p.config.Hosts {
		containers := in.Hosts[host.Name].Containers
		old := p.views[host.Name]
		from := origin{epoch: p.swarms.epoch}
		from.first, from.count = identity(containers)
		if old != nil && old.origin == from {
			continue
		}
		fresh := p.selection.look(p.withoutTasks(containers), p.wants(host))
		if p.tier != nil {
			fresh.keepFronted()
		}
		fresh.origin = from
		p.views[host.Name] = fresh
		markChanged(dirty, old, fresh)
	}
	return dirty
}

// wants says what a service asks of a container on host.
func (p *planner) wants(host config.Host) func(config.Service) discovery.Want {
	local := host.Docker.Scheme == "unix" || host.Address.IsLoopback() || (host.Address.IsValid() && host.Address == p.node.Address)
	var through netip.AddrPort
	if host.Proxy != nil {
		through = host.Proxy.AddrPort()
	}
	return func(s config.Service) discovery.Want {
		return discovery.Want{
			Host: host.Name, HostAddress: host.Address, Local: local && p.tier == nil, HostDrained: host.Drain,
			Port: s.Backend.Port, First: rangeOf(s).Port, Last: rangeOf(s).Last, UDP: s.UDP != nil, Network: s.Backend.Network, Direct: p.direct, Proxy: through,
		}
	}
}

// direct is what the configuration says of networks, by name.
func direct(cfg *config.Config) map[string]bool {
	said := make(map[string]bool)
	for _, n := range cfg.Networks {
		if n.Direct != nil {
			said[n.Name] = *n.Direct
		}
	}
	return said
}

// markChanged adds the services that old and fresh do not see alike.
func markChanged(dirty map[int]bool, old, fresh *view) {
	if old == nil {
		old = new(view)
	}
	if fresh == nil {
		fresh = new(view)
	}
	for _, pair := range [][2]*view{{old, fresh}, {fresh, old}} {
		for i, members := range pair[0].members {
			if !slices.Equal(members, pair[1].members[i]) {
				dirty[i] = true
			}
		}
		for i, mesh := range pair[0].mesh {
			if !slices.Equal(mesh, pair[1].mesh[i]) {
				dirty[i] = true
			}
		}
		for i, branches := range pair[0].branches {
			if !slices.Equal(branches, pair[1].branches[i]) {
				dirty[i] = true
			}
		}
		for i, rejected := range pair[0].rejected {
			if !slices.Equal(rejected, pair[1].rejected[i]) {
				dirty[i] = true
			}
		}
	}
}

// refillPools brings the pools up to date.
func (p *planner) refillPools(in Input, dirty map[int]bool) {
	var stale []int
	for i, service := range p.selection.services {
		if answers := in.Answered[service.Name]; dirty[i] || p.pools[i] == nil || p.pools[i].answers != answers {
			p.refill(i, answers)
			stale = append(stale, i)
		}
	}
	if len(stale) == 0 {
		return
	}
	defer p.growBranches()
	p.named, p.backends = maps.Clone(p.named), slices.Clone(p.backends)
	for _, i := range stale {
		p.named[p.selection.services[i].Name], p.backends[i] = &p.pools[i].Pool, p.pools[i].Backend
	}
}

// refill makes the pool of service i anew, keeping the backend's identity
// where nothing about it changed.
func (p *planner) refill(i int, answers *Answers) {
	service := p.selection.services[i]
	fresh := &pool{answers: answers}
	fresh.Members = make([]Member, 0, p.count(i)) // of thousands of services, room to grow is megabytes
	for _, s := range p.staticServers(service) {
		fresh.Members = append(fresh.Members, staticMember(s))
	}
	for _, host := range p.config.Hosts {
		v := p.views[host.Name]
		if v == nil {
			continue
		}
		for _, m := range v.members[i] {
			m.Answered = answers.has(m.Server, m.Started)
			if m.Via.IsValid() {
				m.Source = p.node.Address
			}
			fresh.Members = append(fresh.Members, m)
		}
		fresh.Rejected = append(fresh.Rejected, v.rejected[i]...)
	}
	p.taskMembers(i, fresh, answers)
	slices.SortFunc(fresh.Members, byName)
	fresh.Members = slices.CompactFunc(fresh.Members, func(a, b Member) bool { return a.Server == b.Server })
	keepLast(fresh.Members)
	p.takeOut(fresh.Members)
	slices.SortFunc(fresh.Rejected, func(a, b discovery.Rejection) int { return cmp.Compare(a.Name, b.Name) })
	if service.UDP != nil { // nobody can be dialed: the checks of keepalived say who is there
		for j := range fresh.Members {
			fresh.Members[j].Answered = true
		}
	}
	fresh.Awaits = slices.ContainsFunc(fresh.Members, func(m Member) bool { return !m.Answered && !m.Drain })
	if service.UDP != nil {
		p.pools[i] = fresh
		return
	}
	if p.tier != nil {
		fresh.Backend = wantBehind(service, fresh.Members)
	} else {
		fresh.Backend = wantBackend(service, fresh.Members)
	}
	p.branch(i, fresh)
	if old := p.pools[i]; old != nil && reflect.DeepEqual(old.Backend, fresh.Backend) {
		fresh.Backend = old.Backend
	}
	p.pools[i] = fresh
}

// count is how many members service i has on hosts, or a few more.
func (p *planner) count(i int) int {
	n := len(p.selection.services[i].Backend.Servers)
	for _, v := range p.views {
		n += len(v.members[i])
	}
	return n
}

// staticMember is a server that the configuration names. HAProxy's checks are
// all that says whether it serves.
func staticMember(s config.StaticServer) Member {
	m := Member{
		Endpoint: discovery.Endpoint{Address: s.Address, Weight: s.Weight},
		Answered: true, Static: true, Backup: s.Backup, Set: s.Set, DNSName: s.Host, Port: s.Port,
	}
	m.Name = staticName(m.target())
	m.Server = m.Name
	return m
}

// servedBy are the services whose VIP this node may carry.
func servedBy(cfg *config.Config, node config.Node) []config.Service {
	served := make([]config.Service, 0, len(cfg.Services))
	for _, service := range cfg.Services {
		if vip, ok := cfg.VIP(service.VIP); ok && slices.Contains(vip.Nodes, node.Name) {
			served = append(served, service)
		}
	}
	return served
}

func nodeNames(cfg *config.Config) string {
	names := make(map[string]bool)
	for _, n := range cfg.Nodes {
		names[n.Name] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}
