package importer

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/haproxytech/client-native/v6/config-parser/types"
)

// routes makes a service of every use_backend, default_backend and listen.
func (h *haproxy) routes(f *front) {
	typed, order := typedOf(h.cfg, f.section, "use_backend", func(u types.UseBackend) string { return u.Comment })
	rules := make(map[*service]*line)
	for _, l := range order {
		if name := typed[l].Name; strings.ContainsAny(name, "%[]") {
			h.remark(h.cfg.at(l.no), l.text(), "the backend is computed; write a service for each, or see http.host_label")
		} else {
			for _, s := range h.route(f, name, l) {
				rules[s] = l
				f.services = append(f.services, s)
			}
		}
	}
	h.exceptions(f, rules)
	name, no := "", 0
	if l := f.last("default_backend"); l != nil && len(l.words) > 1 {
		name, no = l.words[1], l.no
	} else if f.kind == "listen" && len(f.of("server"))+len(f.of("server-template")) > 0 {
		name, no = f.name, f.no
	}
	if name != "" {
		if s := h.service(f, name, no); s != nil {
			f.services = append(f.services, s)
		}
	}
}

// route makes the services of a use_backend, one for each case of its condition.
func (h *haproxy) route(f *front, name string, l *line) []*service {
	cond, err := positive(l.words)
	var cases []match
	if err == nil {
		cases, err = f.acls.cases(cond)
	}
	if err != nil {
		h.remark(h.cfg.at(l.no), l.text(), err.Error()+"; requests for it go where the other rules send them")
		return nil
	}
	var all []*service
	for _, m := range cases {
		m, framed := m.unframed()
		if framed && len(m.hosts)+len(m.paths)+len(m.methods)+len(m.headers) == 0 {
			h.remark(h.cfg.at(l.no), l.text(), "looks at nothing but whether the connection is upgraded, and any server may do that in vipilot; say by host or path what goes there")
			continue
		}
		s := h.service(f, name, l.no)
		if s == nil {
			return all
		}
		s.match = m
		s.deny = append(s.deny, m.denied...)
		for _, note := range m.notes {
			h.remark(h.cfg.at(l.no), l.text(), note)
			s.notes = append(s.notes, note)
		}
		if framed {
			s.notes = append(s.notes, "only connections that are upgraded (WebSocket) came here in HAProxy; now all that the rest of the rule names does")
		}
		if len(m.sources)+len(m.denied) > 0 {
			s.notes = append(s.notes, "other clients get 403 here; in HAProxy the next rule is tried")
		}
		if f.exactPaths(cond) {
			s.notes = append(s.notes, "path matches one path in HAProxy; here it is a prefix, and what lies below is served as well")
		}
		all = append(all, s)
	}
	return all
}

// positive is the condition of a rule, with unless turned into a no.
func positive(words []string) ([]string, error) {
	_, unless, cond := condition(words)
	if !unless {
		return cond, nil
	}
	if len(cond) > 1 && slices.Index(cond, "}") != len(cond)-1 {
		return nil, errors.New("says unless of more than one condition, and a route cannot say no")
	}
	return append([]string{"!"}, cond...), nil
}

// exceptions keeps routes that say no (`!api`) where that goes without saying,
// since another service takes what they leave out, and gives the others up.
func (h *haproxy) exceptions(f *front, rules map[*service]*line) {
	var kept []*service
	for _, s := range f.services {
		open := slices.IndexFunc(s.match.except, func(e match) bool {
			i := slices.IndexFunc(f.services, func(o *service) bool { return o.match.precedes(s.match, e) })
			if i >= 0 {
				s.notes = append(s.notes, "what it left out goes to "+f.services[i].name+", whose path is longer")
			}
			return i < 0
		})
		if open < 0 {
			kept = append(kept, s)
			continue
		}
		l := rules[s]
		h.remark(h.cfg.at(l.no), l.text(), "says no, and a route cannot: give what it leaves out a service with a longer path; requests for it go where the other rules send them")
	}
	f.services = kept
}

