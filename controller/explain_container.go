package controller

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// container goes from the host it runs on to the router that is told.
func (x *explainer) container(h config.Host, c discovery.Container) status.Explanation {
	selection, services := x.selected(c)
	common := []status.Step{x.hostStep(h), x.containerStep(c), selection}
	var chains [][]status.Step
	for _, s := range services {
		steps := append(x.serverSteps(s, h, c), x.reach(s)...)
		for i := range steps {
			steps[i].Service = s.Name
		}
		chains = append(chains, steps)
	}
	return conclude("container", h.Name+"/"+c.Name, common, chains...)
}

// static is a server that is no container: the repository names it.
func (x *explainer) static(s config.Service, m Member) status.Explanation {
	named := status.Step{Step: "service", Service: s.Name, Verdict: status.OK, Text: fmt.Sprintf("%s names it under backend.servers", s.Name)}
	steps := append([]status.Step{named, x.serverStep(s, m)}, x.reach(s)...)
	return conclude("server", s.Name+"/"+m.Name, steps)
}

// reach is how clients come to a service: frontend, VIP, announcement.
func (x *explainer) reach(s config.Service) []status.Step {
	vip, _ := x.cfg.VIP(s.VIP)
	return []status.Step{x.frontendStep(s), x.vipStep(vip), x.announceStep(vip)}
}

func (x *explainer) hostStep(h config.Host) status.Step {
	step := status.Step{Step: "host", Verdict: status.OK}
	seen := x.report.Hosts[h.Name]
	why := ""
	if seen.Error != nil {
		why = ": " + *seen.Error
	}
	switch {
	case h.Drain:
		step.Verdict, step.Reason = status.Fail, string(discovery.HostDrained)
		step.Text = fmt.Sprintf("%s is drained: sessions finish, no new ones come (hosts.%s.state)", h.Name, h.Name)
		step.Next = fmt.Sprintf("set hosts.%s.state to active when the work on it is done", h.Name)
	case seen.State == "connected":
		step.Text = fmt.Sprintf("%s is connected and runs %s", h.Name, count(seen.Containers, "container"))
	case seen.StaleSince != nil:
		step.Verdict = status.Warn
		step.Text = fmt.Sprintf("%s has not been reached for %s, what was known of it stays in force%s", h.Name, ago(x.at.Sub(*seen.StaleSince)), why)
		step.Next = "look at its Docker engine and at the network to it"
	default:
		step.Verdict, step.Text = status.Warn, h.Name+" has not answered yet"+why
	}
	return step
}

// nextFor is what to do where the sentence about a reason does not say it.
var nextFor = map[discovery.Reason]string{
	discovery.ReasonStarting:  "wait; if it lasts, docker inspect shows the check's last outputs under State.Health",
	discovery.ReasonStopping:  "nothing to do: it leaves when its sessions are over",
	discovery.HostDrained:     "set the host's state to active when the work on it is done",
	discovery.DisabledByLabel: "remove the label and recreate the container",
}

// advice splits discovery's sentence into what is and what would help: the
// help stands after the last semicolon.
func advice(reason discovery.Reason, detail string) (what, next string) {
	if i := strings.LastIndex(detail, "; "); i >= 0 {
		return detail[:i], detail[i+2:]
	}
	return detail, nextFor[reason]
}

func (x *explainer) containerStep(c discovery.Container) status.Step {
	step := status.Step{Step: "container", Verdict: status.OK}
	if reason, detail := discovery.Unfit(c); reason != "" {
		step.Verdict, step.Reason = status.Fail, string(reason)
		step.Text, step.Next = advice(reason, detail)
		return step
	}
	if c.State == discovery.Stopping {
		step.Verdict, step.Reason = status.Fail, string(discovery.ReasonStopping)
		step.Text, step.Next = "it was told to stop: running sessions finish, no new ones come", nextFor[discovery.ReasonStopping]
		return step
	}
	step.Text = "running"
	if !c.StartedAt.IsZero() {
		step.Text += " for " + ago(x.at.Sub(c.StartedAt))
	}
	step.Text += map[discovery.Health]string{discovery.Healthy: ", healthy", discovery.NoHealth: ", its image declares no health check"}[c.Health]
	return step
}

// near is a service that does not select a container, and how far from it.
type near struct {
	service config.Service
	met     int
	misses  []string
}

