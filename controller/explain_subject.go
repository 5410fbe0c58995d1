package controller

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/status"
)

// subject is what a person typed, taken apart. Exactly one of addr, host and
// name says what kind it is.
type subject struct {
	text string     // as typed, without a password
	addr netip.Addr // an address, with port or without
	host string     // a URL's host, lower case, without a dot at its end
	name string     // anything else: a service, a container, a VIP, a bare host name
	tls  bool       // https
	port uint16     // 0 = not said
	path string     // of a URL, as it goes over the wire
}

// parseSubject never fails on a name: whether it is known is another question.
func parseSubject(text string) (subject, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return subject{}, errors.New("nothing to explain: name a container, a service, an address or a URL")
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return subject{}, fmt.Errorf("%.60q is no container, service, address or URL: it has unprintable characters", text)
	case strings.Contains(text, "://"):
		return parseURL(text)
	}
	s := subject{text: text}
	bare := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if prefix, err := netip.ParsePrefix(text); err == nil && prefix.IsSingleIP() {
		s.addr = prefix.Addr()
	} else if addr, err := netip.ParseAddr(bare); err == nil {
		s.addr = addr
	} else if both, err := netip.ParseAddrPort(text); err == nil {
		s.addr, s.port = both.Addr(), both.Port()
	} else {
		s.name = text
	}
	s.addr = s.addr.Unmap().WithZone("")
	return s, nil
}

func parseURL(text string) (subject, error) {
	u, err := url.Parse(text)
	if err != nil {
		return subject{}, errors.New("this is no URL: want http://HOST[:PORT]/PATH or https://…") // the error of Parse has the text, and a password in it
	}
	u.User = nil
	s := subject{text: u.String(), host: strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), path: u.EscapedPath(), tls: u.Scheme == "https", port: 80}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return subject{}, fmt.Errorf("%.20s URLs are not explained, only http and https; for a TCP service name it, or ADDRESS:PORT", u.Scheme)
	case s.host == "":
		return subject{}, fmt.Errorf("%.60q names no host: want http://HOST[:PORT]/PATH", s.text)
	case s.tls:
		s.port = 443
	}
	if u.Port() != "" {
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 {
			return subject{}, fmt.Errorf("port %.20q is none from 1 to 65535", u.Port())
		}
		s.port = uint16(port)
	}
	if s.path == "" {
		s.path = "/"
	}
	return s, nil
}

// resolved is what the asker's resolver says of a host name.
type resolved struct {
	asked     bool
	addresses []netip.Addr
	why       string // no address
}

func resolution(q status.Question) resolved {
	r := resolved{asked: len(q.Resolved) > 0 || q.Unresolved != "", why: q.Unresolved}
	for _, text := range q.Resolved {
		if addr, err := netip.ParseAddr(text); err == nil {
			r.addresses = append(r.addresses, addr.Unmap())
		}
	}
	return r
}

// thing tells the explanation of one thing that a subject may mean.
type thing func() status.Explanation

