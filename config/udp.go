package config

import "slices"

// UDP is the rule of a UDP service.
type UDP struct{ Port uint16 }

func readUDP(v value) *UDP {
	var u UDP
	object([]value{v}, keys{"port": into(&u.Port, asPort)}, "port")
	return &u
}

// notForUDP are the keys of a backend that say how HAProxy should treat
// connections; the kernel passes datagrams on and knows nothing of them.
var notForUDP = []string{
	"drain", "maxconn", "outlier", "protocol", "proxy_protocol", "retries", "sets", "slow_start", "split", "timeouts", "tls",
}

// checkUDP refuses what a UDP service cannot have.
func (s *Service) checkUDP(v value) {
	if s.UDP == nil {
		return
	}
	if v.has("raw") {
		v.dig("raw").faultf("raw lines are for HAProxy, which does not see UDP")
	}
	if !v.has("backend") {
		return
	}
	b := v.dig("backend")
	for _, key := range notForUDP {
		if b.has(key) {
			b.dig(key).faultf("%s needs an http or tcp service", key)
		}
	}
	if s.Backend.StickyCookie != "" {
		b.dig("sticky").faultf("a cookie needs an http service").Hint = "use sticky: {source: 30m}"
	}
	if s.Backend.Balance == "uri" || s.Backend.Balance == "random" {
		b.dig("balance").faultf("%s needs an http or tcp service", s.Backend.Balance).Hint = "use roundrobin, leastconn or source"
	}
	if b.has("check") {
		for _, key := range []string{"path", "rise"} {
			if b.dig("check").has(key) {
				b.dig("check", key).faultf("%s is nothing to a check of UDP: a server is out when its port is closed, and back when it is open", key)
			}
		}
	}
	if c := s.Backend.Check; c != nil && c.Fall < 2 {
		b.dig("check", "fall").faultf("a check of UDP that failed is repeated at least once").Hint = "2 or more"
	}
	s.checkUDPServers(b)
}

// checkUDPServers wants addresses, and one backup of each family.
func (s *Service) checkUDPServers(b value) {
	if !b.has("servers") {
		return
	}
	places := b.dig("servers").list()
	var backups []bool // of IPv4?
	for i, server := range s.Backend.Servers {
		switch {
		case i >= len(places):
		case server.Host != "":
			places[i].faultf("%s is a name: a UDP service needs addresses", server.Host)
		case server.Backup && slices.Contains(backups, server.Address.Addr().Is4()):
			places[i].faultf("a UDP service has one backup of each address family")
		case server.Backup:
			backups = append(backups, server.Address.Addr().Is4())
		}
	}
}
