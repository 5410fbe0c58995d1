package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// parseAddress reads an address that one machine can have on a network.
func parseAddress(text string) (netip.Addr, *refusal) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			return addr, &refusal{"is a prefix, not an address", "write " + prefix.Addr().String()}
		}
		if _, _, err := net.SplitHostPort(text); err == nil {
			return addr, &refusal{"is not an IP address", "write the address alone, without a port"}
		}
		return addr, &refusal{"is not an IP address", ""}
	}
	return addr.Unmap(), checkUnicast(addr.Unmap())
}

func checkUnicast(addr netip.Addr) *refusal {
	switch {
	case addr.Zone() != "":
		return &refusal{"has a zone", "write the address alone"}
	case addr.IsUnspecified(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return &refusal{"is not the address of a machine", ""}
	}
	return nil
}

func asAddress(v value) (netip.Addr, bool) { return parsed("an IP address", parseAddress)(v) }

// asServiceAddress reads an address that other machines can reach.
func asServiceAddress(v value) (netip.Addr, bool) {
	return parsed("an IP address", func(text string) (netip.Addr, *refusal) {
		addr, why := parseAddress(text)
		if why == nil && (addr.IsLoopback() || addr.IsLinkLocalUnicast()) {
			why = &refusal{"cannot be reached from other machines", ""}
		}
		return addr, why
	})(v)
}

func asRouterID(v value) (netip.Addr, bool) {
	return parsed("a router ID", func(text string) (netip.Addr, *refusal) {
		addr, err := netip.ParseAddr(text)
		if err != nil || !addr.Is4() || addr.IsUnspecified() {
			return addr, &refusal{"is not a router ID", "write it like an IPv4 address"}
		}
		return addr, nil
	})(v)
}

// parseServer reads address:port or name:port.
func parseServer(text string) (StaticServer, *refusal) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		if addr, err := netip.ParseAddr(text); err == nil {
			addr = addr.Unmap() // whether it needs a port, the service knows
			return StaticServer{Address: netip.AddrPortFrom(addr, 0)}, checkUnicast(addr)
		}
		return StaticServer{}, &refusal{"is not address:port", "as in 10.77.0.40:5432 or [2001:db8::1]:5432"}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return StaticServer{}, &refusal{"has no port from 1 to 65535", ""}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		return StaticServer{Address: netip.AddrPortFrom(addr, uint16(n)), Port: uint16(n)}, checkUnicast(addr)
	}
	if looksNumeric(host) {
		return StaticServer{}, &refusal{"has no IP address", ""}
	}
	name, why := parseHost(host, false)
	return StaticServer{Host: name, Port: uint16(n)}, why
}

// looksNumeric is true of what was meant as an IPv4 address, such as 10.0.0.256:
// no top-level domain is all digits.
func looksNumeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, err := strconv.ParseUint(last, 10, 64)
	return err == nil
}
