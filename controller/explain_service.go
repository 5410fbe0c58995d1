package controller

import (
	"cmp"
	"fmt"
	"slices"

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
	if s.UDP != nil && x.in.NoUDP != "" {
		step = x.noUDP("endpoints")
		step.Service = s.Name
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
	return countEndpoints(step, pool, ready)
}

// countEndpoints comes to a verdict on a pool of which some are ready.
func countEndpoints(step status.Step, pool *Pool, ready int) status.Step {
	all, rejected := len(pool.Members), len(pool.Rejected)
	switch {
	case all == 0 && rejected == 0:
		step.Verdict, step.Text = status.Fail, "there is no container that it selects"
		step.Next = "start one, or vipilot explain a container that should be selected"
		return step
	case all == 0:
		first := pool.Rejected[0]
		step.Verdict, step.Text = status.Fail, "all of what it selects is turned away: "+string(first.Reason)
		_, step.Next = advice(first.Reason, first.Detail)
		return step
	}
	step.Text = fmt.Sprintf("%d of %d ready", ready, all)
	if rejected > 0 {
		step.Text += fmt.Sprintf(", %s turned away", count(rejected, "container"))
	}
	switch {
	case ready == 0:
		step.Verdict = status.Fail
		return step
	case ready < all || rejected > 0:
		step.Verdict = status.Warn
	}
	step.Next = "" // enough are ready
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
	if s.UDP != nil {
		return x.udpFrontendStep(s)
	}
	step := status.Step{Step: "frontend", Service: s.Name, Verdict: status.OK}
	var rules, names []string
	taken := 0
	for _, l := range x.listeners {
		ours := l.rulesOf(s)
		if l.vip.Name != s.VIP || len(ours) == 0 {
			continue
		}
		rules, names = append(rules, ours...), append(names, l.Name)
		if text, next := x.taken(l); text != "" {
			taken++
			step.Verdict, step.Next = status.Warn, next
			step.Detail = append(step.Detail, status.Note{Verdict: status.Fail, Text: text})
		}
	}
	step.Text = fmt.Sprintf("%s: %s", some(names), some(rules))
	if proxy := x.report.Components.HAProxy; proxy.Error != nil && taken == 0 {
		step.Verdict = status.Warn
		step.Detail = []status.Note{{Verdict: status.Warn, Text: "HAProxy has trouble: " + *proxy.Error}}
	}
	if taken > 0 && taken == len(names) {
		step.Verdict, step.Reason, step.Text, step.Detail = status.Fail, "port_taken", step.Detail[0].Text, nil
	}
	return step
}

// taken says that HAProxy cannot listen, and how to find who does; "" when it
// can.
func (x *explainer) taken(l listener) (text, next string) {
	if !x.in.Taken[l.Name] {
		return "", ""
	}
	return fmt.Sprintf("%s does not listen: another program on %s has port %d", l.Name, x.node.Name, l.port),
		fmt.Sprintf("ss -ltnp 'sport = :%d' on %s names it; HAProxy takes the port when it is free", l.port, x.node.Name)
}

// rulesOf are what a listener leads to a service, as one would type it.
func (l listener) rulesOf(s config.Service) []string {
	var rules []string
	for _, r := range l.Routes {
		if serviceOf(r.Backend) == s.Name {
			rules = append(rules, l.url(r))
		}
	}
	for _, r := range l.Redirects {
		if serviceOf(r.Backend) == s.Name {
			rules = append(rules, l.url(r)+" (redirected to https)")
		}
	}
	if l.Default == s.Name {
		rules = append(rules, fmt.Sprintf("every connection to port %d", l.port)+l.UpTo())
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
