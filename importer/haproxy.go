package importer

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/haproxytech/client-native/v6/config-parser/types"
)

// HAProxy makes a repository of an haproxy.cfg and of the keepalived.conf of
// each node, in the order of the nodes; there may be none.
func HAProxy(file Source, keepalived []Source, o Options) (*Repository, error) {
	c, err := readCfg(file)
	if err != nil {
		return nil, err
	}
	origin := file.Name
	for _, k := range keepalived {
		origin += ", " + k.Name
	}
	r, err := newRepository(origin, o)
	if err != nil {
		return nil, err
	}
	if err := r.keepalived(keepalived); err != nil {
		return nil, err
	}
	h := haproxy{Repository: r, cfg: c, options: o}
	for _, s := range c.sections {
		if s.kind == "frontend" || s.kind == "listen" {
			h.frontend(s)
		}
	}
	if len(r.vips) == 0 {
		r.staticVIP(o)
	}
	h.leftovers()
	return r, nil
}

type haproxy struct {
	*Repository
	cfg     *cfg
	options Options
	toTLS   map[string]bool // VIPs whose plain port only redirects
}

// bind is one listening socket.
type bind struct {
	vips     []string
	port     uint16
	tls      *termination
	mandated string // a client certificate is asked for
}

// front is a frontend on its way.
type front struct {
	*section
	acls      acls
	binds     []bind
	tcp       bool
	redirects bool // plain HTTP goes to https
	services  []*service
}

func (h *haproxy) frontend(s *section) {
	if s.operators() {
		h.remark(h.cfg.at(s.no), s.kind+" "+s.name, "is for operators alone; vipilot has a page at / and metrics at /metrics of its own, on --listen, not on a VIP")
		for _, l := range s.lines {
			l.used = true
		}
		return
	}
	f := front{section: s, tcp: true}
	if l := s.last("mode"); l != nil && len(l.words) > 1 {
		f.tcp = l.words[1] == "tcp"
	} else {
		h.remark(h.cfg.at(s.no), s.kind+" "+s.name, "has no mode: HAProxy takes tcp")
	}
	if f.binds = h.binds(s); len(f.binds) == 0 {
		h.remark(h.cfg.at(s.no), s.kind+" "+s.name, "has no bind that can be carried over; left out")
		for _, l := range s.lines {
			l.used = true
		}
		return
	}
	f.acls = h.named(s)
	f.redirects = h.redirects(&f)
	h.routes(&f)
	if len(f.services) == 0 && f.redirects {
		for _, b := range f.binds { // a frontend of its own for the redirect
			for _, v := range b.vips {
				h.redirectTo(v)
			}
		}
		return
	}
	h.frontRules(&f)
	h.spread(&f)
}

// operators says whether a frontend shows statistics or metrics and serves nothing.
func (s *section) operators() bool {
	shows := len(s.of("stats"))+len(s.of("http-request", "use-service", "prometheus-exporter")) > 0
	for _, keyword := range []string{"use_backend", "default_backend", "server", "server-template", "redirect", "http-request redirect", "http-request return"} {
		shows = shows && len(s.of(strings.Fields(keyword)...)) == 0
	}
	return shows
}

// redirectTo notes that plain HTTP of a VIP goes to https, also for the
// services that are there already.
func (h *haproxy) redirectTo(vip string) {
	if h.toTLS == nil {
		h.toTLS = make(map[string]bool)
	}
	h.toTLS[vip] = true
	for _, s := range h.services {
		if s.vip == vip && s.tls != nil {
			s.tls.redirect = true
		}
	}
}

func (h *haproxy) binds(s *section) []bind {
	typed, order := typedOf(h.cfg, s, "bind", func(b types.Bind) string { return b.Comment })
	var binds []bind
	for _, l := range order {
		for address := range strings.SplitSeq(typed[l].Path, ",") {
			b, err := h.bind(strings.TrimSpace(address), l)
			if err != nil {
				h.remark(h.cfg.at(l.no), l.text(), err.Error())
				continue
			}
			binds = append(binds, b)
		}
	}
	return binds
}

