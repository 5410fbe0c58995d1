package controller

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// service goes from what it selects to the router that is told.
func (x *explainer) service(s config.Service) status.Explanation {
	steps := append(x.serviceSteps(s), x.reach(s)...)
	return conclude("service", s.Name, steps)
}

// serviceSteps are what a service selects and who of it can serve.
func (x *explainer) serviceSteps(s config.Service) []status.Step {
	named := status.Step{Step: "service", Service: s.Name, Verdict: status.OK}
	var ways []string
	for _, one := range selector(s).Conditions(discovery.Container{}) {
		ways = append(ways, one.Want)
	}
	switch n := len(s.Backend.Servers); {
	case n > 0 && s.Backend.Containers == nil:
		named.Text = fmt.Sprintf("%s names %s, and takes containers with %s", s.Name, count(n, "server"), some(ways))
	case n > 0:
		named.Text = fmt.Sprintf("%s names %s, and selects containers by %s", s.Name, count(n, "server"), some(ways))
	default:
		named.Text = fmt.Sprintf("%s selects containers by %s", s.Name, some(ways))
	}
	steps := []status.Step{named}
	if hosts := x.troubledHosts(); hosts != nil {
		steps = append(steps, *hosts)
	}
	return append(steps, x.endpointsStep(s))
}

// troubledHosts tells of the hosts that are not connected, nil when all are.
func (x *explainer) troubledHosts() *status.Step {
	var list []status.Note
	for _, h := range x.cfg.Hosts {
		if one := x.hostStep(h); one.Verdict != status.OK {
			list = append(list, status.Note{Verdict: status.Warn, Text: one.Text})
		}
	}
	if list == nil {
		return nil
	}
	return &status.Step{
		Step: "hosts", Verdict: status.Warn, Text: fmt.Sprintf("%d of %d not in full service", len(list), len(x.cfg.Hosts)), Detail: notes(list),
	}
}

// endpointsStep counts who is ready, and names the others first.
func (x *explainer) endpointsStep(s config.Service) status.Step {
	step := status.Step{Step: "endpoints", Service: s.Name, Verdict: status.OK}
	pool := x.want.Pools[s.Name]
	if pool == nil {
		step.Verdict, step.Text = status.Skip, fmt.Sprintf("%s does not look for any: see vip", x.node.Name)
		return step
	}
	ready := 0
	var list []status.Note
	for _, m := range pool.Members {
		one := x.serverStep(s, m)
		note := status.Note{Verdict: one.Verdict, Text: fmt.Sprintf("%s: %s", x.called(m), one.Text)}
		if one.Verdict != status.Fail {
			ready++
			note.Text = fmt.Sprintf("%s is ready%s", x.called(m), x.said(s, m))
		}
		list = append(list, note)
		step.Next = cmp.Or(step.Next, one.Next)
	}
	for _, r := range pool.Rejected {
		list = append(list, status.Note{Verdict: status.Fail, Text: fmt.Sprintf("%s is turned away, %s: %s", r.Name, r.Reason, r.Detail)})
	}
	slices.SortStableFunc(list, func(a, b status.Note) int { return order(a.Verdict) - order(b.Verdict) })
	step.Detail = notes(list)
	switch all := len(pool.Members); {
	case all == 0 && len(pool.Rejected) == 0:
		step.Verdict, step.Text = status.Fail, "there is no container that it selects"
		step.Next = "start one, or vipilot explain a container that should be selected"
	case all == 0:
		step.Verdict, step.Text = status.Fail, "all of what it selects is turned away: "+string(pool.Rejected[0].Reason)
		_, step.Next = advice(pool.Rejected[0].Reason, pool.Rejected[0].Detail)
	default:
		step.Text = fmt.Sprintf("%d of %d ready", ready, all)
		if n := len(pool.Rejected); n > 0 {
			step.Text += fmt.Sprintf(", %s turned away", count(n, "container"))
		}
		if ready == 0 {
			step.Verdict = status.Fail
		} else {
			step.Next = ""
		}
	}
	if step.Verdict == status.OK && (ready < len(pool.Members) || len(pool.Rejected) > 0) {
		step.Verdict = status.Warn
	}
	return step
}

// called is an endpoint's name and address; a static server is named by its
// address.
func (x *explainer) called(m Member) string {
	if m.Static {
		return m.target()
	}
	return m.Name + " at " + m.target()
}

// order puts trouble first.
func order(v status.Verdict) int {
	return slices.Index([]status.Verdict{status.Fail, status.Warn, status.OK, status.Skip}, v)
}

// frontendStep is how requests come to a service.
func (x *explainer) frontendStep(s config.Service) status.Step {
	var rules, names []string
	for _, l := range x.listeners {
		if l.vip.Name != s.VIP {
			continue
		}
		before := len(rules)
		rules = append(rules, l.rulesOf(s)...)
		if len(rules) > before {
			names = append(names, l.Name)
		}
	}
	step := status.Step{Step: "frontend", Service: s.Name, Verdict: status.OK, Text: fmt.Sprintf("%s: %s", some(names), some(rules))}
	if proxy := x.report.Components.HAProxy; proxy.Error != nil {
		step.Verdict = status.Warn
		step.Detail = []status.Note{{Verdict: status.Warn, Text: "HAProxy has trouble: " + *proxy.Error}}
	}
	return step
}

