package discovery

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Candidate is one way by which a container might be reached.
type Candidate struct {
	Where   string         // network "web", or published port 0.0.0.0:32768
	Address netip.AddrPort // invalid when it gives none
	Used    bool           // it is the one that Resolve chose
	Why     string         // why it is, or is not
}

// Candidates are the ways to reach c that [Resolve] weighs, in its order, with
// a word on each. At most one is used, and it has Resolve's address.
func Candidates(c Container, want Want) []Candidate {
	asked, reason, _ := parseLabels(c)
	if reason != "" {
		return nil
	}
	c, want = c.speaking(want)
	chosen, refused, _ := locate(c, want, asked)
	p := place{c: c, want: want, port: cmp.Or(want.Port, asked.port)}
	if p.port == 0 && len(c.Exposed) == 1 {
		p.port = c.Exposed[0]
	}
	switch {
	case p.port == 0:
		return nil
	case c.HostMode:
		address, _, detail := p.onHost(p.port)
		return []Candidate{{"the host's own network", address, address.IsValid(), cmp.Or(detail, "network mode host")}}
	case c.NoNetwork:
		return nil
	}
	named := cmp.Or(asked.network, want.Network)
	var list []Candidate
	for _, a := range c.Networks {
		one := Candidate{Where: fmt.Sprintf("network %.40q", a.Name), Why: p.standing(a)}
		if p.isDirect(a) && a.address().IsValid() {
			one.Address = netip.AddrPortFrom(a.address(), p.port)
		}
		if named != "" && a.Name != named {
			one.Address, one.Why = netip.AddrPort{}, fmt.Sprintf("%s chooses %.40q", chooser(asked), named)
		}
		list = append(list, one)
	}
	list = append(list, p.publications()...)
	list = append(list, p.proxied(asked, refused)...)
	return mark(list, chosen)
}

func chooser(asked preferences) string {
	if asked.network != "" {
		return "label vipilot.network"
	}
	return "the service's network"
}

// standing says whether containers on a are reached by their own addresses.
func (p place) standing(a Attachment) string {
	said, ok := p.want.Direct[a.Name]
	switch {
	case !a.address().IsValid():
		return "it has given the container no address"
	case ok:
		return fmt.Sprintf("declared direct: %v", said)
	case isDirectDriver(a.Driver):
		return fmt.Sprintf("driver %.20s puts containers on the wire", a.Driver)
	case a.Driver == "bridge" && p.want.Local:
		return "a bridge of this node's own engine"
	case a.Driver == "bridge":
		return "a bridge inside another machine, not declared direct"
	}
	return fmt.Sprintf("driver %.20q, not declared direct", a.Driver)
}

// publications are the published ports, those of the wanted port first.
func (p place) publications() []Candidate {
	rows := slices.Clone(p.c.Published)
	slices.SortStableFunc(rows, func(a, b Published) int {
		other := func(b Published) int { return min(1, max(int(b.Port)-int(p.port), int(p.port)-int(b.Port))) }
		return cmp.Or(other(a)-other(b), a.rank()-b.rank(), cmp.Compare(a.HostPort, b.HostPort))
	})
	var list []Candidate
	for _, b := range rows {
		at := b.HostIP
		if !at.IsValid() {
			at = netip.IPv4Unspecified()
		}
		one := Candidate{Where: "published port " + netip.AddrPortFrom(at, b.HostPort).String()}
		switch {
		case b.HostPort == 0:
			continue
		case b.Port != p.port:
			one.Why = fmt.Sprintf("leads to port %d, not %d", b.Port, p.port)
		case b.isWildcard():
			one.Address, _, one.Why = p.onHost(b.HostPort)
			one.Why = cmp.Or(one.Why, fmt.Sprintf("port %d on every address of the host", p.port))
		case b.HostIP.IsLoopback() && !p.want.Local:
			one.Why = "only the host itself reaches its loopback"
		default:
			one.Address, one.Why = netip.AddrPortFrom(b.HostIP, b.HostPort), fmt.Sprintf("port %d on one address of the host", p.port)
		}
		same := func(o Candidate) bool { return o.Address.IsValid() && o.Address == one.Address }
		if !slices.ContainsFunc(list, same) { // one -p gives a row for each family
			list = append(list, one)
		}
	}
	return list
}

// mark finds the chosen one, and says of the others that would do why they
// were not.
func mark(list []Candidate, chosen netip.AddrPort) []Candidate {
	for i := range list {
		one := &list[i]
		switch {
		case !one.Address.IsValid():
		case one.Address == chosen:
			one.Used = true
			chosen = netip.AddrPort{}
		case slices.ContainsFunc(list[:i], func(o Candidate) bool { return o.Used }):
			one.Why += "; another way comes first"
		}
	}
	return list
}
