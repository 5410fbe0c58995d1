package routing

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// DefaultHoldTime is used where a peer names none.
const DefaultHoldTime = 9 * time.Second

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
		if names[p.Name] || addresses[p.Address] {
			fault("peer %q: its name or address %s is used twice", p.Name, p.Address)
		}
		names[p.Name], addresses[p.Address] = true, true
		faults = append(faults, p.validate()...)
	}
	prefixes := map[netip.Prefix]bool{}
	for _, p := range c.Prefixes {
		if prefixes[p.Prefix] {
			fault("prefix %s: is there twice", p.Prefix)
		}
		prefixes[p.Prefix] = true
		faults = append(faults, p.validate(c)...)
	}
	return errors.Join(faults...)
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
		if p.Prepend > 0 && peer.ASN == c.ASN {
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