// exactPaths says whether a condition compares whole paths.
func (f *front) exactPaths(cond []string) bool {
	for i, w := range cond {
		if w == "{" && i+1 < len(cond) && cond[i+1] == "path" {
			return true
		}
		for _, a := range f.acls[w] {
			if a[0] == "path" && !slices.Contains(a, "beg") {
				return true
			}
		}
	}
	return false
}

// service begins a service for a backend; nil, when there is nothing to serve it.
func (h *haproxy) service(f *front, name string, no int) *service {
	from := h.cfg.find(name, "backend", "listen")
	if from == nil {
		h.remark(h.cfg.at(no), "backend "+name, "is not there; left out")
		return nil
	}
	s := &service{name: name, tcp: f.tcp, from: []string{fmt.Sprintf("%s %s (%s), %s %s (%s)", f.kind, f.name, h.cfg.at(no), from.kind, from.name, h.cfg.at(from.no))}}
	if from == f.section {
		s.from = []string{fmt.Sprintf("listen %s (%s)", f.name, h.cfg.at(f.no))}
	}
	port := uint16(0)
	if ports := f.ports(); len(ports) == 1 {
		port = ports[0]
	}
	if !h.backend(s, from, port) {
		h.remark(h.cfg.at(from.no), from.kind+" "+name, "has no server that can be carried over; the service is left out")
		return nil
	}
	if l := f.last("timeout", "client"); l != nil {
		h.timeout(s, "client", l)
	}
	if from != f.section {
		h.rules(s, from, h.named(from))
	}
	return s
}

