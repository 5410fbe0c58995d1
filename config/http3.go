package config

// compareHTTP3 keeps client certificates and HTTP/3 off the same port: a
// request that came over QUIC to a host without them would be one step from
// the host with them.
func (l *loader) compareHTTP3(on listener, t tlsUse, http3, asks map[listener]tlsUse) {
	if t.HTTP3 {
		http3[on] = t
	}
	if t.ClientCA != nil {
		asks[on] = t
	}
	quic, offered := http3[on]
	asking, asked := asks[on]
	if offered && asked && (t.HTTP3 || t.ClientCA != nil) {
		quic.at.dig("http3").faultf("clients are asked for certificates on this port, at %s, and HTTP/3 does not take them", asking.at.place()).Hint = "use another port for the one or the other"
	}
}
