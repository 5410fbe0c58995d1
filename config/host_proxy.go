package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// HostProxy is the reverse proxy on an application host, through which
// containers are reached that publish nothing.
type HostProxy struct {
	Address netip.Addr // where the nodes reach it; the host's address by default
	Port    uint16
}

// AddrPort is the one place the proxy listens at.
func (p HostProxy) AddrPort() netip.AddrPort { return netip.AddrPortFrom(p.Address, p.Port) }

func readHostProxy(v value) *HostProxy {
	var p HostProxy
	object([]value{v}, keys{
		"port":    into(&p.Port, asPort),
		"address": into(&p.Address, asServiceAddress),
	}, "port")
	return &p
}

// placeProxy fills in the proxy's address, and keeps it off the engine's port.
func (h *Host) placeProxy(v value) {
	p := h.Proxy
	if p == nil {
		return
	}
	if !v.has("address") {
		p.Address = h.Address
	}
	switch {
	case !p.Address.IsValid() && h.Docker.Scheme == "unix":
		v.faultf("the address of the proxy is not known").Hint = "set address, where the nodes reach it"
	case p.Address.IsValid() && (p.Address.IsLoopback() || p.Address.IsUnspecified()):
		v.faultf("the nodes cannot reach a proxy at %s", p.Address).Hint = "set address to the one they reach the host at"
	}
	if _, port, _ := net.SplitHostPort(h.Docker.Host); h.Docker.Host != "" && port == strconv.Itoa(int(p.Port)) {
		v.dig("port").faultf("port %d is the engine's", p.Port).Hint = "use another port, as 7080"
	}
}

// compareProxies wants every node to reach every proxy from its declared
// address, as a proxy listens to these alone.
func (l *loader) compareProxies() {
	for _, h := range l.cfg.Hosts {
		if h.Proxy == nil || !h.Proxy.Address.IsValid() {
			continue
		}
		at := l.declared[kindHost][h.Name].dig("proxy", "address")
		for _, n := range l.cfg.Nodes {
			if n.Address.IsValid() && n.Address.Is4() != h.Proxy.Address.Is4() {
				at.faultf("the proxy is at %s, which node %s cannot reach from %s: the families differ", h.Proxy.Address, n.Name, n.Address).
					Hint = "set address to one of the nodes' family"
				break
			}
		}
	}
}

// markTiered tells every backend whether its servers may share an address.
func (c *Config) markTiered() {
	if !slices.ContainsFunc(c.Hosts, func(h Host) bool { return h.Proxy != nil }) {
		return
	}
	for i := range c.Services {
		c.Services[i].Backend.Tiered = true
	}
}
