package discovery

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// locate finds the one address at which c is reached (contract section 4), or
// the reason and a sentence why there is none or more than one.
func locate(c Container, want Want, asked preferences) (netip.AddrPort, Reason, string) {
	port := cmp.Or(want.Port, asked.port)
	if port == 0 {
		if len(c.Exposed) != 1 {
			return netip.AddrPort{}, AmbiguousPort, fmt.Sprintf("the container exposes %s; set backend.port, or label vipilot.port", countPorts(c.Exposed, want.protocol()))
		}
		port = c.Exposed[0]
	}
	p := place{c: c, want: want, port: port}
	switch {
	case c.HostMode:
		// The host's own network is the only one: there is nothing to choose.
		return p.onHost(port)
	case c.NoNetwork:
		return netip.AddrPort{}, NetworkNone, "the container has network mode none; give it a network"
	case len(c.Networks) == 0:
		return netip.AddrPort{}, NetworkNone, "the container is on no network of its own (disconnected, or sharing another container's); connect it to one, or select the container whose network it shares"
	}
	networks, reason, detail := p.chosen(asked)
	if reason != "" {
		return netip.AddrPort{}, reason, detail
	}
	return p.among(networks)
}

// place is a container as one service looks for it.
type place struct {
	c    Container
	want Want
	port uint16
}

// chosen narrows the container's networks to the one that its label, else the
// service, names. Without a name all of them remain.
func (p place) chosen(asked preferences) ([]Attachment, Reason, string) {
	name := cmp.Or(asked.network, p.want.Network)
	if name == "" {
		return p.c.Networks, "", ""
	}
	if i := slices.IndexFunc(p.c.Networks, func(a Attachment) bool { return a.Name == name }); i >= 0 {
		return p.c.Networks[i : i+1], "", ""
	}
	if asked.network != "" {
		return nil, InvalidLabel, fmt.Sprintf("label vipilot.network=%.40q names a network the container is not on (it is on %s); docker network connect it, or correct the label and recreate the container", name, names(p.c.Networks))
	}
	return nil, NetworkNotDirect, fmt.Sprintf("the container is not on network %.40q that the service names (it is on %s); docker network connect it", name, names(p.c.Networks))
}

// among picks the one direct address on networks, else the published port.
func (p place) among(networks []Attachment) (netip.AddrPort, Reason, string) {
	var direct []Attachment
	for _, a := range networks {
		if p.isDirect(a) {
			direct = append(direct, a)
		}
	}
	switch len(direct) {
	case 0:
		return p.published(networks)
	case 1:
		if ip := direct[0].address(); ip.IsValid() {
			return netip.AddrPortFrom(ip, p.port), "", ""
		}
		return netip.AddrPort{}, NetworkNotDirect, fmt.Sprintf("network %.40q has given the container no address", direct[0].Name)
	}
	return netip.AddrPort{}, AmbiguousNetwork, fmt.Sprintf("the container can be reached on each of %s; set backend.network, or label vipilot.network", names(direct))
}

// isDirect reports whether the node reaches container addresses on a: what the
// configuration says, else what the driver is known for.
func (p place) isDirect(a Attachment) bool {
	if said, ok := p.want.Direct[a.Name]; ok {
		return said
	}
	return isDirectDriver(a.Driver) || p.want.Local && a.Driver == "bridge"
}

// isDirectDriver reports whether a driver puts containers on a network that
// other machines are on too.
func isDirectDriver(driver string) bool {
	switch driver {
	case "macvlan", "ipvlan", "weave", "weavemesh":
		return true
	}
	return strings.HasPrefix(driver, "weaveworks/net-plugin")
}

// carriesPublished reports whether Docker can publish ports on a: macvlan and
// its like bypass the host.
func (a Attachment) carriesPublished() bool { return !isDirectDriver(a.Driver) }

// address is the container's IPv4 address on a, else its IPv6 address.
func (a Attachment) address() netip.Addr {
	if a.IPv4.IsValid() {
		return a.IPv4
	}
	return a.IPv6
}

