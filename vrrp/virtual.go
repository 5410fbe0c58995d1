package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/render"
)

// VirtualServer is one UDP port of one address, whose datagrams the kernel's
// IPVS gives to real servers with their destination translated (NAT):
// answers must come back through this node.
type VirtualServer struct {
	Service     string // for people
	Address     netip.AddrPort
	Scheduler   Scheduler
	Persistence time.Duration // how long a client's address stays with its server; whole seconds, 0 = not at all
	Interval    time.Duration // between checks of a server
	Fall        int           // failed checks before it is out; at least 2, as keepalived repeats one at least once
	Servers     []RealServer  // of the family of Address, at least one with a weight
	Backup      netip.AddrPort
}

// RealServer is one endpoint behind a virtual server.
type RealServer struct {
	Address netip.AddrPort
	Weight  int // 0..65535; 0 = clients it has stay, no new ones come
}

// Scheduler is how IPVS chooses, in its own words.
type Scheduler string

// The schedulers; mh keeps clients where they are when servers come and go.
const (
	WeightedRoundRobin Scheduler = "wrr"
	WeightedLeastConn  Scheduler = "wlc"
	MaglevHash         Scheduler = "mh"
)

// checkTimeout is how long a server may take to say that nobody listens. A
// UDP server need not answer what it does not understand, so silence is fine.
const checkTimeout = time.Second

// String names v as keepalived does.
func (v VirtualServer) String() string {
	return fmt.Sprintf("[%s]:udp:%d", v.Address.Addr(), v.Address.Port())
}

// virtualText is a virtual server as the template is filled with it.
type virtualText struct {
	Service, Scheduler string
	Address, Backup    string
	Persistence        int
	Interval, Timeout  string
	Retries            int
	Servers            []realText
}

type realText struct {
	Address string
	Weight  int
}

// renderVirtual writes the blocks of the virtual servers, nothing for none.
func renderVirtual(all []VirtualServer) ([]byte, error) {
	if len(all) == 0 {
		return nil, nil
	}
	var texts []virtualText
	for _, v := range slices.SortedFunc(slices.Values(all), func(a, b VirtualServer) int { return a.Address.Compare(b.Address) }) {
		texts = append(texts, v.text())
	}
	return render.Execute("virtual_servers.tmpl", texts)
}

func (v VirtualServer) text() virtualText {
	t := virtualText{
		Service: v.Service, Scheduler: string(v.Scheduler), Address: spaced(v.Address),
		Persistence: int(v.Persistence / time.Second), Interval: seconds(v.Interval), Timeout: seconds(checkTimeout),
		Retries: v.Fall - 1,
	}
	if v.Backup.IsValid() {
		t.Backup = spaced(v.Backup)
	}
	for _, r := range slices.SortedFunc(slices.Values(v.Servers), func(a, b RealServer) int { return a.Address.Compare(b.Address) }) {
		t.Servers = append(t.Servers, realText{spaced(r.Address), r.Weight})
	}
	return t
}

// spaced writes an address and a port as keepalived reads them.
func spaced(a netip.AddrPort) string { return fmt.Sprintf("%s %d", a.Addr(), a.Port()) }

// validateVirtual returns every reason why the virtual servers cannot be
// written; keepalived itself drops what it does not like and goes on.
func validateVirtual(all []VirtualServer) error {
	var faults []error
	seen := make(map[netip.AddrPort]string)
	for _, v := range all {
		if err := v.validate(); err != nil {
			faults = append(faults, fmt.Errorf("virtual server %s of %q: %w", v, v.Service, err))
		}
		if other, twice := seen[v.Address]; twice {
			faults = append(faults, fmt.Errorf("virtual server %s of %q: is also that of %q", v, v.Service, other))
		}
		seen[v.Address] = v.Service
	}
	return errors.Join(faults...)
}