// rulesOf are what a listener leads to a service, as one would type it.
func (l listener) rulesOf(s config.Service) []string {
	var rules []string
	for _, r := range l.Routes {
		if r.Backend == s.Name {
			rules = append(rules, l.url(r))
		}
	}
	for _, r := range l.Redirects {
		if r.Backend == s.Name {
			rules = append(rules, l.url(r)+" (redirected to https)")
		}
	}
	if l.Default == s.Name {
		rules = append(rules, fmt.Sprintf("every connection to port %d", l.port))
	}
	return rules
}

func (l listener) url(r haproxy.Route) string {
	host := cmp.Or(r.Host, "*")
	scheme, usual := "http://", uint16(80)
	switch {
	case l.Mode == haproxy.TCP:
		return fmt.Sprintf("TLS for %s on port %d", host, l.port)
	case len(l.Certificates) > 0:
		scheme, usual = "https://", 443
	}
	if l.port != usual {
		host = fmt.Sprintf("%s:%d", host, l.port)
	}
	return scheme + host + r.Path
}

// vipStep is what part this node has in a VIP.
func (x *explainer) vipStep(v config.VIP) status.Step {
	step := status.Step{Step: "vip", Verdict: status.OK}
	name := fmt.Sprintf("%s (%s)", v.Name, addressList(v.Addresses))
	others := slices.DeleteFunc(slices.Clone(v.Nodes), func(n string) bool { return n == x.node.Name })
	switch role := x.report.VIPs[v.Name].Role; role {
	case "none":
		step.Verdict = status.Fail
		step.Text = fmt.Sprintf("%s is not placed on %s, but on %s", name, x.node.Name, some(v.Nodes))
		step.Next = "ask there: vipilot explain on " + some(v.Nodes)
	case "master":
		step.Text = fmt.Sprintf("%s: %s is master", name, x.node.Name)
	case "backup":
		step.Verdict, step.Reason = status.Fail, role
		step.Text = fmt.Sprintf("%s: %s is backup, clients reach the master (of %s)", name, x.node.Name, some(others))
		step.Next = "ask there: vipilot explain on " + some(others)
	case "fault":
		step.Verdict, step.Reason = status.Fail, role
		step.Text = fmt.Sprintf("%s: %s is in fault: HAProxy does not live here, or the interface is down", name, x.node.Name)
		step.Next = "vipilot status says which component fails"
	case "active":
		step.Text = fmt.Sprintf("%s, %s: %s carries it", name, v.HA, x.node.Name)
	default:
		step.Verdict = status.Fail
		step.Text = fmt.Sprintf("%s: keepalived has not said what %s is%s", name, x.node.Name, because(x.report.Components.Keepalived.Error))
		step.Next = "ask again; if it stays so, vipilot status says which component fails"
		switch v.HA {
		case config.Static:
			step.Verdict, step.Next = status.Warn, ""
			step.Text = fmt.Sprintf("%s, static: it is placed by somebody else, %s does not see where", name, x.node.Name)
		case config.Anycast:
			step.Text = fmt.Sprintf("%s, anycast: the address is not on this node%s", name, because(x.report.Components.Speaker.Error))
		}
	}
	return step
}

// announceStep is which router is told of a VIP, or why none is.
func (x *explainer) announceStep(v config.VIP) status.Step {
	step := status.Step{Step: "announce", Verdict: status.Skip}
	told := x.report.VIPs[v.Name]
	switch {
	case v.Announce == nil:
		step.Text = fmt.Sprintf("%s has no announce section: clients find it without a router's help", v.Name)
		return step
	case len(told.Announced) == 0:
		step.Text = "not announced: " + cmp.Or(told.Reason, "no reason is known")
		if told.Role == "master" || told.Role == "active" || told.Role == "unknown" {
			step.Verdict = status.Fail
			step.Next = "vipilot status; a prefix comes back as soon as its reason is gone"
		}
		return step
	}
	var up, down []string
	for _, p := range x.cfg.PeersOf(x.node) {
		peer := x.report.Components.Speaker.Peers[p.Name]
		text := fmt.Sprintf("%s (%s)", p.Name, p.Address)
		switch {
		case peer.State == "established":
			up = append(up, text)
			continue
		case peer.State != "":
			text += " is not established, but " + peer.State
		default:
			text += " is not known to the speaker yet"
		}
		if peer.Error != "" {
			text += ": " + peer.Error
		}
		down = append(down, text)
	}
	for _, text := range down {
		step.Detail = append(step.Detail, status.Note{Verdict: status.Warn, Text: text})
	}
	step.Detail = notes(step.Detail)
	prefixes := strings.Join(told.Announced, ", ")
	switch {
	case len(up) == 0:
		step.Verdict, step.Text = status.Fail, fmt.Sprintf("%s may be announced, but no peer listens", prefixes)
		step.Next = "look at the peer's ASN, password, ttl_security and at the network to it"
	case len(down) > 0 || told.Reason != "":
		step.Verdict, step.Text = status.Warn, fmt.Sprintf("%s is announced to %s", prefixes, some(up))
	default:
		step.Verdict, step.Text = status.OK, fmt.Sprintf("%s is announced to %s", prefixes, some(up))
	}
	if told.Reason != "" {
		step.Text += "; not the rest: " + told.Reason
	}
	return step
}

