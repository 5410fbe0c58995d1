package controller

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/status"
	"github.com/vipilot/vipilot/vrrp"
)

// reporter turns the state into status reports. It remembers what it said of
// a service until the service's pool or a server's health changes.
type reporter struct {
	certificates certificateMemory
	last         *status.Report
	config       *config.Config
	services     []told // by index of the service in config
	named        map[string]status.Service
	hosts        map[string]counted
	nodes        map[string]status.Node // what others say of themselves
}

type told struct {
	pool   *Pool
	stale  string // which hosts were stale
	health *haproxy.BackendHealth
}

// counted is how many of a host's containers run.
type counted struct {
	first          *discovery.Container
	count, running int
}

// publish makes the report of this moment and emits what differs from the
// one before.
func (l *loop) publish(cause string) {
	r := l.makeReport()
	events := status.Diff(l.report.last, r, cause)
	l.report.last = r
	l.board.Publish(r)
	l.known.Store(l.facts(r))
	l.board.Emit(events...)
}

func (l *loop) makeReport() *status.Report {
	state, reachable := l.router.State()
	r := &status.Report{
		Node: l.in.Node, Version: l.opts.Version,
		Config:       l.reportConfig(),
		Components:   l.reportComponents(state),
		Hosts:        l.reportHosts(),
		VIPs:         l.reportVIPs(state, reachable),
		Services:     l.reportServices(),
		Certificates: l.reportCertificates(),
		Drained:      l.in.Drains.report(),
	}
	r.Stage = l.stage(r)
	r.Ready = l.in.Config != nil && l.applied.revision == l.in.Config.Revision && l.applied.refusal == nil &&
		l.applied.errs.join() == nil && !l.applied.behind && len(l.waiting) == 0 && r.Components.HAProxy.State == "running"
	for _, h := range r.Hosts {
		r.Ready = r.Ready && h.State != "connecting"
	}
	r.Nodes = l.reportNodes(r)
	return r
}

func (l *loop) reportConfig() status.Config {
	c := status.Config{Revision: l.applied.revision, Error: text(l.applied.refusal)}
	if !l.applied.at.IsZero() {
		at := l.applied.at
		c.AppliedAt = &at
	}
	if l.applied.refused != "" {
		refused := l.applied.refused
		c.Pending, c.PendingReason = &refused, status.Refused
	}
	if waiting := l.rollout.waiting; waiting != nil && l.applied.refusal == nil {
		why := l.rollout.why
		c.Pending, c.Error, c.PendingReason = &waiting.Revision, &why, l.rollout.reason()
	}
	if l.opts.Source != nil { // a newer one may be out of reach beside that
		if fault := l.opts.Source.Fault(); fault != nil && c.Error != nil {
			both := *c.Error + "\n" + fault.Error()
			c.Error = &both
		} else if fault != nil {
			c.Error = text(fault)
		}
	}
	return c
}

func (l *loop) reportComponents(state remote.State) status.Components {
	h, k, s := l.proxy.Status(), l.election.Status(), l.router.Status()
	c := status.Components{
		HAProxy: status.HAProxy{
			State: running(h.Running), PID: h.PID, Version: h.Version, Reloads: h.Reloads, ReloadCause: h.ReloadCause, OldWorkers: h.OldWorkers, RuntimeUpdates: h.RuntimeUpdates,
			Error: text(cmp.Or(l.applied.errs.proxy, h.Err)),
		},
		Keepalived: status.Keepalived{
			State: running(k.Running), PID: k.PID, Reloads: k.Reloads, Error: text(cmp.Or(l.applied.errs.election, k.Err)),
		},
		Speaker: status.Speaker{
			State: running(s.Running), PID: s.PID, Error: text(cmp.Or(l.applied.errs.router, l.applied.errs.addresses, s.Err)),
			Peers: make(map[string]status.Peer), Deaf: state.Deaf,
		},
	}
	if version := l.outdated(); version != "" && l.opts.Version != "" {
		c.Speaker.Outdated = fmt.Sprintf("the sentinel is of version %s: %s", version, cmp.Or(state.Stays, l.unrenewed, "it is about to be replaced"))
	}
	c.Keepalived.Checker = l.reportChecker()
	if len(l.applied.want.VRRP.Instances) == 0 && !k.Running {
		c.Keepalived.State = "off"
	}
	if l.in.Tier != nil { // it has none
		c.Keepalived.State, c.Speaker.State = "off", "off"
	}
	for name, p := range state.Peers {
		c.Speaker.Peers[name] = status.Peer{State: p.State, PrefixesAnnounced: p.PrefixesAnnounced, Error: p.Error, BFD: p.BFD}
	}
	c.FRR = reportFRR(state)
	if c.Speaker.Error == nil && state.Error != "" {
		c.Speaker.Error = &state.Error
	}
	return c
}