func (v VirtualServer) validate() error {
	switch {
	case !namePattern.MatchString(v.Service):
		return errors.New("not a name keepalived can take")
	case !usable(v.Address):
		return errors.New("not an address and a port")
	case !slices.Contains([]Scheduler{WeightedRoundRobin, WeightedLeastConn, MaglevHash}, v.Scheduler):
		return fmt.Errorf("scheduler %q is none of wrr, wlc and mh", v.Scheduler)
	case v.Persistence < 0 || v.Persistence%time.Second != 0 || v.Persistence > 24*time.Hour:
		return fmt.Errorf("persistence %s must be whole seconds up to a day", v.Persistence)
	case v.Interval < 10*time.Millisecond || v.Interval > time.Hour || v.Fall < 2 || v.Fall > 100:
		return fmt.Errorf("checks every %s, out after %d: must be 10ms to 1h, and 2 to 100", v.Interval, v.Fall)
	case len(v.Servers) == 0:
		return errors.New("it has no server")
	}
	seen := make(map[netip.AddrPort]bool)
	total := 0
	for _, r := range v.Servers {
		total += r.Weight
		switch {
		case !usable(r.Address) || r.Address.Addr().IsMulticast() || r.Address.Addr().IsUnspecified():
			return fmt.Errorf("server %s: not an address and a port", r.Address)
		case r.Address.Addr().Is4() != v.Address.Addr().Is4():
			return fmt.Errorf("server %s: not of the family of the virtual server", r.Address)
		case r.Weight < 0 || r.Weight > 65535:
			return fmt.Errorf("server %s: weight %d is not within 0..65535", r.Address, r.Weight)
		case seen[r.Address]:
			return fmt.Errorf("server %s is there twice", r.Address)
		}
		seen[r.Address] = true
	}
	if total == 0 { // keepalived refuses the file
		return errors.New("no server takes new clients")
	}
	if v.Backup.IsValid() && (!usable(v.Backup) || v.Backup.Addr().Is4() != v.Address.Addr().Is4() || seen[v.Backup]) {
		return fmt.Errorf("backup %s must be another server of the same family", v.Backup)
	}
	return nil
}

func usable(a netip.AddrPort) bool { return plain(a.Addr()) && a.Port() != 0 && !linkLocal(a.Addr()) }

// linkLocal: such an address says nothing without an interface.
func linkLocal(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// parseIPVS reads /proc/net/ip_vs: the weights of the real servers that the
// kernel has, by virtual server, of UDP.
func parseIPVS(text string) map[netip.AddrPort]map[netip.AddrPort]int {
	table := make(map[netip.AddrPort]map[netip.AddrPort]int)
	var servers map[netip.AddrPort]int
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 2 && fields[0] == "UDP":
			servers = nil
			if at, ok := hexAddrPort(fields[1]); ok {
				servers = make(map[netip.AddrPort]int)
				table[at] = servers
			}
		case len(fields) >= 4 && fields[0] == "->" && servers != nil:
			weight := 0
			at, ok := hexAddrPort(fields[1])
			if _, err := fmt.Sscan(fields[3], &weight); ok && err == nil {
				servers[at] = weight
			}
		case len(fields) > 0 && fields[0] != "->":
			servers = nil // of another protocol
		}
	}
	return table
}

// hexAddrPort reads CB00710A:0035, or [2001:0db8:…]:0035: ports in hex both.
func hexAddrPort(text string) (netip.AddrPort, bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return netip.AddrPort{}, false
	}
	var port uint16
	if _, err := fmt.Sscanf(text[i+1:], "%04X", &port); err != nil {
		return netip.AddrPort{}, false
	}
	if inner, ok := strings.CutPrefix(text[:i], "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return netip.AddrPortFrom(a, port), err == nil
	}
	var v4 uint32
	if _, err := fmt.Sscanf(text[:i], "%08X", &v4); err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(v4 >> 24), byte(v4 >> 16), byte(v4 >> 8), byte(v4)}), port), true
}
