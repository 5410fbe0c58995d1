package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
)

// tieredRetries is how often a connection is tried again where many servers
// share the proxy of a host. All of them refuse when that proxy ends, and for the
// seconds until checks have found out, HAProxy's own three may all meet it.
const tieredRetries = 10

// wantBackend turns the members of a service into HAProxy's servers. A member
// that has not answered yet is no server: no client is sent to a port nobody
// listens on. Nor is one that was drained by hand: HAProxy lets its sessions
// finish and removes it.
func wantBackend(service config.Service, members []Member) *haproxy.Backend {
	b := service.Backend
	want := &haproxy.Backend{
		Name: service.Name, Mode: haproxy.TCP,
		Drain: b.Drain, Balance: b.Balance, StickyCookie: b.StickyCookie, StickyName: pinsByName(service), MaxConn: b.MaxConn, Retries: b.Retries,
		StickySource: b.StickySource, SlowStart: b.SlowStart, ProxyProtocol: haproxy.ProxyVersion(b.ProxyProtocol),
		Connect: b.Timeouts.Connect, Server: b.Timeouts.Server, Queue: b.Timeouts.Queue, Tunnel: tunnelOf(service),
	}
	if want.Retries == nil && b.Tiered {
		tries := tieredRetries
		want.Retries = &tries
	}
	if service.HTTP != nil {
		want.Mode = haproxy.HTTP
	}
	want.TLS, want.Guard = wantBackendTLS(service), wantGuard(service)
	want.H2, want.Rules, want.Raw = b.H2, wantRules(service), texts(service.Raw)
	want.Split = splitOf(service)
	if b.Outlier != nil {
		want.Outlier = haproxy.Outlier{Errors: b.Outlier.Errors, Observe: b.Outlier.Observe}
	}
	if c := b.Check; c != nil {
		want.Check = haproxy.Check{Host: checkHost(service), Path: c.Path, Interval: c.Interval, Rise: c.Rise, Fall: c.Fall}
	}
	if service.TCP != nil && service.TCP.Last != 0 {
		want.Check.Port = b.Port
	}
	for _, m := range members {
		if !m.Answered || m.ByHand {
			continue
		}
		if want.Servers == nil {
			want.Servers = make([]haproxy.Server, 0, len(members))
		}
		server := haproxy.Server{
			Name: m.Server, Address: m.Address, Host: m.DNSName, Port: m.Port, Weight: m.Weight, Backup: m.Backup, Set: m.Set, State: serverState(m),
		}
		if want.Check.Port != 0 {
			server.Address = netip.AddrPortFrom(m.Address.Addr(), 0)
		}
		if m.Via.IsValid() {
			server.Address, server.Via, server.Source = m.Via, viaName(service, m.Endpoint), m.Source
		}
		want.Servers = append(want.Servers, server)
	}
	return want
}

// tunnelOf is how long a session that is no request may be silent, 0 = as long
// as HAProxy lets it. HAProxy asks its tunnel timeout alone about every session
// of TCP, so that the other two must speak through it.
func tunnelOf(service config.Service) time.Duration {
	t := service.Backend.Timeouts
	if t.Tunnel > 0 || service.TCP == nil {
		return t.Tunnel
	}
	if t.Client > 0 && t.Server > 0 {
		return min(t.Client, t.Server)
	}
	return max(t.Client, t.Server)
}

// serverState: a container that is stopping gets nothing new at all, a drained
// host keeps the clients whose cookie pins them.
func serverState(m Member) haproxy.ServerState {
	switch {
	case !m.Drain:
		return haproxy.Ready
	case m.Reason == discovery.HostDrained:
		return haproxy.Drain
	}
	return haproxy.Maint
}

