package importer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/haproxytech/client-native/v6/config-parser/types"
)

// backend fills in who serves; port is where servers are that name none. False
// means there is no server.
func (h *haproxy) backend(s *service, from *section, port uint16) bool {
	b := &s.backend
	if l := from.last("balance"); l != nil {
		if b.balance = algorithm(l.words); b.balance == "" {
			h.remark(h.cfg.at(l.no), l.text(), "vipilot balances by roundrobin, leastconn, random, source and uri; roundrobin is taken")
		}
	}
	if l := from.last("retries"); l != nil && len(l.words) > 1 {
		if n, err := strconv.Atoi(l.words[1]); err == nil && n >= 0 {
			b.retries = &n
		}
	}
	for _, name := range []string{"connect", "server", "queue", "tunnel"} {
		if l := from.last("timeout", name); l != nil {
			h.timeout(s, name, l)
		}
	}
	h.check(b, from)
	h.sticky(b, from)
	h.servers(s, from, port)
	return len(b.servers) > 0
}

// algorithm is vipilot's word for one of HAProxy's; "" = there is none.
func algorithm(words []string) string {
	if len(words) < 2 {
		return ""
	}
	switch name := words[1]; name {
	case "roundrobin", "leastconn", "source", "uri", "random":
		return name
	case "static-rr":
		return "roundrobin"
	}
	return ""
}

// haproxyTime reads a time of HAProxy, whose bare numbers are milliseconds.
func haproxyTime(text string) (time.Duration, error) {
	unit := strings.TrimLeft(text, "0123456789")
	n, err := strconv.ParseInt(strings.TrimSuffix(text, unit), 10, 64)
	each, ok := map[string]time.Duration{"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	if err != nil || !ok || n > int64(1000*24*time.Hour/each) {
		return 0, fmt.Errorf("%q is not a time", printable(text))
	}
	return time.Duration(n) * each, nil
}

func (h *haproxy) timeout(s *service, name string, l *line) {
	if len(l.words) < 3 {
		return
	}
	d, err := haproxyTime(l.words[2])
	if err != nil || d == 0 {
		h.remark(h.cfg.at(l.no), l.text(), "is no time that holds")
		return
	}
	if s.backend.timeouts == nil {
		s.backend.timeouts = make(map[string]time.Duration)
	}
	s.backend.timeouts[name] = d
}

// check reads how servers are tried.
func (h *haproxy) check(b *backend, from *section) {
	if l := from.last("option", "httpchk"); l != nil {
		b.check.path = "/"
		for _, w := range plain(l.words[2:]) {
			if strings.HasPrefix(w, "/") {
				b.check.path = w
				break
			}
		}
		for _, c := range from.of("http-check", "send") {
			c.used = true
			if i := slices.Index(c.words, "uri"); i > 0 && i+1 < len(c.words) {
				b.check.path = unquoted(c.words[i+1])
			}
			if slices.Contains(c.words, "hdr") || slices.Contains(c.words, "body") {
				h.remark(h.cfg.at(c.no), c.text(), "a check asks for a path with GET; its headers are vipilot's")
			}
		}
		for _, c := range from.of("http-check", "expect") {
			c.used = true
			h.remark(h.cfg.at(c.no), c.text(), "answers of 2xx and 3xx are healthy")
		}
	}
	for _, kind := range []string{"tcp-check", "mysql-check", "pgsql-check", "redis-check", "smtpchk", "ldap-check", "ssl-hello-chk"} {
		for _, l := range from.of("option", kind) {
			l.used = true
			if kind != "tcp-check" {
				h.remark(h.cfg.at(l.no), l.text(), "a TCP connection is the check")
			}
		}
	}
}

// sticky reads what keeps a client with its server.
func (h *haproxy) sticky(b *backend, from *section) {
	if l := from.last("cookie"); l != nil && len(l.words) > 1 {
		if slices.Contains(l.words, "insert") {
			b.cookie = l.words[1]
		} else {
			h.remark(h.cfg.at(l.no), l.text(), "vipilot sets a cookie of its own (insert); it does not change or read those of servers")
		}
	}
	on := append(from.of("stick", "on", "src"), from.of("stick", "match", "src")...)
	for _, l := range from.of("stick-table") {
		if len(on) == 0 || !slices.Contains(l.words, "ip") && !slices.Contains(l.words, "ipv6") {
			continue // among the leftovers, with its reason
		}
		l.used, b.source = true, 30*time.Minute
		if i := slices.Index(l.words, "expire"); i > 0 && i+1 < len(l.words) {
			if d, err := haproxyTime(l.words[i+1]); err == nil {
				b.source = d
			}
		}
		for _, l := range on {
			l.used = true
		}
	}
}

// servers reads the server lines of a section.
func (h *haproxy) servers(s *service, from *section, port uint16) {
	typed, order := typedOf(h.cfg, from, "server", func(s types.Server) string { return s.Comment })
	var defaults []string
	if l := from.last("default-server"); l != nil {
		defaults = plain(l.words[1:])
	}
	checked, weights := false, false
	for _, l := range order {
		t := typed[l]
		address, err := serverAddress(unquoted(t.Address), port)
		if err != nil {
			h.remark(h.cfg.at(l.no), l.text(), err.Error()+"; left out")
			continue
		}
		one := server{address: address, weight: 1, from: "server " + t.Name + ", " + h.cfg.at(l.no)}
		var words []string
		for _, p := range t.Params {
			words = append(words, plainWords(p.String())...)
		}
		p := params{h, &s.backend, &one, l, false, false, false}
		p.read(defaults, true)
		p.read(words, false)
		checked, weights = checked || p.checked, weights || p.weighted
		if p.out {
			continue
		}
		s.backend.servers = append(s.backend.servers, one)
	}
	if !weights {
		for i := range s.backend.servers {
			s.backend.servers[i].weight = 0
		}
	}
	if !checked && len(s.backend.servers) > 0 {
		s.notes = append(s.notes, "its servers were not checked; here a TCP connection is the least")
	}
	for _, l := range from.of("server-template") {
		l.used = true
		h.remark(h.cfg.at(l.no), l.text(), "write one of backend.servers by name: all addresses of a name are not followed")
	}
}

