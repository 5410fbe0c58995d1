package controller

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/acme"
	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// rule is one route of a frontend, held against a request.
type rule struct {
	haproxy.Route
	redirect    bool
	host, path  bool // they fit
	condition   bool // a plain GET fulfils it
	specificity int  // of the host: exact 2, wildcard 1, every host 0
}

func (r rule) fits() bool { return r.host && r.path && r.condition }

// length is what the longest path is measured by: whole segments, so a slash
// at the end says nothing.
func (r rule) length() int { return len(strings.TrimRight(r.Path, "/")) }

// judge holds every rule of a frontend against a request, as HAProxy does: the
// longest path wins, then the exact host over the wildcard over every host.
// The winner, where one fits, comes first. With TLS passed through there is no
// path, only the name.
func judge(f haproxy.Frontend, host, path string) []rule {
	var rules []rule
	add := func(routes []haproxy.Route, redirect bool) {
		for _, r := range routes {
			one := rule{Route: r, redirect: redirect, path: f.Mode == haproxy.TCP || fitsPath(r.Path, path)}
			one.host, one.specificity = fitsHost(r.Host, host)
			one.condition = r.If.Fits("GET")
			rules = append(rules, one)
		}
	}
	add(f.Routes, false)
	add(f.Redirects, true)
	slices.SortStableFunc(rules, func(a, b rule) int {
		if a.fits() != b.fits() {
			return map[bool]int{true: -1, false: 1}[a.fits()]
		}
		if f.Mode == haproxy.TCP {
			return b.specificity - a.specificity
		}
		return cmp.Or(b.length()-a.length(), b.specificity-a.specificity, b.If.Count()-a.If.Count())
	})
	return rules
}

// fitsHost: a wildcard stands for one label.
func fitsHost(pattern, host string) (fits bool, specificity int) {
	suffix, wildcard := strings.CutPrefix(pattern, "*")
	switch {
	case pattern == "":
		return true, 0
	case wildcard:
		i := strings.IndexByte(host, '.')
		return i >= 0 && host[i:] == suffix, 1
	}
	return pattern == host, 2
}

// fitsPath: a prefix of whole segments, compared as the bytes come.
func fitsPath(prefix, path string) bool {
	return strings.HasPrefix(path+"/", strings.TrimRight(prefix, "/")+"/")
}

// findURL looks for the frontends that answer a URL. One that no service
// answers is still explained where its host leads to a VIP.
func (x *explainer) findURL(s subject, dns resolved) []thing {
	addr, err := netip.ParseAddr(s.host)
	if err == nil && !x.isVIP(addr) {
		return x.findAddress(subject{addr: addr, port: s.port}) // the address of an endpoint, behind HAProxy
	}
	var answer, known, silent []thing
	for _, l := range x.reached(dns) {
		switch tell := func() status.Explanation { return x.url(s, l, dns) }; {
		case err == nil && !slices.Contains(l.vip.Addresses, addr):
		case s.port != 0 && !l.has(s.port):
		case l.beside != nil && !l.passes(s): // the other part tells of it
		case l.answers(s):
			answer = append(answer, tell)
		case slices.ContainsFunc(judge(l.Frontend, s.host, s.path), func(r rule) bool { return r.host }):
			silent = append(silent, tell)
		case s.port == 0 && l.Default != "": // takes connections without a name
		case err == nil || slices.ContainsFunc(l.vip.Addresses, dns.has) || x.hosts(l.vip, s) && s.port != 0:
			known = append(known, tell)
		}
	}
	switch {
	case len(answer) > 0:
		return answer
	case len(silent) > 0:
		return silent
	case len(known) > 0:
		return known
	}
	if s.port == 0 {
		return nil
	}
	return x.wrongPort(s, addr, dns)
}

// answers reports whether a listener has a service for s.
func (l listener) answers(s subject) bool {
	rules := judge(l.Frontend, s.host, s.path)
	return l.Default != "" && (s.port != 0 || len(l.Routes) > 0) || len(rules) > 0 && rules[0].fits()
}

// passes reports whether TLS for s goes through a listener that has another
// beside it, where it may end. The exact name wins.
func (l listener) passes(s subject) bool {
	rules := judge(haproxy.Frontend{Mode: haproxy.TCP, Routes: l.beside.Names()}, s.host, s.path)
	return len(rules) > 0 && rules[0].fits() && slices.Contains(l.Routes, rules[0].Route)
}

