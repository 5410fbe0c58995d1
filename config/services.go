package config

// readService reads services.<name>.
func readService(v value) Service {
	s := Service{Name: v.name(), Pos: v.keyPos(), Backend: defaultBackend()}
	object([]value{v}, keys{
		"vip":     into(&s.VIP, asRef(kindVIP)),
		"http":    func(h value) { s.HTTP = readHTTP(h) },
		"tcp":     func(t value) { s.TCP = readTCP(t) },
		"udp":     within(keys{"port": into(new(uint16), asPort)}, "port"),
		"backend": func(b value) { readBackend(b, &s.Backend) },
	}, "vip")

	rules := 0
	for _, key := range []string{"http", "tcp", "udp"} {
		if v.has(key) {
			rules++
		}
	}
	if rules != 1 {
		v.faultf("wanted one of http and tcp, found %d", rules)
	}
	s.settleOutlier(v)
	if s.TCP != nil && s.Backend.Balance == "uri" {
		v.dig("backend", "balance").faultf("uri needs an http service")
	}
	if s.TCP != nil && s.Backend.StickyCookie != "" {
		v.dig("backend", "sticky").faultf("a cookie needs an http service").Hint = "use sticky: {source: 30m}"
	}
	checkServerName(&s, v.dig("backend", "tls"))
	return s
}

// readHTTP reads services.<name>.http.
func readHTTP(v value) *HTTP {
	h := HTTP{Paths: []string{"/"}, Port: 80}
	object([]value{v}, keys{
		"hosts": into(&h.Hosts, someOf(asHostName)),
		"paths": into(&h.Paths, someOf(asPath)),
		"port":  into(&h.Port, asPort),
		"tls":   func(t value) { h.TLS = readServerTLS(t) },
	})
	if h.TLS != nil { // what it must cover may stand behind it
		h.TLS.findCertificates(v.dig("tls"), h.Hosts)
	}
	if h.TLS != nil && h.TLS.Port == h.Port {
		v.dig("tls", "port").faultf("port %d is the plain port as well", h.Port)
	}
	return &h
}

// readTCP reads services.<name>.tcp.
func readTCP(v value) *TCP {
	var t TCP
	object([]value{v}, keys{
		"port": into(&t.Port, asPort),
		"sni":  into(&t.SNI, someOf(asHostName)),
	}, "port")
	return &t
}
