package controller

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
	"github.com/vipilot/vipilot/vrrp"
)

// udpSchedulers are IPVS's words for ours.
var udpSchedulers = map[string]vrrp.Scheduler{
	"roundrobin": vrrp.WeightedRoundRobin, "leastconn": vrrp.WeightedLeastConn, "source": vrrp.MaglevHash,
}

// wantVirtual makes a virtual server for each address of a UDP service that
// has an endpoint of its family to take new clients.
func wantVirtual(cfg *config.Config, service config.Service, members []Member) []vrrp.VirtualServer {
	vip, _ := cfg.VIP(service.VIP)
	var all []vrrp.VirtualServer
	for _, a := range vip.Addresses {
		v := vrrp.VirtualServer{
			Service: service.Name, Address: netip.AddrPortFrom(a, service.UDP.Port), Scheduler: udpSchedulers[service.Backend.Balance],
			Persistence: service.Backend.StickySource.Round(time.Second), Interval: time.Second, Fall: 3,
		}
		if c := service.Backend.Check; c != nil {
			v.Interval, v.Fall = c.Interval, c.Fall
		}
		total := 0
		for _, m := range members {
			if !m.Address.IsValid() || m.Address.Addr().Is4() != a.Is4() {
				continue
			}
			if m.Backup {
				v.Backup = m.Address
				continue
			}
			r := vrrp.RealServer{Address: m.Address, Weight: m.Weight}
			if m.Drain || m.ByHand {
				r.Weight = 0
			}
			total += r.Weight
			v.Servers = append(v.Servers, r)
		}
		if total > 0 {
			all = append(all, v)
		}
	}
	return all
}

// giveUDP puts endpoints into the pool of a UDP service, as ready servers.
func (d *Desired) giveUDP(cfg *config.Config, service config.Service, endpoints []GivenEndpoint) {
	members := slices.Clone(d.Pools[service.Name].Members)
	for _, e := range endpoints {
		endpoint := discovery.Endpoint{Name: cmp.Or(e.Name, staticName(e.Address.String())), Address: e.Address, Weight: 100}
		if !slices.ContainsFunc(members, func(m Member) bool { return m.Address == e.Address }) {
			members = append(members, Member{Endpoint: endpoint, Server: serverName(service, endpoint), Answered: true})
		}
	}
	slices.SortFunc(members, byName)
	d.Pools[service.Name] = &Pool{Members: members, Rejected: d.Pools[service.Name].Rejected}
	d.VRRP.Virtual = slices.DeleteFunc(slices.Clone(d.VRRP.Virtual), func(v vrrp.VirtualServer) bool { return v.Service == service.Name })
	d.VRRP.Virtual = append(d.VRRP.Virtual, wantVirtual(cfg, service, members)...)
}

// virtualServers are those of all UDP services of the node.
func (p *planner) virtualServers() []vrrp.VirtualServer {
	var all []vrrp.VirtualServer
	for i, s := range p.selection.services {
		if s.UDP != nil && p.pools[i] != nil {
			all = append(all, wantVirtual(p.config, s, p.pools[i].Members)...)
		}
	}
	return all
}

// withoutUDP is backends less the places of services that HAProxy does not see.
func withoutUDP(backends []*haproxy.Backend) []*haproxy.Backend {
	if !slices.Contains(backends, nil) {
		return backends
	}
	return slices.DeleteFunc(slices.Clone(backends), func(b *haproxy.Backend) bool { return b == nil })
}

// balances reports whether a virtual server has an address of the VIP.
func balances(d *Desired, vip config.VIP) bool {
	return slices.ContainsFunc(d.VRRP.Virtual, func(v vrrp.VirtualServer) bool { return slices.Contains(vip.Addresses, v.Address.Addr()) })
}

// udpOf are the UDP services of a VIP.
func udpOf(cfg *config.Config, vip config.VIP) []string {
	var names []string
	for _, s := range cfg.Services {
		if s.VIP == vip.Name && s.UDP != nil {
			names = append(names, s.Name)
		}
	}
	return names
}

// observeUDP adds to HAProxy's verdicts those on the servers of UDP services:
// up is who is in the kernel's table.
func (l *loop) observeUDP() {
	var udp []config.Service
	if l.in.Config != nil && l.in.Tier == nil && l.plan.config == l.in.Config {
		for _, s := range l.plan.selection.services {
			if s.UDP != nil {
				udp = append(udp, s)
			}
		}
	}
	if len(udp) == 0 {
		l.in.NoUDP, l.udp = "", nil
		return
	}
	balance := l.election.Balance()
	l.in.NoUDP = ""
	if err := balance.Missing; err != nil {
		l.in.NoUDP = err.Error()
	}
	now := make(map[haproxy.ServerKey]haproxy.Health)
	for _, s := range udp {
		if pool := l.plan.named[s.Name]; pool != nil {
			vip, _ := l.in.Config.VIP(s.VIP)
			for _, m := range pool.Members {
				now[haproxy.ServerKey{Backend: s.Name, Server: m.Server}] = inTable(balance, vip, s.UDP.Port, m)
			}
		}
	}
	if l.udp == nil || !maps.Equal(now, l.udpFrom) {
		l.udp, l.udpFrom = haproxy.NewVerdicts(now), now
	}
	merged := maps.Clone(l.in.Health)
	if merged == nil {
		merged = make(haproxy.Verdicts)
	}
	maps.Copy(merged, l.udp)
	l.in.Health = merged
}

// whyDown says who found an endpoint of s down.
func (l *loop) whyDown(s config.Service) string {
	if s.UDP == nil {
		return "fails HAProxy's check"
	}
	return cmp.Or(l.in.NoUDP, "the kernel does not send to it: its check fails, or has not run yet")
}

// reportChecker is the keepalived of UDP services; nil where there are none.
func (l *loop) reportChecker() *status.Checker {
	if len(l.applied.want.VRRP.Virtual) == 0 {
		return nil
	}
	b := l.election.Balance()
	c := &status.Checker{State: running(b.Running), PID: b.PID, Reloads: b.Reloads, Error: text(cmp.Or(b.Missing, b.Err))}
	if b.Missing != nil && !b.Running {
		c.State = "off"
	}
	return c
}

// inTable is what the kernel's table says of m. A backup is there only while
// it is needed.
func inTable(b vrrp.Balance, vip config.VIP, port uint16, m Member) haproxy.Health {
	for _, a := range vip.Addresses {
		servers, carried := b.Weights[netip.AddrPortFrom(a, port)]
		if _, ok := servers[m.Address]; ok || carried && m.Backup {
			return haproxy.Up
		}
	}
	return haproxy.Down
}

// rangeOf is the rule of a service with a range of ports; otherwise Last is 0.
func rangeOf(s config.Service) config.TCP {
	if s.TCP == nil || s.TCP.Last == 0 {
		return config.TCP{}
	}
	return *s.TCP
}