// wrongPort explains a URL whose VIP listens on other ports only.
func (x *explainer) wrongPort(s subject, addr netip.Addr, dns resolved) []thing {
	for _, v := range x.cfg.VIPs {
		if slices.Contains(v.Addresses, addr) || slices.ContainsFunc(v.Addresses, dns.has) || x.hosts(v, s) {
			return []thing{func() status.Explanation {
				e := x.vip(v, s.port)
				e.Kind, e.Name = "url", s.text
				e.Steps = slices.Concat(x.dnsStep(s, dns, v), e.Steps)
				return e
			}}
		}
	}
	return nil
}

// hosts reports whether the host of s is declared on any port of v.
func (x *explainer) hosts(v config.VIP, s subject) bool {
	return slices.ContainsFunc(x.listeners, func(l listener) bool {
		return l.vip.Name == v.Name && slices.ContainsFunc(judge(l.Frontend, s.host, s.path), func(r rule) bool { return r.host && r.Host != "" })
	})
}

func (x *explainer) isVIP(a netip.Addr) bool {
	return slices.ContainsFunc(x.cfg.VIPs, func(v config.VIP) bool { return slices.Contains(v.Addresses, a) })
}

func (d resolved) has(a netip.Addr) bool { return slices.Contains(d.addresses, a) }

// reached are the listeners that a name leads to; all, when it leads to no VIP
// or nobody has looked.
func (x *explainer) reached(dns resolved) []listener {
	var list []listener
	for _, l := range x.listeners {
		if slices.ContainsFunc(l.vip.Addresses, dns.has) {
			list = append(list, l)
		}
	}
	if list == nil {
		return x.listeners
	}
	return list
}

// url goes from the name a client types to the container that answers.
func (x *explainer) url(s subject, l listener, dns resolved) status.Explanation {
	steps := append(x.dnsStep(s, dns, l.vip), x.vipStep(l.vip), x.announceStep(l.vip))
	name := s.text
	if !strings.Contains(name, "://") {
		name = fmt.Sprintf("%s (%s)", s.host, l.Name)
	}
	taken, free := x.taken(l)
	secure := s.tls || s.port == 0 && len(l.Certificates) > 0
	front := status.Step{Step: "frontend", Verdict: status.OK, Text: fmt.Sprintf("%s listens on port %d of %s", l.Name, l.port, l.vip.Name)}
	switch {
	case taken != "":
		front.Verdict, front.Reason, front.Text, front.Next = status.Fail, "port_taken", taken, free
	case l.Mode == haproxy.TCP:
		front.Text += ", and passes connections on as they are"
	case secure && len(l.Certificates) == 0:
		front.Verdict, front.Text = status.Fail, front.Text+", in plain HTTP: a client that begins with TLS gets no answer"
		front.Next = "use http://, or give the service http.tls"
	case !secure && len(l.Certificates) > 0:
		front.Verdict, front.Text = status.Fail, front.Text+" with TLS: a client that speaks plain HTTP there gets no answer"
		front.Next = "use https://"
	}
	steps = append(steps, front)
	if len(l.Certificates) > 0 {
		steps = append(steps, x.tlsStep(s, l))
	}
	found, won := ruleStep(s, l)
	steps = append(steps, found)
	if won == nil {
		return conclude("url", name, steps)
	}
	service, _ := x.cfg.Service(serviceOf(won.Backend))
	if won.redirect {
		steps = append(steps, x.redirected(s, l)...)
	}
	return conclude("url", name, append(steps, x.serviceSteps(service)...))
}

// redirected follows a redirect to the VIP's TLS port.
func (x *explainer) redirected(s subject, l listener) []status.Step {
	for _, other := range x.listeners {
		if other.vip.Name == l.vip.Name && other.port == l.RedirectPort {
			found, _ := ruleStep(s, other)
			return []status.Step{x.tlsStep(s, other), found}
		}
	}
	return nil
}

// dnsStep says whether the name leads to the VIP. Only the asker's resolver
// knows; an address needs none.
func (x *explainer) dnsStep(s subject, dns resolved, v config.VIP) []status.Step {
	if _, err := netip.ParseAddr(s.host); err == nil {
		return nil
	}
	step := status.Step{Step: "dns", Verdict: status.OK, Text: fmt.Sprintf("%s leads to %s", s.host, addressList(dns.addresses))}
	should := fmt.Sprintf("%s should lead to %s", s.host, addressList(v.Addresses))
	var strange []netip.Addr
	for _, a := range dns.addresses {
		if !slices.Contains(v.Addresses, a) {
			strange = append(strange, a)
		}
	}
	switch {
	case !dns.asked:
		step.Verdict, step.Text = status.Skip, "not looked up; "+should
	case len(dns.addresses) == 0:
		step.Verdict, step.Text = status.Warn, fmt.Sprintf("%s has no address where you ask (%s); it should lead to %s", s.host, dns.why, addressList(v.Addresses))
	case len(strange) == len(dns.addresses):
		step.Verdict, step.Text = status.Warn, fmt.Sprintf("%s, and not to VIP %s (%s): clients come here only if something in between translates", step.Text, v.Name, addressList(v.Addresses))
	case len(strange) > 0:
		step.Verdict, step.Text = status.Warn, fmt.Sprintf("%s; %s is none of %s's addresses", step.Text, addressList(strange), v.Name)
	default:
		step.Text += ", VIP " + v.Name
	}
	return []status.Step{step}
}