func (h *haproxy) bind(address string, l *line) (bind, error) {
	var b bind
	address = strings.NewReplacer("ipv4@", "", "ipv6@", "").Replace(unquoted(address))
	if strings.Contains(address, "@") || strings.HasPrefix(address, "/") {
		return b, errors.New("is no address and port")
	}
	i := strings.LastIndexByte(address, ':')
	port, err := strconv.ParseUint(address[i+1:], 10, 16)
	if i < 0 || err != nil || port == 0 {
		return b, errors.New("is not one port; write a service for each port of a range")
	}
	b.port = uint16(port)
	where := strings.Trim(address[:i], "[]")
	if a, err := netip.ParseAddr(where); err == nil && a.IsLoopback() {
		return b, errors.New("is for this machine alone, and VIPs are for clients")
	}
	if b.vips, err = h.vipsOf(where, l); err != nil {
		return b, err
	}
	return b, h.bindTLS(&b, plain(l.words[2:]), l)
}

// vipsOf finds the VIPs that an address to bind means: all of them, the one
// that has it, or a new one.
func (h *haproxy) vipsOf(where string, l *line) ([]string, error) {
	if where == "" || where == "*" || where == "0.0.0.0" || where == "::" {
		if len(h.vips) == 0 {
			h.staticVIP(h.options)
		}
		var all []string
		for _, v := range h.vips {
			all = append(all, v.name)
		}
		return all, nil
	}
	a, err := netip.ParseAddr(where)
	if err != nil || a.Zone() != "" {
		return nil, fmt.Errorf("%s is not an address", printable(where))
	}
	for _, v := range h.vips {
		if slices.Contains(v.addresses, a) {
			return []string{v.name}, nil
		}
	}
	v := &vip{name: named("bind-" + strings.ReplaceAll(a.String(), ":", "-")), addresses: []netip.Addr{a}, from: "bind in " + h.cfg.at(l.no) + ": no vrrp_instance has this address"}
	h.vips = append(h.vips, v)
	return []string{v.name}, nil
}

// bindTLS reads the keywords behind the address.
func (h *haproxy) bindTLS(b *bind, words []string, l *line) error {
	for i := 0; i < len(words); i++ {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		switch w := words[i]; w {
		case "ssl":
			if b.tls == nil {
				b.tls = &termination{port: b.port}
			}
		case "crt":
			i++
			if b.tls == nil {
				b.tls = &termination{port: b.port}
			}
			if b.tls.file != "" || b.tls.dir != "" {
				h.remark(h.cfg.at(l.no), "crt "+value, "a service has one certificate_file or certificates_dir; this one was given further certificates")
			} else if strings.HasSuffix(value, "/") || !strings.Contains(value[strings.LastIndexByte(value, '/')+1:], ".") {
				b.tls.dir = strings.TrimSuffix(value, "/")
			} else {
				b.tls.file = value
			}
		case "accept-proxy":
			return errors.New("expects the PROXY protocol of everybody; see services.<name>.tcp.accept_proxy")
		case "ca-file", "verify":
			i++
			if w == "ca-file" || value != "none" {
				b.mandated = "clients had to show a certificate (" + w + " " + value + "); see http.tls.client_ca_file"
			}
		case "transparent", "v6only", "v4v6", "defer-accept", "tfo":
		case "alpn", "name", "maxconn", "backlog", "ssl-min-ver", "ssl-max-ver", "ciphers", "ciphersuites", "mss", "curves", "ecdhe", "user", "group", "mode", "level", "interface", "process", "thread", "nice", "id", "crt-list", "ca-verify-file", "crl-file":
			i++
			if w != "alpn" && w != "name" {
				h.remark(h.cfg.at(l.no), w+" "+value, "vipilot sets this itself, see http.tls.profile; or it has no counterpart")
			}
		default:
			h.remark(h.cfg.at(l.no), w, "keyword of bind that has no counterpart")
		}
	}
	return nil
}

