package importer

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Traefik makes a repository of containers that carry Traefik's labels.
func Traefik(containers []Container, o Options) (*Repository, error) {
	r, err := newRepository("Traefik's labels", o)
	if err != nil {
		return nil, err
	}
	t := traefik{Repository: r, vip: r.staticVIP(o), ports: map[string]uint16{"http": 80, "web": 80, "https": 443, "websecure": 443}, byKey: make(map[string]*service), middlewares: make(map[string]labels)}
	r.engine(o)
	containers = sorted(containers)
	for _, c := range containers {
		t.entryPoints(c)
		for name, of := range group(c.Labels, "traefik.http.middlewares.") {
			of.place = c.Name
			t.middlewares[name] = of
		}
	}
	maps.Copy(t.ports, o.EntryPoint)
	for _, c := range containers {
		t.container(c)
	}
	t.settle()
	return r, nil
}

// engine adds the host the containers run on.
func (r *Repository) engine(o Options) {
	r.hosts = append(r.hosts, host{o.Nodes[0].Name, cmp.Or(o.Docker, "unix:///var/run/docker.sock"), o.DockerTLS, "the engine the containers were found on"})
}

// traefik is an import of labels on its way.
type traefik struct {
	*Repository
	vip         *vip
	ports       map[string]uint16 // of entry points
	middlewares map[string]labels
	byKey       map[string]*service // same containers, same rule
	order       []*service
	toTLS       map[*service]bool // plain routers that only redirect
}

// labels are those of one router, service or middleware, by the rest of the name.
type labels struct {
	place string
	of    map[string]string
	order []string // the rests, sorted
}

// group sorts the labels below prefix by the name that follows it. Traefik
// takes label names in any case.
func group(all map[string]string, prefix string) map[string]labels {
	groups := make(map[string]labels)
	for _, label := range slices.Sorted(maps.Keys(all)) {
		if len(label) <= len(prefix) || !strings.EqualFold(label[:len(prefix)], prefix) {
			continue
		}
		name, rest, _ := strings.Cut(label[len(prefix):], ".")
		g := groups[name]
		if g.of == nil {
			g.of = make(map[string]string)
		}
		rest = strings.ToLower(rest)
		if i := strings.LastIndex(label, "headers.custom"); i >= 0 {
			rest = strings.ToLower(label[len(prefix)+len(name)+1:i]) + label[i:] // header names keep their case
		}
		g.of[rest] = all[label]
		g.order = append(g.order, rest)
		groups[name] = g
	}
	return groups
}

var entryPointArg = regexp.MustCompile(`(?i)^--entrypoints\.([A-Za-z0-9_-]+)\.address=[^:]*:([0-9]+)(?:/tcp)?$`)

// entryPoints reads Traefik's own command line.
func (t *traefik) entryPoints(c Container) {
	for _, arg := range c.Args {
		m := entryPointArg.FindStringSubmatch(arg)
		if m == nil {
			continue
		}
		if port, err := strconv.ParseUint(m[2], 10, 16); err == nil && port > 0 {
			t.ports[m[1]] = uint16(port)
		}
	}
}

func (t *traefik) container(c Container) {
	place := "container " + c.Name
	if strings.EqualFold(c.Labels["traefik.enable"], "false") {
		t.remark(place, "traefik.enable=false", "is not served by Traefik either")
		return
	}
	http, tcp := group(c.Labels, "traefik.http.routers."), group(c.Labels, "traefik.tcp.routers.")
	for name := range group(c.Labels, "traefik.udp.routers.") {
		t.remark(place, "traefik.udp.routers."+name, "UDP is not carried over; write a service with udp: {port: …}")
	}
	if len(http)+len(tcp) == 0 && (c.Labels["traefik.enable"] != "" || len(group(c.Labels, "traefik.http.services.")) > 0) {
		t.remark(place, "", "has no router; Traefik's defaultRule gives it a host name that is not in its labels")
	}
	for _, name := range slices.Sorted(maps.Keys(http)) {
		t.router(c, name, http[name], false)
	}
	for _, name := range slices.Sorted(maps.Keys(tcp)) {
		t.router(c, name, tcp[name], true)
	}
}

// router turns one router into services, one for each case of its rule.
func (t *traefik) router(c Container, name string, of labels, tcp bool) {
	kind := "http"
	if tcp {
		kind = "tcp"
	}
	place := fmt.Sprintf("container %s, traefik.%s.routers.%s", c.Name, kind, name)
	rule := of.of["rule"]
	if rule == "" {
		t.remark(place, "", "has no rule; Traefik's defaultRule gives it a host name that is not in its labels")
		return
	}
	if strings.EqualFold(of.of["rulesyntax"], "v2") || strings.Contains(of.of["service"], "@") {
		t.remark(place, "service="+of.of["service"]+" rulesyntax="+of.of["rulesyntax"], "comes from another provider, or from another syntax of rules")
		return
	}
	cases, notes, err := parseRule(rule)
	if err != nil {
		t.remark(place, "rule="+rule, err.Error())
		return
	}
	b, err := t.backend(c, of.of["service"], kind, place)
	if err != nil {
		t.remark(place, "", err.Error())
		return
	}
	if of.of["priority"] != "" {
		t.remark(place, "priority="+of.of["priority"], "the longest path wins here, then the most conditions, then the exact host")
	}
	for _, m := range cases {
		s := &service{name: name, from: []string{place}, notes: notes, vip: t.vip.name, match: m, tcp: tcp, backend: b}
		for _, p := range t.portsOf(of, place) {
			t.place(s, of, p, place)
		}
	}
}