// tlsStep says whether a certificate of the port covers the name.
func (x *explainer) tlsStep(s subject, l listener) status.Step {
	var covered []string
	for _, c := range l.Certificates {
		block, _ := pem.Decode(c.PEM)
		for rest := c.PEM; block != nil && block.Type != "CERTIFICATE"; {
			block, rest = pem.Decode(rest)
		}
		if block == nil {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if leaf.VerifyHostname(s.host) != nil {
			covered = append(covered, leaf.DNSNames...)
			continue
		}
		step := status.Step{Step: "tls", Verdict: status.OK, Text: fmt.Sprintf("the certificate of %s covers %s until %s", c.Name, s.host, leaf.NotAfter.UTC().Format("2006-01-02"))}
		if acme.IsTemporary(leaf) {
			step.Verdict, step.Next = status.Warn, "vipilot status says what became of the last attempt"
			step.Text = fmt.Sprintf("the certificate for %s is self-signed until one is obtained: clients refuse it", s.host)
		}
		if x.at.After(leaf.NotAfter) {
			step.Verdict, step.Next = status.Warn, "renew it"
			step.Text = fmt.Sprintf("the certificate of %s for %s has expired on %s: clients refuse it", c.Name, s.host, leaf.NotAfter.UTC().Format("2006-01-02"))
		}
		return step
	}
	return status.Step{Step: "tls", Verdict: status.Warn, Text: fmt.Sprintf("no certificate on port %d covers %s (they cover %s): clients refuse the one they get", l.port, s.host, cmp.Or(some(covered), "nothing"))}
}

// ruleStep says which rule takes the request and why not the others.
func ruleStep(s subject, l listener) (status.Step, *rule) {
	step := status.Step{Step: "rule", Verdict: status.OK}
	rules := judge(l.Frontend, s.host, s.path)
	if len(rules) > 0 && rules[0].fits() {
		won := rules[0]
		step.Text = fmt.Sprintf("%s leads to %s", l.url(won.Route), won.Backend)
		if won.redirect {
			step.Text = fmt.Sprintf("%s is redirected to https, port %d", l.url(won.Route), l.RedirectPort)
		}
		step.Detail = l.losers(rules[1:], won)
		return step, &won
	}
	if l.Default != "" {
		step.Text = fmt.Sprintf("every connection to port %d leads to %s", l.port, l.Default)
		return step, &rule{Route: haproxy.Route{Backend: l.Default}}
	}
	step.Verdict, step.Reason = status.Fail, "no_rule"
	step.Text = fmt.Sprintf("no rule of %s takes %s%s: the answer is 404", l.Name, s.host, s.path)
	if l.Mode == haproxy.TCP {
		step.Text = fmt.Sprintf("no rule of %s takes TLS for %s: the connection is closed", l.Name, s.host)
	}
	step.Detail = l.losers(rules, rule{})
	step.Next = "declare the host and path under a service's http"
	var hosts []string
	for _, r := range rules {
		hosts = append(hosts, r.Host)
	}
	if guess := config.Nearest(s.host, hosts, 1); len(guess) > 0 && guess[0] != s.host {
		step.Next = fmt.Sprintf("did you mean %s? Otherwise declare the host and path under a service's http", guess[0])
	}
	return step, nil
}

// losers tells of the rules that took part and did not win.
func (l listener) losers(rules []rule, won rule) []status.Note {
	var list []status.Note
	add := func(r rule, why string) {
		list = append(list, status.Note{Verdict: status.Skip, Text: fmt.Sprintf("not %s (%s): %s", l.url(r.Route), r.Backend, why)})
	}
	for _, r := range rules {
		switch {
		case r.host && r.path && !r.condition:
			add(r, "it fits too, but wants "+r.If.String())
		case r.fits() && r.length() < won.length():
			add(r, "it fits too, its path is shorter")
		case r.fits() && r.specificity < won.specificity:
			add(r, "it fits too, its host is less exact")
		case r.fits():
			add(r, "it fits too, with fewer conditions")
		case r.host && r.Host != "":
			add(r, "the path does not begin with "+r.Path+" in whole segments")
		case r.host:
			add(r, "it takes every host, but the path does not begin with "+r.Path)
		}
	}
	return notes(list)
}