// redirects looks for the rule that sends plain HTTP to https.
func (h *haproxy) redirects(f *front) bool {
	found := false
	for _, l := range append(f.of("redirect", "scheme", "https"), f.of("http-request", "redirect", "scheme", "https")...) {
		_, unless, cond := condition(l.words)
		text := strings.Join(plain(cond), " ")
		bare := strings.NewReplacer("{", "", "}", "", " ", "").Replace(text)
		if a := f.acls[strings.TrimPrefix(bare, "!")]; len(a) == 1 && slices.Equal(a[0], []string{"ssl_fc"}) {
			bare = strings.Replace(bare, strings.TrimPrefix(bare, "!"), "ssl_fc", 1)
		}
		l.used = true
		if plainOnly := !slices.ContainsFunc(f.binds, func(b bind) bool { return b.tls != nil }); cond == nil && plainOnly || !unless && bare == "!ssl_fc" || unless && bare == "ssl_fc" {
			found = true
			continue
		}
		if bare != "" {
			h.remark(h.cfg.at(l.no), l.text(), "redirects some requests only; http.tls.redirect redirects all (but those of ACME)")
		}
		found = true
	}
	return found
}

// spread gives every service of a frontend its VIPs and ports.
func (h *haproxy) spread(f *front) {
	type place struct {
		vip        string
		plain, tls *bind
	}
	var places []place
	for i, b := range f.binds {
		for _, v := range b.vips {
			if slices.ContainsFunc(places, func(p place) bool {
				return p.vip == v && (p.plain != nil && p.plain.port == b.port || p.tls != nil && p.tls.port == b.port)
			}) {
				continue // such as *:80 and :::80
			}
			at := slices.IndexFunc(places, func(p place) bool {
				return !f.tcp && p.vip == v && (b.tls == nil && p.plain == nil || b.tls != nil && p.tls == nil)
			})
			if at < 0 {
				places = append(places, place{vip: v})
				at = len(places) - 1
			}
			if b.tls == nil {
				places[at].plain = &f.binds[i]
			} else {
				places[at].tls = &f.binds[i]
			}
		}
	}
	for _, s := range f.services {
		for _, p := range places {
			one := *s
			one.vip = p.vip
			if f.tcp && p.tls != nil {
				h.remark(h.cfg.at(f.no), f.kind+" "+f.name, "ends TLS for a TCP service, which vipilot does for HTTP alone; this port is left out")
				continue
			}
			h.ports(f, &one, p.plain, p.tls)
			h.add(&one)
		}
	}
}

func (h *haproxy) ports(f *front, s *service, plain, secure *bind) {
	if plain != nil {
		s.port = plain.port
	}
	if secure == nil {
		return
	}
	t := *secure.tls
	s.tls = &t
	if secure.mandated != "" {
		s.closeUntilSeen(secure.mandated)
	}
	t.redirect, t.hsts = f.redirects || h.toTLS[s.vip], s.filters.hstsFor
	if plain == nil {
		s.port, t.redirect = 80, true
		s.notes = append(s.notes, "the frontend had HTTPS alone; plain HTTP redirects there now, as a service has both ports")
	}
	if t.file == "" && t.dir == "" {
		s.notes = append(s.notes, "no certificate was found on the bind line: it is obtained over ACME")
	}
}

// leftovers lists every line that was not used, with a reason.
func (h *haproxy) leftovers() {
	for _, s := range h.cfg.sections {
		if why := ownSections[s.kind]; why != "" {
			if slices.ContainsFunc(s.lines, func(l *line) bool { return !l.used }) {
				h.remark(h.cfg.at(s.no), strings.TrimSpace(s.kind+" "+s.name), why)
			}
			continue
		}
		for _, l := range s.lines {
			if why := lost(s, l); why != "" {
				h.remark(h.cfg.at(l.no), l.text(), why)
			}
		}
	}
}
