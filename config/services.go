package config

// readService reads services.<name>.
func readService(v value) Service {
	s := Service{Name: v.name(), Pos: v.keyPos(), Backend: defaultBackend()}
	object([]value{v}, keys{
		"vip":     into(&s.VIP, asRef(kindVIP)),
		"http":    func(h value) { s.HTTP = readHTTP(h) },
		"tcp":     func(t value) { s.TCP = readTCP(t) },
		"udp":     func(u value) { s.UDP = readUDP(u) },
		"backend": func(b value) { readBackend(b, &s.Backend) },
		"raw":     into(&s.Raw, someOf(asRawLine)),
	}, "vip")

	rules := 0
	for _, key := range []string{"http", "tcp", "udp"} {
		if v.has(key) {
			rules++
		}
	}
	if rules != 1 {
		v.faultf("wanted one of http, tcp and udp, found %d", rules)
	}
	s.settleOutlier(v)
	if s.TCP != nil && s.Backend.Balance == "uri" {
		v.dig("backend", "balance").faultf("uri needs an http service")
	}
	if s.TCP != nil && s.Backend.StickyCookie != "" {
		v.dig("backend", "sticky").faultf("a cookie needs an http service").Hint = "use sticky: {source: 30m}"
	}
	if s.TCP != nil && s.Backend.H2 {
		v.dig("backend", "protocol").faultf("h2 needs an http service")
	}
	if h := s.HTTP; h != nil && h.HostLabel != "" && (len(s.Backend.Servers) > 0 || h.Redirect != nil) {
		v.dig("http", "host_label").faultf("only containers have labels").Hint = "leave out backend.servers and http.redirect"
	}
	if s.HTTP != nil && s.HTTP.HostLabel != "" && v.has("backend") && v.dig("backend").has("split") {
		v.dig("backend", "split").faultf("a service is divided by http.host_label or by split, not by both")
	}
	if s.HTTP != nil && s.HTTP.Redirect != nil && v.has("backend") {
		v.dig("backend").faultf("a redirect is answered without a backend").Hint = "leave out backend or http.redirect"
	}
	s.settlePorts(v)
	s.checkUDP(v)
	checkServerName(&s, v.dig("backend", "tls"))
	return s
}

// readTCP reads services.<name>.tcp.
func readTCP(v value) *TCP {
	var t TCP
	var ports portRange
	object([]value{v}, keys{
		"port":         into(&t.Port, asPort),
		"ports":        into(&ports, asPorts),
		"sni":          into(&t.SNI, someOf(asHostName)),
		"accept_proxy": into(&t.AcceptProxy, someOf(asNetwork)),
		"allow":        into(&t.Allow, someOf(asNetwork)),
		"deny":         into(&t.Deny, someOf(asNetwork)),
	})
	switch {
	case v.has("port") && v.has("ports"):
		v.dig("ports").faultf("there is a port already, at %s", v.dig("port").pos())
	case v.has("ports") && len(t.SNI) > 0:
		v.dig("sni").faultf("a range of ports leads to one service").Hint = "leave out sni, or name one port"
	case v.has("ports"):
		t.Port, t.Last = ports.first, ports.last
	case !v.has("port") && v.isMapping():
		v.faultf("missing key %q", "port")
	}
	return &t
}