// vip goes from the address to the services behind it.
func (x *explainer) vip(v config.VIP, port uint16) status.Explanation {
	name := v.Name
	steps := []status.Step{x.vipStep(v), x.announceStep(v)}
	front := status.Step{Step: "frontend", Verdict: status.Fail, Text: fmt.Sprintf("no service of %s", v.Name)}
	var ports []uint16
	var texts []string
	services := make(map[string]bool)
	for _, l := range x.listeners {
		if l.vip.Name != v.Name {
			continue
		}
		ports = append(ports, l.port)
		if port != 0 && port != l.port {
			continue
		}
		front.Verdict = status.OK
		texts = append(texts, l.Name)
		for _, s := range x.cfg.Services {
			for _, rule := range l.rulesOf(s) {
				services[s.Name] = true
				front.Detail = append(front.Detail, status.Note{Verdict: status.OK, Text: rule + " → " + s.Name})
			}
		}
	}
	front.Detail = notes(front.Detail)
	switch {
	case front.Verdict == status.OK:
		front.Text = "HAProxy serves it with " + some(texts)
		if !slices.Contains(v.Nodes, x.node.Name) {
			front.Verdict, front.Text = status.Skip, "its nodes serve it with "+some(texts)
			services = nil // who is ready is known there
		}
	case len(ports) > 0:
		slices.Sort(ports)
		var words []string
		for _, p := range ports {
			words = append(words, fmt.Sprint(p))
		}
		front.Text = fmt.Sprintf("no service of %s listens on port %d, but on %s", v.Name, port, some(words))
		front.Next = fmt.Sprintf("use one of these ports, or declare a service with vip: %s on port %d", v.Name, port)
	default:
		front.Next = fmt.Sprintf("declare a service with vip: %s", v.Name)
	}
	if port != 0 {
		name = fmt.Sprintf("%s port %d", v.Name, port)
	}
	steps = append(steps, front)
	if len(services) > 0 {
		steps = append(steps, x.servicesStep(services))
	}
	return conclude("vip", name, steps)
}

// servicesStep counts which of some services have a ready endpoint.
func (x *explainer) servicesStep(names map[string]bool) status.Step {
	var list []status.Note
	ready := 0
	for _, s := range x.cfg.Services {
		if !names[s.Name] {
			continue
		}
		one := x.brief().endpointsStep(s)
		if one.Verdict != status.Fail && one.Verdict != status.Skip {
			ready++
		}
		list = append(list, status.Note{Verdict: one.Verdict, Text: s.Name + ": " + one.Text})
	}
	slices.SortStableFunc(list, func(a, b status.Note) int { return order(a.Verdict) - order(b.Verdict) })
	step := status.Step{Step: "services", Verdict: status.OK, Text: fmt.Sprintf("%d of %d have a ready endpoint", ready, len(list)), Detail: notes(list)}
	switch {
	case ready == 0:
		step.Verdict, step.Next = status.Fail, "vipilot explain one of them"
	case ready < len(list):
		step.Verdict = status.Warn
	}
	return step
}

// host tells what runs on it and who of it serves.
func (x *explainer) host(h config.Host) status.Explanation {
	serves := 0
	var list []status.Note
	containers := x.in.Hosts[h.Name].Containers
	for _, c := range containers {
		one := x.brief().container(h, c)
		if one.Verdict == status.GetsTraffic {
			serves++
			list = append(list, status.Note{Verdict: status.OK, Text: c.Name + " gets traffic"})
			continue
		}
		note := status.Note{Verdict: status.Warn, Text: c.Name + " gets none: " + one.Reason}
		if strings.HasPrefix(one.Reason, "not_selected") {
			note = status.Note{Verdict: status.Skip, Text: c.Name + " is in no service"}
		}
		list = append(list, note)
	}
	slices.SortStableFunc(list, func(a, b status.Note) int { return order(a.Verdict) - order(b.Verdict) })
	step := status.Step{
		Step: "containers", Verdict: status.OK, Text: fmt.Sprintf("%d of %d get traffic", serves, len(containers)), Detail: notes(list),
	}
	if serves == 0 {
		step.Verdict, step.Next = status.Fail, "vipilot explain "+h.Name+"/<container>"
	}
	return conclude("host", h.Name, []status.Step{x.hostStep(h), step})
}

func addressList(all []netip.Addr) string {
	var words []string
	for _, a := range all {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}