// selected says which services select c, and of those that nearly do, why not.
func (x *explainer) selected(c discovery.Container) (status.Step, []config.Service) {
	step := status.Step{Step: "service", Verdict: status.OK}
	var services []config.Service
	var others []near
	var texts []string
	for _, s := range x.cfg.Services {
		if s.Backend.Containers == nil && len(s.Backend.Servers) > 0 && c.Labels[serviceLabel] != s.Name {
			continue // meant for its static servers
		}
		match := selector(s)
		if x.checks == nil && !match.Matches(c) {
			continue
		}
		conditions := match.Conditions(c)
		misses := match.Misses(c)
		if len(misses) > 0 {
			others = append(others, near{s, len(conditions) - len(misses), misses})
			continue
		}
		services = append(services, s)
		var met []string
		for _, one := range conditions {
			met = append(met, one.Want)
		}
		texts = append(texts, fmt.Sprintf("%s selects it by %s", s.Name, some(met)))
	}
	step.Text = strings.Join(texts, "; ")
	if len(services) == 0 {
		step.Verdict, step.Reason, step.Text = status.Fail, "not_selected", "no service selects it"
		step.Next = "give it what a service asks for (backend.containers), or label vipilot.service=<service> where the service names no containers"
	}
	step.Detail = nearly(others, len(services) == 0)
	if note := x.labelNote(c); note != "" {
		step.Detail = append(step.Detail, status.Note{Verdict: status.Warn, Text: note})
	}
	return step, services
}

// nearly tells of the services that share a condition with the container, or,
// when none selects it, of those that miss the fewest.
func nearly(others []near, none bool) []status.Note {
	slices.SortStableFunc(others, func(a, b near) int { return cmp.Or(len(a.misses)-len(b.misses), b.met-a.met) })
	var list []status.Note
	left := 0
	for _, one := range others {
		switch {
		case one.met == 0 && !none:
			continue
		case len(list) == maxNear:
			left++
			continue
		}
		list = append(list, status.Note{Verdict: status.Skip, Text: fmt.Sprintf("%s does not: it wants %s", one.service.Name, some(one.misses))})
	}
	if left > 0 {
		list = append(list, status.Note{Verdict: status.Skip, Text: count(left, "other service") + " want something else"})
	}
	return list
}

// labelNote tells of a vipilot.service label that leads nowhere.
func (x *explainer) labelNote(c discovery.Container) string {
	name, ok := c.Labels[serviceLabel]
	if !ok {
		return ""
	}
	s, declared := x.cfg.Service(name)
	switch {
	case !declared:
		var names []string
		for _, one := range x.cfg.Services {
			names = append(names, one.Name)
		}
		text := fmt.Sprintf("label vipilot.service=%.40q names no declared service", name)
		if guess := config.Nearest(name, names, 1); len(guess) > 0 {
			text += fmt.Sprintf("; did you mean %q?", guess[0])
		}
		return text
	case s.Backend.Containers != nil:
		return fmt.Sprintf("label vipilot.service=%s has no effect: the service says itself which containers it takes", name)
	}
	return ""
}

// serverSteps are the address a service reaches c at, and the server it is.
func (x *explainer) serverSteps(s config.Service, h config.Host, c discovery.Container) []status.Step {
	want := x.wants(h)(s)
	endpoint, refusal := discovery.Resolve(c, want)
	if refusal != nil {
		address := status.Step{Step: "address", Verdict: status.Fail, Reason: string(refusal.Reason)}
		address.Text, address.Next = advice(refusal.Reason, refusal.Detail)
		server := status.Step{Step: "server", Verdict: status.Skip, Text: "it is no server of " + s.Name + " in HAProxy"}
		switch unfit, _ := discovery.Unfit(c); refusal.Reason {
		case unfit:
			address = status.Step{Step: "address", Verdict: status.Skip, Text: "not looked for while the container cannot serve"}
		case discovery.DisabledByLabel, discovery.InvalidLabel:
			address.Step = "labels"
		default:
			address.Detail = ways(c, want)
		}
		return []status.Step{address, server}
	}
	address := status.Step{Step: "address", Verdict: status.OK, Text: endpoint.Address.String()}
	for _, one := range discovery.Candidates(c, want) {
		if one.Used {
			address.Text += fmt.Sprintf(": %s, %s", one.Where, one.Why)
		}
	}
	address.Detail = ways(c, want)
	name := serverName(endpoint)
	pool := x.want.Pools[s.Name]
	if pool == nil {
		return []status.Step{address, {Step: "server", Verdict: status.Skip, Text: fmt.Sprintf("%s does not serve %s: see vip", x.node.Name, s.Name)}}
	}
	i := slices.IndexFunc(pool.Members, func(m Member) bool { return m.Server == name })
	if i < 0 {
		return []status.Step{address, {Step: "server", Verdict: status.Fail, Text: "not taken up yet: the round that does so has not finished", Next: "ask again; if it stays so, vipilot status says what fails"}}
	}
	return []status.Step{address, x.serverStep(s, pool.Members[i])}
}