// ports are the different ports of the binds.
func (f *front) ports() []uint16 {
	var ports []uint16
	for _, b := range f.binds {
		ports = append(ports, b.port)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// named are the ACLs of a section.
func (h *haproxy) named(s *section) acls {
	out := make(acls)
	typed, order := typedOf(h.cfg, s, "acl", func(a types.ACL) string { return a.Comment })
	for _, l := range order {
		out[typed[l].Name] = append(out[typed[l].Name], plainWords(typed[l].Criterion+" "+typed[l].Value))
	}
	return out
}

// frontRules applies the rules of a frontend to all its services.
func (h *haproxy) frontRules(f *front) {
	for _, s := range f.services {
		h.rules(s, f.section, f.acls)
	}
}

// rules carries over the http-request, http-response and tcp-request rules of a
// section. What keeps clients out and is not understood closes the service.
func (h *haproxy) rules(s *service, from *section, named acls) {
	for _, l := range from.lines {
		why, protects := h.rule(s, l, named)
		switch {
		case why == "":
		case why == unrelated:
			continue
		default:
			h.remark(h.cfg.at(l.no), l.text(), why)
			if protects {
				s.closeUntilSeen("line " + fmt.Sprint(l.no) + " kept clients out and was not carried over: " + l.text())
			}
		}
		l.used = true
	}
}

const unrelated = "not a rule"

// rule carries over one; why is the reason that it was not.
func (h *haproxy) rule(s *service, l *line, named acls) (why string, protects bool) {
	rule, unless, cond := condition(l.words)
	rule = plain(rule)
	text := strings.Join(rule, " ")
	for _, deny := range []string{"http-request deny", "http-request reject", "http-request silent-drop", "http-request tarpit", "tcp-request connection reject", "tcp-request content reject", "block"} {
		if text == deny || strings.HasPrefix(text, deny+" ") {
			return s.refuse(cond, unless, named), true
		}
	}
	switch {
	case strings.HasPrefix(text, "http-request auth"):
		return h.auth(s, rule, cond, unless), true
	case strings.HasPrefix(text, "http-request redirect scheme https"), strings.HasPrefix(text, "redirect scheme https"):
		return unrelated, false
	case strings.HasPrefix(text, "http-request redirect") || strings.HasPrefix(text, "redirect "):
		return "of redirects http.redirect knows one, to another host; write a service for it", false
	case len(rule) > 2 && (rule[0] == "http-request" || rule[0] == "http-response"):
		return header(s, rule, cond)
	case strings.HasPrefix(text, "compression algo") && strings.Contains(text, "gzip"):
		s.filters.compress = true
		return "", false
	case rule[0] == "rate-limit" || strings.HasPrefix(text, "tcp-request") && strings.Contains(text, "track-sc"):
		return "counts clients; see http.request.rate_limit", false
	}
	return unrelated, false
}

// refuse carries over a rule that turns clients away by their address alone.
func (s *service) refuse(cond []string, unless bool, named acls) (why string) {
	if len(cond) == 1 && strings.HasPrefix(cond[0], "!") && len(cond[0]) > 1 {
		cond, unless = []string{cond[0][1:]}, !unless
	} else if len(cond) > 1 && cond[0] == "!{" {
		cond, unless = append([]string{"{"}, cond[1:]...), !unless
	}
	if len(cond) == 0 {
		return "turns everybody away"
	}
	cases, err := named.cases(cond)
	if err != nil {
		return err.Error()
	}
	var networks []string
	for _, m := range cases {
		if !m.onlySources() {
			return "turns away by more than the client's address; see http.allow and http.deny, which are for a whole service"
		}
		networks = append(networks, m.sources...)
	}
	if unless {
		return s.allowOnly(networks)
	}
	s.deny = append(s.deny, networks...)
	return ""
}

// header carries over a change of a header without conditions and expressions.
func header(s *service, rule, cond []string) (why string, protects bool) {
	set, add, del := &s.filters.reqSet, &s.filters.reqAdd, &s.filters.reqDelete
	if rule[0] == "http-response" {
		set, add, del = &s.filters.respSet, &s.filters.respAdd, &s.filters.respDelete
	}
	name := http.CanonicalHeaderKey(rule[2])
	value := strings.Join(rule[3:], " ")
	switch {
	case rule[1] != "set-header" && rule[1] != "add-header" && rule[1] != "del-header":
		return unrelated, false
	case slices.Contains([]string{"X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Port", "X-Real-Ip"}, name):
		return unrelated, false // known to the list of reasons
	case cond != nil:
		return "depends on a condition, and headers are changed for every request of a service", false
	case strings.Contains(value, "%"):
		return "computes its value, and values are taken as they are", false
	case s.tcp:
		return "is for HTTP", false
	case rule[1] == "del-header":
		if !slices.Contains(*del, name) {
			*del = append(*del, name)
		}
	case rule[1] == "set-header" && name == "Strict-Transport-Security":
		return s.filters.header("stsseconds", maxAge(value)), false // it becomes http.tls.hsts
	case rule[1] == "set-header":
		put(set, name, value)
	default:
		put(add, name, value)
	}
	return "", false
}

func maxAge(value string) string {
	_, age, _ := strings.Cut(value, "max-age=")
	age, _, _ = strings.Cut(age, ";")
	return strings.TrimSpace(age)
}

// auth carries over a user list whose passwords are hashed.
func (h *haproxy) auth(s *service, rule, cond []string, unless bool) (why string) {
	text := strings.Join(plain(cond), " ")
	_, list, found := strings.Cut(text, "http_auth(")
	list, _, closed := strings.Cut(list, ")")
	if !found || !closed || unless != !strings.Contains(text, "!") || strings.Contains(text, "||") || len(strings.Fields(strings.Trim(text, "!{} "))) != 1 {
		return "asks some requests only for a password"
	}
	users := h.cfg.find(list, "userlist")
	if users == nil || s.tcp {
		return "names a userlist that is not there"
	}
	var lines strings.Builder
	for _, l := range users.lines {
		w := plain(l.words)
		if w[0] != "user" || len(w) < 4 {
			continue
		}
		if w[2] != "password" || !strings.HasPrefix(w[3], "$") {
			return "has a user with a password in the clear or an old hash: make htpasswd lines with openssl passwd -6"
		}
		fmt.Fprintf(&lines, "%s:%s\n", w[1], w[3])
		l.used = true
	}
	file := "secrets/" + named("users-"+list)
	s.keep(file, []byte(lines.String()))
	s.filters.usersFile = file
	if i := slices.Index(rule, "realm"); i > 0 && i+1 < len(rule) {
		s.filters.realm = rule[i+1]
	}
	return ""
}