// find gives everything the subject means, the likeliest first.
func (x *explainer) find(s subject, dns resolved) []thing {
	switch {
	case s.addr.IsValid():
		return x.findAddress(s)
	case s.host != "":
		return x.findURL(s, dns)
	}
	if things := x.findName(s.name); len(things) > 0 {
		return things
	}
	if _, err := netip.ParsePrefix(s.name); err == nil {
		return nil // of several addresses
	}
	host, path, _ := strings.Cut(s.name, "/")
	host, port, _ := strings.Cut(host, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if port != "" && err != nil || host == "" {
		return nil
	}
	bare := subject{text: s.text, host: strings.TrimSuffix(strings.ToLower(host), "."), port: uint16(n), path: "/" + path}
	return x.findURL(bare, dns)
}

// findName looks for services, VIPs, hosts, containers and servers.
func (x *explainer) findName(name string) []thing {
	var things []thing
	if s, ok := x.cfg.Service(name); ok {
		things = append(things, func() status.Explanation { return x.service(s) })
	}
	if v, ok := x.cfg.VIP(name); ok {
		things = append(things, func() status.Explanation { return x.vip(v, 0) })
	}
	if h, ok := x.cfg.Host(name); ok {
		things = append(things, func() status.Explanation { return x.host(h) })
	}
	things = append(things, x.findContainers(func(p place, c discovery.Container) bool {
		bare := strings.TrimPrefix(name, "/")
		task := c.Task != nil && c.Name+"."+c.Task.ID == bare // as docker ps on the node calls it
		return c.Name == bare || task || p.called(c) == name || isIDPrefix(name, c.ID)
	})...)
	if len(things) > 0 {
		return things
	}
	return x.findMembers(func(service string, m Member) bool { // a server, as HAProxy's log calls it
		return m.Server == name || service+"/"+m.Server == name
	})
}

// isIDPrefix reports whether name is the beginning of a container's ID, long
// enough to be meant.
func isIDPrefix(name, id string) bool {
	return len(name) >= 4 && strings.HasPrefix(id, strings.ToLower(name))
}

func (x *explainer) findContainers(is func(place, discovery.Container) bool) []thing {
	var things []thing
	for _, p := range x.places {
		for _, c := range p.containers {
			if is(p, c) {
				things = append(things, func() status.Explanation { return x.container(p, c) })
			}
		}
	}
	return things
}

// findMembers gives the containers, or static servers, behind endpoints.
func (x *explainer) findMembers(is func(service string, m Member) bool) []thing {
	var things []thing
	type id struct{ swarm, host, id string }
	found := make(map[id]bool)
	for _, s := range x.cfg.Services {
		pool := x.want.Pools[s.Name]
		if pool == nil {
			continue
		}
		for _, m := range pool.Members {
			switch {
			case !is(s.Name, m):
			case m.Static || m.Mesh != "": // no container of its own
				things = append(things, func() status.Explanation { return x.static(s, m) })
			default:
				found[id{m.Swarm, m.Host, m.ID}] = true
			}
		}
	}
	return append(x.findContainers(func(p place, c discovery.Container) bool { return found[id{p.swarm, p.name, c.ID}] }), things...)
}

// findAddress looks for VIPs, endpoints, containers and hosts.
func (x *explainer) findAddress(s subject) []thing {
	var things []thing
	for _, v := range x.cfg.VIPs {
		if slices.Contains(v.Addresses, s.addr) {
			things = append(things, func() status.Explanation { return x.vip(v, s.port) })
		}
	}
	hosts := make(map[string]bool) // with this address
	for _, h := range x.cfg.Hosts {
		if h.Address == s.addr {
			hosts[h.Name] = true
			if s.port == 0 {
				things = append(things, func() status.Explanation { return x.host(h) })
			}
		}
	}
	if len(hosts) == 0 || s.port != 0 {
		things = append(things, x.findMembers(func(_ string, m Member) bool {
			return m.Address.Addr() == s.addr && (s.port == 0 || m.Address.Port() == s.port)
		})...)
	}
	if len(things) > 0 {
		return things
	}
	return x.findContainers(func(p place, c discovery.Container) bool {
		return slices.ContainsFunc(c.Networks, func(a discovery.Attachment) bool { return a.IPv4 == s.addr || a.IPv6 == s.addr }) ||
			hosts[p.host.Name] && slices.ContainsFunc(c.Published, func(p discovery.Published) bool { return p.HostPort == s.port })
	})
}

// unknown says that nothing is called so, and what is called nearly so.
func (x *explainer) unknown(s subject) (reason string, guesses []string) {
	if s.addr.IsValid() {
		for _, n := range x.cfg.Nodes {
			if n.Address == s.addr {
				return fmt.Sprintf("%s is the load-balancer node %s itself; services are reached at VIPs, see vipilot status", s.addr, n.Name), nil
			}
		}
		where := s.addr.String()
		if s.port != 0 {
			where = netip.AddrPortFrom(s.addr, s.port).String()
		}
		return where + " is no VIP, no endpoint, no container and no host that " + x.node.Name + " knows", nil
	}
	if s.host != "" {
		return fmt.Sprintf("no service on any VIP answers to host %s", s.host), config.Nearest(s.host, x.hostNames(), maxGuesses)
	}
	var names []string
	for _, one := range x.cfg.Services {
		names = append(names, one.Name)
	}
	for _, one := range x.cfg.VIPs {
		names = append(names, one.Name)
	}
	for _, p := range x.places {
		names = append(names, p.name)
		for _, c := range p.containers {
			if strings.Contains(s.name, "/") {
				names = append(names, p.called(c))
			} else {
				names = append(names, c.Name)
			}
		}
	}
	names = append(names, x.hostNames()...)
	return fmt.Sprintf("no service, container, VIP, host or site is called %q here", s.name), config.Nearest(s.name, names, maxGuesses)
}

// hostNames are the names that services answer to.
func (x *explainer) hostNames() []string {
	var names []string
	for _, l := range x.listeners {
		for _, r := range slices.Concat(l.Routes, l.Redirects) {
			if r.Host != "" {
				names = append(names, r.Host)
			}
		}
	}
	return names
}