func running(yes bool) string {
	if yes {
		return "running"
	}
	return "stopped"
}

// text is an error as a report shows it.
func text(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	return &s
}

func (l *loop) reportHosts() map[string]status.Host {
	hosts := make(map[string]status.Host)
	if l.in.Config == nil {
		return hosts
	}
	for _, h := range l.in.Config.Hosts {
		s := l.in.Hosts[h.Name]
		one := status.Host{State: "connecting", Error: text(s.Err), Containers: l.report.count(h.Name, s.Containers)}
		switch {
		case s.Connected:
			one.State = "connected"
		case s.Err != nil:
			one.State = "unreachable"
		}
		if !s.Connected && !s.StaleSince.IsZero() {
			since := s.StaleSince
			one.StaleSince = &since
		}
		hosts[h.Name] = one
	}
	return hosts
}

func (l *loop) reportVIPs(state remote.State, reachable bool) map[string]status.VIP {
	vips := make(map[string]status.VIP)
	if l.in.Config == nil {
		return vips
	}
	for _, v := range l.in.Config.VIPs {
		one := status.VIP{HA: string(v.HA), Role: l.role(v, state), Announced: []string{}}
		var missing []netip.Addr
		for _, a := range v.Addresses {
			one.Addresses = append(one.Addresses, a.String())
			prefix := netip.PrefixFrom(a, a.BitLen())
			if slices.Contains(state.Announced, prefix) {
				one.Announced = append(one.Announced, prefix.String())
			} else {
				missing = append(missing, a)
			}
		}
		if v.Announce != nil && len(missing) > 0 {
			one.Reason = l.whyNot(v, one.Role, state, reachable, missing)
		}
		vips[v.Name] = one
	}
	return vips
}

// role is keepalived's for a VRRP VIP, and otherwise whether this node carries
// the address.
func (l *loop) role(v config.VIP, state remote.State) string {
	if !slices.Contains(v.Nodes, l.in.Node) {
		return "none"
	}
	if v.HA == config.VRRP {
		return string(cmp.Or(l.election.Role(v.Name), vrrp.Role("unknown")))
	}
	if v.HA == config.Anycast && l.applied.errs.addresses == nil || slices.Contains(state.Held, v.Addresses[0]) {
		return "active"
	}
	return "unknown"
}

// whyNot says why a VIP with an announce section is not announced here.
func (l *loop) whyNot(v config.VIP, role string, state remote.State, reachable bool, missing []netip.Addr) string {
	switch {
	case !slices.Contains(v.Nodes, l.in.Node):
		return "this node is not one of its nodes (" + strings.Join(v.Nodes, ", ") + ")"
	case l.applied.want.Silent[v.Name] != "":
		return l.applied.want.Silent[v.Name]
	case l.applied.errs.proxy != nil:
		return "HAProxy did not take the configuration"
	case !reachable:
		return "the sentinel does not answer"
	case !state.HAProxyUp:
		return "HAProxy does not run"
	case slices.Contains(l.in.Relieved, v.Name):
		return "no router hears this node; another node is to take the VIP"
	case role == string(vrrp.Backup) || role == string(vrrp.Fault):
		return "this node is " + role
	}
	for _, a := range missing {
		if !slices.Contains(state.Held, a) {
			return fmt.Sprintf("this node does not hold %s", a)
		}
	}
	return "not announced yet"
}

