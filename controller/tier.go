package controller

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
)

// Tier is what a decision for the reverse proxy of a host depends on besides
// the rest. It is never changed.
type Tier struct {
	Certificate []byte // PEM, chain and key, of the proxy's own
}

// tierIdle is the least time that a session through a tier may be silent: the
// nodes before it end sessions, it does not.
const tierIdle = time.Hour

// token names an endpoint in a tier, and in a cookie: it says nothing about it.
func token(e discovery.Endpoint) string {
	sum := sha256.Sum256([]byte(e.ID + " " + e.Name + " " + e.Address.String()))
	return hex.EncodeToString(sum[:8])
}

// viaName is how a node asks a tier for the endpoint of a service.
func viaName(s config.Service, e discovery.Endpoint) string { return token(e) + "." + s.Name }

// pinsByName reports whether cookies hold the names of servers, as their
// addresses may be the same.
func pinsByName(s config.Service) bool { return s.Backend.Tiered && s.Backend.StickyCookie != "" }

// atHost is cfg as the proxy of a host sees it: its own engine, all services,
// no VIP and no router. What the nodes think of the host is theirs.
func atHost(cfg *config.Config, name string) (*config.Config, error) {
	host, ok := cfg.Host(name)
	if !ok {
		var names []string
		for _, h := range cfg.Hosts {
			names = append(names, h.Name)
		}
		return nil, fmt.Errorf("host %q is not declared (declared: %s); declare it under hosts: or start with another --host", name, strings.Join(names, ", "))
	}
	if host.Proxy == nil {
		return nil, fmt.Errorf("host %q has no proxy; set hosts.%s.proxy", name, name)
	}
	host.Drain, host.Swarm = false, false
	narrow := *cfg
	narrow.Hosts = []config.Host{host}
	narrow.VIPs, narrow.Routing = nil, config.Routing{}
	narrow.Services = slices.DeleteFunc(slices.Clone(cfg.Services), func(s config.Service) bool { return s.UDP != nil }) // it does not see them
	return &narrow, nil
}

// adoptTier forgets everything, as [planner.adopt] does.
func (p *planner) adoptTier(in Input) error {
	if len(in.Config.Hosts) != 1 || in.Config.Hosts[0].Name != in.Node || in.Config.Hosts[0].Proxy == nil {
		return fmt.Errorf("the configuration is not the one of host %q alone", in.Node)
	}
	*p = planner{
		config: in.Config, tier: in.Tier,
		selection: newSelection(in.Config.Services),
		direct:    direct(in.Config),
		views:     make(map[string]*view),
		pools:     make([]*pool, len(in.Config.Services)),
		named:     make(map[string]*Pool, len(in.Config.Services)),
		backends:  make([]*haproxy.Backend, len(in.Config.Services)),
	}
	return nil
}

// name is whom the planner decides for.
func (p *planner) name() string {
	if p.tier != nil {
		return p.config.Hosts[0].Name
	}
	return p.node.Name
}

// staticServers are the servers that the configuration names: the nodes reach
// them without a tier.
func (p *planner) staticServers(s config.Service) []config.StaticServer {
	if p.tier != nil {
		return nil
	}
	return s.Backend.Servers
}

// keepFronted leaves the endpoints that are reached through the host's proxy.
func (v *view) keepFronted() {
	for i, members := range v.members {
		members = slices.DeleteFunc(members, func(m Member) bool { return !m.Via.IsValid() })
		for j := range members {
			members[j].Server = token(members[j].Endpoint)
		}
		v.members[i] = members
	}
	clear(v.mesh)
}

// wantBehind turns the members of a service into the servers behind the gate.
// They are ready as long as the container is there: what has passed the gate
// may finish.
func wantBehind(service config.Service, members []Member) *haproxy.Backend {
	b := service.Backend
	idle := idleOf(b)
	want := &haproxy.Backend{
		Name: service.Name, Mode: haproxy.TCP, Place: haproxy.BehindIt, ProxyProtocol: haproxy.ProxyVersion(b.ProxyProtocol),
		Connect: b.Timeouts.Connect, Server: idle, Tunnel: idle,
	}
	if want.TLS = wantBackendTLS(service); want.TLS != nil && want.TLS.ServerName == "" {
		want.TLS.ServerName = checkHost(service) // the request's own is not seen here
	}
	if service.HTTP != nil && b.Check != nil { // a check to dial with: the gate has none but TCP's
		want.Check = haproxy.Check{Host: checkHost(service), Path: b.Check.Path}
	}
	for _, m := range members {
		if m.Answered {
			want.Servers = append(want.Servers, haproxy.Server{Name: m.Server, Address: m.Address, State: haproxy.Ready})
		}
	}
	return want
}

// idleOf is how long a session of a service may be silent.
func idleOf(b config.Backend) time.Duration {
	return max(tierIdle, b.Timeouts.Client, b.Timeouts.Server, b.Timeouts.Tunnel)
}

// wantTier is HAProxy's wanted state: the backends of d, and the gate to them.
func (p *planner) wantTier(d *Desired) haproxy.Config {
	gate := &haproxy.Backend{Name: haproxy.Gate, Mode: haproxy.TCP, Place: haproxy.AtGate}
	tier := &haproxy.Tier{Bind: p.config.Hosts[0].Proxy.AddrPort(), Certificate: p.tier.Certificate, Idle: tierIdle}
	for _, node := range p.config.Nodes {
		tier.Nodes = append(tier.Nodes, node.Address)
	}
	slices.SortFunc(tier.Nodes, netip.Addr.Compare)
	backends := []*haproxy.Backend{gate}
	for _, service := range p.selection.services {
		pool := d.Pools[service.Name]
		backends = append(backends, pool.Backend)
		tier.Idle = max(tier.Idle, idleOf(service.Backend))
		for _, m := range pool.Members {
			if m.Answered && !m.ByHand {
				gate.Servers = append(gate.Servers, haproxy.Server{Name: viaName(service, m.Endpoint), Address: m.Address, State: serverState(m)})
			}
		}
	}
	gate.Server, gate.Tunnel = tier.Idle, tier.Idle
	slices.SortFunc(gate.Servers, func(a, b haproxy.Server) int { return strings.Compare(a.Name, b.Name) })
	if p.gate != nil && reflect.DeepEqual(p.gate, gate) {
		backends[0] = p.gate
	}
	p.gate = backends[0]
	slices.SortFunc(backends, func(a, b *haproxy.Backend) int { return strings.Compare(a.Name, b.Name) })
	return haproxy.Config{Tier: tier, Backends: backends}
}

// gateHealth is the health of a tier's servers: what the gate says of them.
type gateHealth struct {
	from     *haproxy.BackendHealth
	verdicts haproxy.Verdicts
}

// of gives the same verdicts as long as the gate says the same.
func (g *gateHealth) of(all haproxy.Verdicts) haproxy.Verdicts {
	if from := all[haproxy.Gate]; g.verdicts == nil || g.from != from {
		g.from, g.verdicts = from, all.AtGate()
	}
	return g.verdicts
}