// wantFrontends makes one frontend for each VIP and port, also where some TLS
// is ended and some is passed through.
func wantFrontends(cfg *config.Config, services []config.Service, obtained *Obtained) []haproxy.Frontend {
	type place struct {
		name string
		mode haproxy.Mode
	}
	found, secure := make(map[place]*haproxy.Frontend), make(map[*haproxy.Frontend]bool)
	at := func(s config.Service, port uint16, mode haproxy.Mode) *haproxy.Frontend {
		name := fmt.Sprintf("%s_%d", s.VIP, port)
		f := found[place{name, mode}]
		if f == nil {
			f = &haproxy.Frontend{Name: name, Mode: mode}
			vip, _ := cfg.VIP(s.VIP)
			for _, a := range vip.Addresses {
				f.Binds = append(f.Binds, haproxy.Bind{Address: a, Port: port})
			}
			found[place{name, mode}] = f
		}
		f.ClientTimeout = max(f.ClientTimeout, s.Backend.Timeouts.Client)
		f.Guarded = f.Guarded || s.HTTP != nil && guards(s.HTTP)
		return f
	}
	for _, s := range services {
		switch {
		case s.UDP != nil: // keepalived's
		case s.HTTP != nil:
			if f := addHTTP(s, at); f != nil {
				terminate(f, s, obtained)
				secure[f] = true
			}
		case len(s.TCP.SNI) > 0:
			f := at(s, s.TCP.Port, haproxy.TCP)
			f.AcceptProxy = union(f.AcceptProxy, s.TCP.AcceptProxy)
			for _, name := range s.TCP.SNI {
				f.Routes = append(f.Routes, haproxy.Route{Host: name, Backend: s.Name})
			}
		default:
			f := at(s, s.TCP.Port, haproxy.TCP)
			f.LastPort = s.TCP.Last
			f.Default, f.AcceptProxy = s.Name, s.TCP.AcceptProxy
		}
	}
	frontends := make([]haproxy.Frontend, 0, len(found))
	for here, f := range found {
		if secure[f] && len(f.Certificates) == 0 {
			continue // rather no answer than one in plain text
		}
		if ended := found[place{here.name, haproxy.HTTP}]; f.Mode == haproxy.TCP && ended != nil && len(ended.Certificates) > 0 {
			continue // it is a part of that one
		}
		if passed := found[place{here.name, haproxy.TCP}]; f.Mode == haproxy.HTTP && passed != nil {
			f.Passthrough, f.AcceptProxy = passed.Routes, passed.AcceptProxy
			f.ClientTimeout = max(f.ClientTimeout, passed.ClientTimeout)
		}
		finishTLS(f)
		frontends = append(frontends, *f)
	}
	slices.SortFunc(frontends, func(a, b haproxy.Frontend) int { return strings.Compare(a.Name, b.Name) })
	return frontends
}

// addHTTP puts a service on its plain port and, with TLS, on its TLS port,
// whose frontend it returns.
func addHTTP(s config.Service, at func(config.Service, uint16, haproxy.Mode) *haproxy.Frontend) *haproxy.Frontend {
	routes := httpRoutes(s)
	plain := at(s, s.HTTP.Port, haproxy.HTTP)
	tls := s.HTTP.TLS
	if tls == nil {
		plain.Routes = append(plain.Routes, routes...)
		return nil
	}
	if tls.ACME != "" {
		challengeRoutes(plain, s)
	}
	if tls.Redirect {
		plain.Redirects = append(plain.Redirects, routes...)
		plain.RedirectPort = tls.Port
	} else {
		plain.Routes = append(plain.Routes, routes...)
	}
	secure := at(s, tls.Port, haproxy.HTTP)
	secure.Routes = append(secure.Routes, routes...)
	return secure
}

func httpRoutes(s config.Service) []haproxy.Route {
	hosts := s.HTTP.Hosts
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	route := haproxy.Route{
		Backend: s.Name, KeepForwarded: len(s.HTTP.TrustedProxies) > 0,
		If: haproxy.When(s.HTTP.Methods, fields(s.HTTP.Headers)),
	}
	var routes []haproxy.Route
	for _, host := range hosts {
		for _, path := range s.HTTP.Paths {
			route.Host, route.Path = host, path
			routes = append(routes, route)
		}
	}
	return routes
}

// checkHost is the name an HTTP check asks for: the first that is no
// wildcard, so that applications that look at it answer.
func checkHost(service config.Service) string {
	if service.HTTP == nil {
		return ""
	}
	for _, host := range service.HTTP.Hosts {
		if !strings.HasPrefix(host, "*") {
			return host
		}
	}
	return ""
}

// union is a and what b has more; services that share a port share who may
// speak the PROXY protocol to it.
func union(a, b []netip.Prefix) []netip.Prefix {
	all := slices.Clone(a)
	for _, network := range b {
		if !slices.Contains(all, network) {
			all = append(all, network)
		}
	}
	return all
}
