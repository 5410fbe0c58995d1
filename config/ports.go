package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// portRange is a range of ports, both ends in it.
type portRange struct{ first, last uint16 }

func (r portRange) String() string { return fmt.Sprintf("%d-%d", r.first, r.last) }

// asPorts reads "30000-30100".
func asPorts(v value) (portRange, bool) {
	return parsed("a range of ports", func(text string) (portRange, *refusal) {
		first, last, cut := strings.Cut(text, "-")
		a, err := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		switch {
		case !cut || err != nil || err2 != nil || a == 0:
			return portRange{}, &refusal{"is not a range of ports from 1 to 65535", "as in 30000-30100"}
		case a >= b:
			return portRange{}, &refusal{"does not go up", "as in 30000-30100; one port is port: 30000"}
		}
		return portRange{uint16(a), uint16(b)}, nil
	})(v)
}

// settlePorts gives static servers of a range the port that is asked whether
// they live, and wants a port of all others.
func (s *Service) settlePorts(v value) {
	ranged := s.TCP != nil && s.TCP.Last != 0
	if ranged && s.Backend.Port == 0 {
		s.Backend.Port = s.TCP.Port
	}
	if ranged && (s.Backend.Port < s.TCP.Port || s.Backend.Port > s.TCP.Last) {
		v.dig("backend", "port").faultf("port %d is not within %d-%d", s.Backend.Port, s.TCP.Port, s.TCP.Last).
			Hint = "of a range it is the port that is asked whether a server lives"
	}
	if len(s.Backend.Servers) == 0 {
		return
	}
	places := v.dig("backend", "servers").list()
	for i := range s.Backend.Servers {
		server := &s.Backend.Servers[i]
		if i >= len(places) {
			break
		}
		place := places[i]
		if place.has("address") {
			place = place.dig("address")
		}
		switch {
		case ranged && server.Port != 0:
			place.faultf("has a port, and a range reaches every server at the port that the client used").Hint = "write the address alone"
		case ranged:
			server.Address, server.Port = netip.AddrPortFrom(server.Address.Addr(), s.Backend.Port), s.Backend.Port
		case server.Port == 0:
			place.faultf("%s has no port", quote(server.Address.Addr().String())).Hint = "write " + netip.AddrPortFrom(server.Address.Addr(), 8080).String()
		}
	}
}

// overlap says whether a use meets one it cannot share a port with, of which
// one at least is a range.
func overlap(uses []use, u use) *use {
	for i, other := range uses {
		ranged := other.last != 0 || u.last != 0
		if ranged && other.on.vip == u.on.vip && other.on.udp == u.on.udp && other.on.port <= u.end() && u.on.port <= other.end() {
			return &uses[i]
		}
	}
	return nil
}

// end is the last port of a use.
func (u use) end() uint16 { return max(u.on.port, u.last) }

// ports names those of a use.
func (u use) ports() string {
	if u.last == 0 {
		return fmt.Sprintf("port %d", u.on.port)
	}
	return fmt.Sprintf("ports %s", portRange{u.on.port, u.last})
}
