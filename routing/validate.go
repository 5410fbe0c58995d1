package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DefaultHoldTime is used where a peer names none.
const DefaultHoldTime = 9 * time.Second

// passwordForm is what needs no quoting in FRR's words.
var passwordForm = regexp.MustCompile(`^[!-~]*$`)

// maxPassword is the longest key the kernel takes for RFC 2385.
const maxPassword = 80

// Validate names every fault of c at once. A Config without an ASN is valid as
// long as it wants nothing.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.ASN == 0 && len(c.Peers)+len(c.Prefixes) > 0 {
		fault("asn: is 0, but there are peers or prefixes")
	}
	if c.ASN != 0 && (!c.RouterID.Is4() || c.RouterID.IsUnspecified()) {
		fault("router_id: %q is not an IPv4 address", c.RouterID)
	}
	if c.GracefulRestart < 0 || c.GracefulRestart > 4095*time.Second {
		fault("graceful_restart: %s is not between 0s and 4095s", c.GracefulRestart)
	}
	names, addresses := map[string]bool{}, map[netip.Addr]bool{}
	for _, p := range c.Peers {
		if p.Export.Prepend > 0 && p.ASN == c.ASN {
			fault("peer %q: prepend: it has our own ASN %d and would take the path for a loop", p.Name, c.ASN)
		}
		if names[p.Name] || addresses[p.Address] {
			fault("peer %q: its name or address %s is used twice", p.Name, p.Address)
		}
		names[p.Name], addresses[p.Address] = true, true
		faults = append(faults, p.validate()...)
	}
	faults = append(faults, c.validatePrefixes(c.Prefixes)...)
	if c.OSPF != nil {
		faults = append(faults, c.OSPF.validate()...)
		faults = append(faults, c.validatePrefixes(c.OSPF.Prefixes)...)
	}
	return errors.Join(faults...)
}

func (c Config) validatePrefixes(list []Prefix) (faults []error) {
	known := make(map[netip.Prefix]bool, len(list))
	for _, p := range list {
		if known[p.Prefix] {
			faults = append(faults, fmt.Errorf("prefix %s: is there twice", p.Prefix))
		}
		known[p.Prefix] = true
		faults = append(faults, p.validate(c)...)
	}
	return faults
}

// interfaceForm is what the kernel and FRR's parser both take as a name.
var interfaceForm = regexp.MustCompile(`^[A-Za-z0-9_.:@-]{1,15}$`)

func (o OSPF) validate() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("ospf: "+format, args...)) }
	if !o.RouterID.Is4() || o.RouterID.IsUnspecified() {
		fault("router_id: %q is not an IPv4 address", o.RouterID)
	}
	if !o.Area.Is4() {
		fault("area: %q is not an area", o.Area)
	}
	for _, i := range o.Interfaces {
		if !interfaceForm.MatchString(i.Name) {
			fault("interface: %q is not a name", i.Name)
		}
		if i.Address.IsValid() && !i.Address.Is4() {
			fault("interface %s: address: %s is not IPv4", i.Name, i.Address)
		}
	}
	for name, d := range map[string]time.Duration{"hello_interval": o.HelloInterval, "dead_interval": o.DeadInterval} {
		if d < time.Second || d > 65535*time.Second || d%time.Second != 0 {
			fault("%s: %s is not a whole number of seconds from 1s to 65535s", name, d)
		}
	}
	if !passwordForm.MatchString(o.Password) || len(o.Password) > 16 {
		fault("password: not up to 16 printable characters without spaces")
	}
	return append(faults, o.BFD.validate("ospf")...)
}

func (b BFD) validate(of string) []error {
	switch {
	case b == BFD{}:
		return nil
	case b.Interval < 10*time.Millisecond || b.Interval > 60*time.Second || b.Interval%time.Millisecond != 0:
		return []error{fmt.Errorf("%s: bfd.interval: %s is not a whole number of milliseconds from 10ms to 60s", of, b.Interval)}
	case b.Multiplier < 2:
		return []error{fmt.Errorf("%s: bfd.multiplier: %d is less than 2", of, b.Multiplier)}
	}
	return nil
}

func (p Peer) validate() (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("peer %q: "+format, append([]any{p.Name}, args...)...))
	}
	if p.Name == "" {
		fault("has no name")
	}
	if !usable(p.Address) {
		fault("address: %q is not the address of a router", p.Address)
	}
	if p.ASN == 0 {
		fault("asn: is 0")
	}
	if p.LocalAddress.IsValid() && (!usable(p.LocalAddress) || p.LocalAddress.Is4() != p.Address.Is4()) {
		fault("local address: %s cannot be the source of a session to %s", p.LocalAddress, p.Address)
	}
	if p.LocalAddress6.IsValid() && (!usable(p.LocalAddress6) || p.LocalAddress6.Is4()) {
		fault("local address6: %s is not a usable IPv6 address", p.LocalAddress6)
	}
	if len(p.Password) > maxPassword || strings.ContainsRune(p.Password, 0) {
		fault("password: longer than %d bytes or with a NUL byte, TCP MD5 takes neither", maxPassword)
	}
	if p.Multihop > 0 && p.TTLSecurity {
		fault("multihop: cannot be together with ttl_security, which wants the router on the wire")
	}
	for _, text := range p.Export.Communities {
		if _, err := ParseCommunity(text); err != nil {
			fault("%v", err)
		}
	}
	faults = append(faults, p.BFD.validate(fmt.Sprintf("peer %q", p.Name))...)
	if h := p.HoldTime; h != 0 && (h < 3*time.Second || h > 65535*time.Second || h%time.Second != 0) {
		fault("hold_time: %s is not a whole number of seconds from 3s to 65535s", h)
	}
	return faults
}

func (p Prefix) validate(c Config) (faults []error) {
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("prefix %s: "+format, append([]any{p.Prefix}, args...)...))
	}
	if !p.Prefix.IsValid() || p.Prefix.Addr().Is4In6() || p.Prefix.Masked() != p.Prefix {
		fault("is not a prefix in canonical form")
	}
	for _, text := range p.Communities {
		if _, err := ParseCommunity(text); err != nil {
			fault("%v", err)
		}
	}
	for _, peer := range c.Peers {
		if p.AsStandby().Prepend > 0 && peer.ASN == c.ASN {
			fault("prepend: peer %q has our own ASN %d and would take the path for a loop; use med", peer.Name, c.ASN)
		}
	}
	return faults
}

// Community is a standard community (RFC 1997; C unused) or a large one (RFC 8092).
type Community struct {
	Large   bool
	A, B, C uint32
}

// ParseCommunity reads "65010:100" or "65010:1:2".
func ParseCommunity(text string) (Community, error) {
	parts := strings.Split(text, ":")
	bits := 16
	if len(parts) == 3 {
		bits = 32
	}
	if len(parts) != 2 && len(parts) != 3 {
		return Community{}, fmt.Errorf("community %q: want a:b (16 bits each) or a:b:c (32 bits each)", text)
	}
	var n [3]uint32
	for i, part := range parts {
		v, err := strconv.ParseUint(part, 10, bits)
		if err != nil {
			return Community{}, fmt.Errorf("community %q: %q is not a number of %d bits", text, part, bits)
		}
		n[i] = uint32(v)
	}
	return Community{Large: len(parts) == 3, A: n[0], B: n[1], C: n[2]}, nil
}

func usable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast()
}