// portsOf are the ports a router listens on.
func (t *traefik) portsOf(of labels, place string) []uint16 {
	list := words(of.of["entrypoints"])
	if len(list) == 0 {
		t.remark(place, "", "names no entry point and so listens on all; web and websecure are taken")
		if hasTLS(of) {
			return []uint16{t.ports["websecure"]}
		}
		return []uint16{t.ports["web"]}
	}
	var ports []uint16
	for _, e := range list {
		p, ok := t.ports[e]
		if !ok {
			t.remark(place, "entrypoints="+e, "the port of this entry point is not known; name it with --entrypoint "+e+"=PORT")
			continue
		}
		ports = append(ports, p)
	}
	return ports
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' })
}

// hasTLS says whether TLS ends at this router.
func hasTLS(of labels) bool {
	if strings.EqualFold(of.of["tls"], "false") {
		return false
	}
	return slices.ContainsFunc(of.order, func(k string) bool { return k == "tls" || strings.HasPrefix(k, "tls.") })
}

// place puts a service on a port: a plain router and one with TLS for the same
// requests and containers are one service.
func (t *traefik) place(s *service, of labels, port uint16, place string) {
	if s.tcp {
		t.placeTCP(s, of, port, place)
		return
	}
	key := fmt.Sprint(*s.backend.containers, s.backend.port, s.match.key())
	one := *s
	redirects := t.filter(&one, of.of["middlewares"], place)
	had := t.byKey[key]
	if had == nil {
		had = &one
		t.byKey[key], t.order = had, append(t.order, had)
		if t.toTLS == nil {
			t.toTLS = make(map[*service]bool)
		}
		t.toTLS[had] = false
	} else {
		had.merge(&one, t.Repository, place, hasTLS(of), redirects)
	}
	switch {
	case hasTLS(of):
		if had.tls == nil {
			had.tls = &termination{}
		}
		had.tls.port = port
		t.tlsOptions(of, place)
	case redirects:
		t.toTLS[had], had.port = true, port
	default:
		had.port = port
	}
}

// merge takes what a second router of the same service adds.
func (s *service) merge(other *service, r *Repository, place string, withTLS, redirects bool) {
	if !slices.Contains(s.from, other.from[0]) {
		s.from = append(s.from, other.from...)
	}
	s.closed = append(s.closed, other.closed...)
	if redirects || fmt.Sprint(s.filters) == fmt.Sprint(other.filters) && fmt.Sprint(s.deny, s.match.sources) == fmt.Sprint(other.deny, other.match.sources) {
		return
	}
	if withTLS {
		empty := fmt.Sprint(s.filters) == fmt.Sprint(filters{})
		s.filters, s.files, s.deny, s.match.sources, s.backend = other.filters, other.files, other.deny, other.match.sources, other.backend
		if empty {
			return
		}
	}
	r.remark(place, "", "its plain and its TLS router have different middlewares; those with TLS hold for both here")
}

// tlsOptions says which of a router's TLS settings have no place.
func (t *traefik) tlsOptions(of labels, place string) {
	for _, key := range of.order {
		switch {
		case key == "tls" || key == "tls.certresolver":
		case strings.HasPrefix(key, "tls.domains"):
			t.remark(place, key+"="+of.of[key], "a certificate is obtained for each of hosts, not for other domains")
		case strings.HasPrefix(key, "tls."):
			t.remark(place, key+"="+of.of[key], "see services.<name>.http.tls.profile and client_ca_file")
		}
	}
	if of.of["tls.certresolver"] == "" {
		t.remark(place, "tls", "the certificate is not in the labels: it is obtained over ACME here, or set certificate_file")
	}
}

func (t *traefik) placeTCP(s *service, of labels, port uint16, place string) {
	one := *s
	one.port = port
	if hasTLS(of) && !strings.EqualFold(of.of["tls.passthrough"], "true") {
		t.remark(place, "tls", "vipilot ends TLS for HTTP services only; set passthrough, and let the container end it")
		return
	}
	if m := of.of["middlewares"]; m != "" {
		one.closeUntilSeen("its TCP middlewares were not carried over: " + m)
		t.remark(place, "middlewares="+m, "TCP middlewares are not carried over; the service is closed until you have read it")
	}
	t.order = append(t.order, &one)
}

// settle decides what could not be decided router by router.
func (t *traefik) settle() {
	for _, s := range t.order {
		switch {
		case s.tcp:
		case s.tls == nil && t.toTLS[s]:
			t.remark(strings.Join(s.from, ", "), "", "only redirects to https, and no router with TLS has this rule; left out")
			continue
		case s.tls != nil && s.port == 0:
			s.port, s.tls.redirect = 80, true
			s.notes = append(s.notes, "was on HTTPS alone; plain HTTP redirects there now, as a service has both ports")
		case s.tls != nil:
			s.tls.redirect = t.toTLS[s]
		}
		if s.tls != nil && s.filters.hstsFor > 0 {
			s.tls.hsts = s.filters.hstsFor
		}
		t.add(s)
	}
}