func (l *loop) reportServices() map[string]status.Service {
	if l.in.Config == nil {
		return make(map[string]status.Service)
	}
	r := &l.report
	if r.config != l.in.Config {
		r.config, r.services = l.in.Config, make([]told, len(l.in.Config.Services))
		r.named = make(map[string]status.Service, len(r.services))
	}
	stale := l.staleHosts()
	lost := l.staleSwarms()
	key := fmt.Sprint(stale, lost, l.in.NoUDP)
	own := sync.OnceFunc(func() { r.named = maps.Clone(r.named) }) // the last report has the old one
	for i, s := range l.in.Config.Services {
		now := told{l.applied.want.Pools[s.Name], key, l.in.Health[s.Name]}
		if r.services[i] == now && hostLabel(s) == "" { // the health of branches is not looked at here
			continue
		}
		own()
		r.services[i] = now
		if r.named[s.Name] = (status.Service{VIP: s.VIP, Endpoints: []status.Endpoint{}, Rejected: []status.Rejection{}}); now.pool != nil {
			r.named[s.Name] = l.reportService(s, now.pool, stale, lost)
		}
	}
	return r.named
}

// count gives the number of a host's containers that run.
func (r *reporter) count(host string, containers []discovery.Container) int {
	known := r.hosts[host]
	now := counted{running: known.running}
	if now.first, now.count = identity(containers); now == known {
		return known.running
	}
	now.running = 0
	for _, c := range containers {
		if c.State == discovery.Running {
			now.running++
		}
	}
	if r.hosts == nil {
		r.hosts = make(map[string]counted)
	}
	r.hosts[host] = now
	return now.running
}

func (l *loop) staleHosts() map[string]time.Time {
	stale := make(map[string]time.Time)
	for name, s := range l.in.Hosts {
		if !s.Connected && !s.StaleSince.IsZero() {
			stale[name] = s.StaleSince
		}
	}
	return stale
}

func (l *loop) reportService(s config.Service, pool *Pool, stale, lost map[string]time.Time) status.Service {
	r := status.Service{VIP: s.VIP, Endpoints: make([]status.Endpoint, 0, len(pool.Members)), Rejected: []status.Rejection{}}
	for _, m := range pool.Members {
		e := status.Endpoint{Name: m.Name, Address: m.target(), State: "ready", Branch: m.Branch}
		health := l.in.Health.Of(m.backend(s.Name), m.Server)
		if m.Via.IsValid() {
			e.Via = m.Via.String()
		}
		switch {
		case m.Drain:
			e.State, e.Reason = "drain", string(m.Reason)
		case !m.Answered:
			e.State, e.Reason = "starting", "has not answered yet"
		case m.Static && health == haproxy.Unknown:
			e.State, e.Reason = "starting", "HAProxy has not checked it yet"
		case health == haproxy.Down:
			e.State, e.Reason = "down", l.whyDown(s)
		case !lost[m.Swarm].IsZero():
			e.Reason = "stale: no manager of its Swarm can be asked"
		case !m.Static && m.Swarm == "" && !stale[m.Host].IsZero():
			e.Reason = "stale: host " + m.Host + " cannot be reached"
		}
		r.Endpoints = append(r.Endpoints, e)
	}
	for _, one := range pool.Rejected {
		r.Rejected = append(r.Rejected, status.Rejection{Name: one.Name, Reason: string(one.Reason), Detail: one.Detail})
	}
	return r
}