// published finds the published port by which one of networks is reached.
func (p place) published(networks []Attachment) (netip.AddrPort, Reason, string) {
	if !slices.ContainsFunc(networks, Attachment.carriesPublished) {
		return netip.AddrPort{}, NetworkNotDirect, fmt.Sprintf("%s is declared direct: false, and ports cannot be published there; connect the container to a bridge and publish %s, or remove direct: false", names(networks), p.portName())
	}
	rows := slices.DeleteFunc(slices.Clone(p.c.Published), func(b Published) bool { return b.Port != p.port || b.HostPort == 0 || !p.coversRange(b) })
	if len(rows) == 0 {
		return p.unpublished(networks)
	}
	best := slices.MinFunc(rows, func(a, b Published) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.HostPort, b.HostPort), a.HostIP.Compare(b.HostIP))
	})
	switch {
	case best.isWildcard():
		return p.onHost(best.HostPort)
	case best.HostIP.IsLoopback() && !p.want.Local:
		return netip.AddrPort{}, PublishedOnLoopback, fmt.Sprintf("port %s is published on %v only, which other machines cannot reach; publish it on the host's address (-p %s)", p.portName(), best.HostIP, p.flag())
	}
	return netip.AddrPortFrom(best.HostIP, best.HostPort), "", ""
}

// unpublished explains why nothing is left to reach the container by.
func (p place) unpublished(networks []Attachment) (netip.AddrPort, Reason, string) {
	reason := NetworkNotDirect
	i := slices.IndexFunc(networks, func(a Attachment) bool { return a.Driver == "bridge" })
	if i >= 0 {
		reason = PortNotPublished
	}
	a := networks[max(i, 0)]
	reach := "its addresses"
	if a.Subnet.IsValid() {
		reach = a.Subnet.String()
	}
	how := "-p " + p.flag()
	if p.c.Task != nil {
		how = fmt.Sprintf("docker service update --publish-add mode=host,target=%d", p.port)
		if p.want.UDP {
			how += ",protocol=udp"
		}
	}
	return netip.AddrPort{}, reason, fmt.Sprintf("port %s is not published; publish it (%s), or declare networks.%.40s.direct: true if this node can route to %s",
		p.portName(), how, a.Name, reach)
}

// onHost is a port of the host itself. Without a declared address only this
// node's own engine can be reached, by loopback.
func (p place) onHost(port uint16) (netip.AddrPort, Reason, string) {
	switch {
	case p.want.HostAddress.IsValid():
		return netip.AddrPortFrom(p.want.HostAddress, port), "", ""
	case p.want.Local:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port), "", ""
	}
	if p.c.Task != nil {
		return netip.AddrPort{}, PortNotPublished, fmt.Sprintf("port %d of node %.60q would serve, but the managers know no address of it; docker swarm join --advertise-addr gives it one", port, p.want.Host)
	}
	return netip.AddrPort{}, PortNotPublished, fmt.Sprintf("port %d of host %s would serve, but its address is not known; set hosts.%s.address", port, p.want.Host, p.want.Host)
}

// isWildcard reports whether b is published on every address of the host.
func (b Published) isWildcard() bool { return !b.HostIP.IsValid() || b.HostIP.IsUnspecified() }

// rank orders several publications of one port: every address before one
// address before loopback, IPv4 before IPv6. The rows that Docker writes for
// the two families of one -p are so one candidate.
func (b Published) rank() int {
	rank := 2
	switch {
	case b.isWildcard():
		rank = 0
	case b.HostIP.IsLoopback():
		rank = 4
	}
	if b.HostIP.Is6() && !b.HostIP.Is4In6() {
		rank++
	}
	return rank
}

// names lists networks for a person.
func names(networks []Attachment) string {
	var quoted []string
	for _, a := range networks {
		quoted = append(quoted, fmt.Sprintf("%.40q", a.Name))
	}
	return strings.Join(quoted, ", ")
}

// countPorts lists ports for a person, without end only up to a few.
func countPorts(ports []uint16, protocol string) string {
	const few = 6
	protocol = strings.ToUpper(protocol)
	switch {
	case len(ports) == 0:
		return "no " + protocol + " port"
	case len(ports) > few:
		return fmt.Sprintf("%d %s ports", len(ports), protocol)
	}
	return fmt.Sprintf("%d %s ports %v", len(ports), protocol, ports)
}