// ways tells of the candidates that are not used.
func ways(c discovery.Container, want discovery.Want) []status.Note {
	var list []status.Note
	for _, one := range discovery.Candidates(c, want) {
		if !one.Used {
			list = append(list, status.Note{Verdict: status.Skip, Text: fmt.Sprintf("not by %s: %s", one.Where, one.Why)})
		}
	}
	return notes(list)
}

// serverStep is what HAProxy does with a member of a service.
func (x *explainer) serverStep(s config.Service, m Member) status.Step {
	step := status.Step{Step: "server", Verdict: status.Fail}
	proxy := x.report.Components.HAProxy
	health := x.in.Health[haproxy.ServerKey{Backend: s.Name, Server: m.Server}]
	switch {
	case proxy.State != "running":
		step.Text, step.Next = "HAProxy does not run"+because(proxy.Error), "see haproxy.log in the run directory"
	case m.Drain:
		step.Reason = string(m.Reason)
		step.Text, step.Next = "it drains: sessions finish, no new ones come", nextFor[m.Reason]
	case !m.Answered:
		step.Reason, step.Text = "starting", fmt.Sprintf("%s has not answered since the container started; vipilot keeps asking", m.target())
		step.Next = x.tryIt(s, m)
	case health == haproxy.Down:
		step.Reason, step.Text, step.Next = "down", "HAProxy's check fails"+x.said(s, m), x.checkAdvice(s, m)
	case m.Static && health == haproxy.Unknown:
		step.Reason, step.Text = "starting", "HAProxy has not checked it yet"
	case m.Weight == 0:
		step.Text, step.Next = "its weight is 0: only clients whose cookie pins them come", "change label vipilot.weight, or the server's weight"
	case m.Backup && x.othersReady(s):
		step.Text, step.Next = "it stands by: a backup server gets traffic only when no other is ready", "nothing to do while others are ready"
	default:
		step.Verdict, step.Text = status.OK, fmt.Sprintf("HAProxy's %s/%s is ready%s", s.Name, m.Server, x.said(s, m))
		if !m.Static && !x.in.Hosts[m.Host].Connected {
			step.Verdict = status.Warn
			step.Text += "; its host is not reached, HAProxy's check decides alone"
		}
	}
	return step
}

// said is the last check in words, or why it is not known.
func (x *explainer) said(s config.Service, m Member) string {
	if x.checks == nil {
		return ""
	}
	r, err := x.lastCheck(s.Name, m.Server)
	if err != nil {
		return "; last check: not known (" + err.Error() + ")"
	}
	return "; last check: " + r.String()
}

func (x *explainer) othersReady(s config.Service) bool {
	return slices.ContainsFunc(x.want.Pools[s.Name].Members, func(m Member) bool {
		return !m.Backup && m.ready(x.in.Health[haproxy.ServerKey{Backend: s.Name, Server: m.Server}])
	})
}

// checkAdvice is what to look at, by the layer at which a check failed.
func (x *explainer) checkAdvice(s config.Service, m Member) string {
	if x.checks == nil {
		return ""
	}
	r, err := x.lastCheck(s.Name, m.Server)
	try := x.tryIt(s, m)
	switch {
	case err != nil || r.Check == "":
	case r.Check == "L4TOUT":
		return fmt.Sprintf("look for a firewall or a missing route between %s and %s; %s", x.node.Name, m.target(), try)
	case strings.HasPrefix(r.Check, "L4"):
		return fmt.Sprintf("does the application listen there? %s", try)
	case r.Check == "L7STS":
		return fmt.Sprintf("the check wants a status of 200 to 399; %s", try)
	case strings.HasPrefix(r.Check, "L7"):
		return fmt.Sprintf("it takes connections and does not answer the check in time or in HTTP; %s", try)
	}
	return try
}

// tryIt is how to see it with one's own eyes.
func (x *explainer) tryIt(s config.Service, m Member) string {
	if s.Backend.Check != nil && s.Backend.Check.Path != "" {
		return fmt.Sprintf("try it on %s: curl -i http://%s%s", x.node.Name, m.target(), s.Backend.Check.Path)
	}
	host, port, _ := net.SplitHostPort(m.target())
	return fmt.Sprintf("try it on %s: nc -vz %s %s", x.node.Name, host, port)
}

func because(err *string) string {
	if err == nil {
		return ""
	}
	return ": " + *err
}

// ago is how long something lasts, as one says it.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than a second"
	case d < 2*time.Minute:
		return d.Truncate(time.Second).String()
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
