package config

// mode is what happens to a connection on one port of a VIP. Services share a
// port when they want the same, plain tcp excepted: nothing tells its services
// apart. TLS that is ended and TLS that is passed through go together, too.
type mode string

const (
	plainHTTP   mode = "http"
	tlsHTTP     mode = "http with tls"
	plainTCP    mode = "tcp"
	passthrough mode = "tcp with sni"
	plainUDP    mode = "udp"
	overQUIC    mode = "http/3"
)

// isTLS reports whether clients begin with a hello that names a server.
func (m mode) isTLS() bool { return m == tlsHTTP || m == passthrough }

// listener is one port of a VIP.
type listener struct {
	vip  string
	port uint16
	udp  bool
}

func tcpPort(vip string, port uint16) listener { return listener{vip: vip, port: port} }

// use is one service's use of a listener.
type use struct {
	on   listener
	mode mode
	at   value  // its port, or the closest place given
	last uint16 // of a range that begins with the port; 0 = it is none
}

// request is what a service answers on a listener: a host and path prefix, or
// a server name. An empty host is every host. Services that ask for the same
// under other conditions do not clash: the most conditions win.
type request struct {
	on         listener
	host, path string
	conditions string // besides, as text
}

// compareServices wants services that share a port to agree what it is, and
// every request to belong to one service.
func (l *loader) compareServices() {
	ports, requests := make(map[listener]use), make(owners[request])
	var uses []use
	for _, s := range l.cfg.Services {
		if l.broken[declaration{kindService, s.Name}] {
			continue
		}
		at, agreed := l.declared[kindService][s.Name], true
		for _, u := range usesOf(s, at) {
			if other := overlap(uses, u); other != nil {
				u.conflict(*other)
				agreed = false
				continue
			}
			uses = append(uses, u)
			agreed = share(ports, u) && agreed
		}
		switch {
		case !agreed: // its requests have no port of their own to be compared on
		case s.HTTP != nil:
			claimRoutes(requests, s, at)
		case s.TCP != nil:
			for i, item := range at.dig("tcp", "sni").list() {
				requests.claim(request{on: tcpPort(s.VIP, s.TCP.Port), host: s.TCP.SNI[i]}, item,
					"%s on port %d of %s goes to another service already: %s", s.TCP.SNI[i], s.TCP.Port, s.VIP)
			}
		}
	}
	l.comparePassed(requests)
}

// comparePassed wants a name to be passed through or ended on a port, not both.
func (l *loader) comparePassed(requests owners[request]) {
	for _, s := range l.cfg.Services {
		if s.HTTP == nil || s.HTTP.TLS == nil || l.broken[declaration{kindService, s.Name}] {
			continue
		}
		on := tcpPort(s.VIP, s.HTTP.TLS.Port)
		places := l.declared[kindService][s.Name].dig("http", "hosts").list()
		for i, host := range s.HTTP.Hosts {
			if passed, taken := requests[request{on: on, host: host}]; taken {
				places[i].faultf("TLS for %s on port %d of %s ends here, and is passed through by %s, at %s", host, on.port, on.vip, passed.path, passed.place()).
					Hint = "name it in one of the two, or use another port or VIP"
			}
		}
	}
}

// usesOf gives the listeners of a service.
func usesOf(s Service, at value) []use {
	if s.UDP != nil {
		return []use{{on: listener{s.VIP, s.UDP.Port, true}, mode: plainUDP, at: at.dig("udp", "port")}}
	}
	if s.TCP != nil {
		u := use{on: tcpPort(s.VIP, s.TCP.Port), mode: plainTCP, at: at.dig("tcp", "port")}
		if u.last = s.TCP.Last; u.last != 0 {
			u.at = at.dig("tcp", "ports")
		}
		if len(s.TCP.SNI) > 0 {
			u.mode = passthrough
		}
		return []use{u}
	}
	list := []use{{on: tcpPort(s.VIP, s.HTTP.Port), mode: plainHTTP, at: at.dig("http", "port")}}
	if s.HTTP.TLS != nil {
		list = append(list, use{on: tcpPort(s.VIP, s.HTTP.TLS.Port), mode: tlsHTTP, at: at.dig("http", "tls", "port")})
		if s.HTTP.TLS.HTTP3 {
			list = append(list, use{on: listener{s.VIP, s.HTTP.TLS.Port, true}, mode: overQUIC, at: at.dig("http", "tls", "port")})
		}
	}
	return list
}

// share says whether a use agrees with the first of its listener.
func share(ports map[listener]use, u use) bool {
	first, taken := ports[u.on]
	if !taken {
		ports[u.on] = u
		return true
	}
	if first.mode == u.mode && u.mode != plainTCP && u.mode != plainUDP {
		return true
	}
	if first.mode.isTLS() && u.mode.isTLS() { // the name in the hello tells them apart
		return true
	}
	u.conflict(first)
	return false
}

// conflict reports that a use and an earlier one cannot have the same port.
func (u use) conflict(first use) {
	if u.last != 0 || first.last != 0 {
		u.at.faultf("%s of %s meet %s of %s, at %s", u.ports(), u.on.vip, first.ports(), first.at.path, first.at.place()).Hint = "use other ports or another VIP"
		return
	}
	u.at.faultf("port %d of %s is %s here and %s in %s, at %s", u.on.port, u.on.vip, u.mode, first.mode, first.at.path, first.at.place()).
		Hint = "use another port or another VIP"
}

// claimRoutes claims every host and path of an http service, on its plain port
// and its port with tls; a clash on both is reported once.
func claimRoutes(requests owners[request], s Service, at value) {
	ports := []uint16{s.HTTP.Port}
	if s.HTTP.TLS != nil {
		ports = append(ports, s.HTTP.TLS.Port)
	}
	conditions := s.HTTP.conditions()
	hosts, places := []string{""}, []value{at.dig("http")}
	if len(s.HTTP.Hosts) > 0 {
		hosts, places = s.HTTP.Hosts, at.dig("http", "hosts").list()
	}
	for i, host := range hosts {
		for _, path := range s.HTTP.Paths {
			for _, port := range ports {
				what := host + path
				if host == "" {
					what = "every host's " + path
				}
				if conditions != "" {
					what += " with " + conditions
				}
				if !requests.claim(request{tcpPort(s.VIP, port), host, path, conditions}, places[i],
					"%s on port %d of %s goes to another service already: %s", what, port, s.VIP) {
					break
				}
			}
		}
	}
}
