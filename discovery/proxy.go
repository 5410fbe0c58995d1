package discovery

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// throughProxy is the address at which the host's own reverse proxy reaches a
// container that neither is on a direct network nor publishes the port: on its
// one bridge network. A port that its owner published, be it on loopback only,
// is not exposed another way. Without an address and a reason the proxy is no
// way at all.
func throughProxy(c Container, want Want, asked preferences) (netip.AddrPort, Reason, string) {
	p := place{c: c, want: want, port: cmp.Or(want.Port, asked.port)}
	if p.port == 0 && len(c.Exposed) == 1 {
		p.port = c.Exposed[0]
	}
	if !want.Proxy.IsValid() || p.port == 0 || c.HostMode || c.Task != nil || p.isPublished() {
		return netip.AddrPort{}, "", ""
	}
	networks, reason, _ := p.chosen(asked)
	if reason != "" {
		return netip.AddrPort{}, "", ""
	}
	bridges := slices.DeleteFunc(slices.Clone(networks), func(a Attachment) bool { return !a.isFronted() })
	switch len(bridges) {
	case 0:
		return netip.AddrPort{}, "", ""
	case 1:
		return netip.AddrPortFrom(bridges[0].address(), p.port), "", ""
	}
	return netip.AddrPort{}, AmbiguousNetwork, fmt.Sprintf("the host's proxy can reach the container on each of %s; set backend.network, or label vipilot.network", names(bridges))
}

// leavesProxy reports whether the proxy may be tried after this refusal.
func (r Reason) leavesProxy() bool { return r == PortNotPublished || r == NetworkNotDirect }

// isPublished reports whether the owner has published the port, anywhere.
func (p place) isPublished() bool {
	return slices.ContainsFunc(p.c.Published, func(b Published) bool { return b.Port == p.port && b.HostPort != 0 })
}

// isFronted reports whether a proxy on the host reaches containers on a.
func (a Attachment) isFronted() bool { return a.Driver == "bridge" && a.address().IsValid() }

// proxied is the way through the host's proxy, where it has one.
func (p place) proxied(asked preferences, refused Reason) []Candidate {
	if !p.want.Proxy.IsValid() {
		return nil
	}
	one := Candidate{Where: "the host's proxy " + p.want.Proxy.String()}
	inner, _, why := throughProxy(p.c, p.want, asked)
	switch {
	case inner.IsValid() && refused.leavesProxy():
		one.Address, one.Used, one.Why = inner, true, fmt.Sprintf("on to %s, which publishes nothing", inner)
	case refused == "":
		one.Why = "another way comes first"
	case p.isPublished():
		one.Why = "a published port is not exposed another way"
	default:
		one.Why = cmp.Or(strings.TrimSuffix(why, "; set backend.network, or label vipilot.network"), "it leads to containers on one bridge network of its host only")
	}
	return []Candidate{one}
}