func serverAddress(text string, port uint16) (string, error) {
	text = strings.NewReplacer("ipv4@", "", "ipv6@", "").Replace(text)
	if strings.Contains(text, "@") || strings.HasPrefix(text, "/") {
		return "", errors.New("is no address and port")
	}
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil || !strings.Contains(text, ":") {
		if port == 0 {
			return "", errors.New("names no port, and the frontend has several")
		}
		if err == nil {
			return netip.AddrPortFrom(a, port).String(), nil
		}
		return net.JoinHostPort(text, strconv.Itoa(int(port))), nil
	}
	_, p, err := net.SplitHostPort(text)
	if err != nil || strings.Trim(p, "0123456789") != "" {
		return "", errors.New("has a port that follows the frontend's")
	}
	return text, nil
}

// params are the keywords of one server line. Those of a backend's servers are
// one setting of the backend in vipilot; the last line that says one wins.
type params struct {
	h                      *haproxy
	b                      *backend
	s                      *server
	l                      *line
	checked, weighted, out bool
}

// valued are the keywords of a server that are followed by a value, and are of
// no use here.
var valued = map[string]string{
	"cookie": "", "id": "", "init-addr": "", "resolvers": "", "resolve-prefer": "", "resolve-opts": "", "port": "checks go to the port that serves", "addr": "checks go to the address that serves",
	"fastinter": "", "downinter": "", "minconn": "see maxconn", "maxqueue": "see timeouts.queue", "observe": "see backend.outlier", "on-error": "see backend.outlier", "error-limit": "see backend.outlier",
	"on-marked-down": "sessions of a dead server end by themselves", "on-marked-up": "has no counterpart", "crt": "see backend.tls.cert_file", "ciphers": "has no counterpart", "ssl-min-ver": "has no counterpart", "ssl-max-ver": "has no counterpart",
	"source": "has no counterpart", "track": "has no counterpart", "pool-max-conn": "", "pool-purge-delay": "", "check-sni": "", "check-alpn": "", "agent-port": "agents are not asked", "agent-inter": "", "agent-addr": "", "verifyhost": "see backend.tls.server_name",
}

func (p *params) read(words []string, defaults bool) {
	for i := 0; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		used, why := p.take(words[i], value)
		i += used
		if why != "" {
			p.h.remark(p.h.cfg.at(p.l.no), strings.TrimSpace(words[i-used]+" "+strings.Join(words[i-used+1:i+1], " ")), why)
		}
	}
}

// take takes one keyword: how many words of value it has, and why it was not
// carried over.
func (p *params) take(word, value string) (used int, why string) {
	b := p.b
	switch word {
	case "check":
		p.checked = true
	case "no-check", "enabled", "check-ssl", "check-send-proxy", "tfo":
	case "backup":
		p.s.backup = true
	case "disabled":
		p.out = true
		return 0, "is disabled; left out"
	case "ssl":
		b.secured()
	case "send-proxy":
		b.proxy = "v1"
	case "send-proxy-v2", "send-proxy-v2-ssl", "send-proxy-v2-ssl-cn":
		b.proxy = "v2"
	case "weight":
		n, err := strconv.Atoi(value)
		p.weighted = true
		if p.s.weight = n; err != nil || n < 1 {
			p.out = true
			return 1, "gets no traffic; left out"
		}
		return 1, ""
	case "maxconn":
		n, err := strconv.Atoi(value)
		if err != nil || b.maxconn != 0 && b.maxconn != n {
			return 1, "all servers of a backend have one maxconn"
		}
		b.maxconn = n
		return 1, ""
	case "inter", "slowstart":
		d, err := haproxyTime(value)
		if err != nil {
			return 1, err.Error()
		}
		if word == "inter" {
			b.check.interval = d
		} else {
			b.slowStart = d
		}
		return 1, ""
	case "rise", "fall":
		n, err := strconv.Atoi(value)
		if err != nil {
			return 1, "is not a number"
		}
		if word == "rise" {
			b.check.rise = n
		} else {
			b.check.fall = n
		}
		return 1, ""
	case "verify", "ca-file", "sni", "alpn", "proto":
		return 1, b.secure(word, value)
	default:
		if why, ok := valued[word]; ok {
			return 1, why
		}
		return 0, "keyword of server that has no counterpart"
	}
	return 0, ""
}

func (b *backend) secured() *backendTLS {
	if b.tls == nil {
		b.tls = &backendTLS{}
	}
	return b.tls
}

// secure takes a keyword of TLS to the servers.
func (b *backend) secure(word, value string) (why string) {
	switch {
	case word == "verify":
		if value == "none" {
			b.secured().insecure = true
		}
	case word == "ca-file":
		if !strings.HasPrefix(value, "@") {
			b.secured().ca = value
		}
	case word == "sni" && strings.HasPrefix(value, "str("):
		b.secured().name = strings.TrimSuffix(strings.TrimPrefix(value, "str("), ")")
	case word == "sni":
		return "the server name is one for all requests: backend.tls.server_name"
	case strings.HasPrefix(value, "h2"):
		b.h2 = true
	}
	return ""
}
