package controller

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// serverSteps are the address a service reaches c at, and the server it is.
func (x *explainer) serverSteps(s config.Service, p place, c discovery.Container) []status.Step {
	want := p.want(s)
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
	if endpoint.Mesh != "" {
		return x.meshSteps(s, p, endpoint, ways(c, want))
	}
	address := status.Step{Step: "address", Verdict: status.OK, Text: endpoint.Address.String()}
	for _, one := range discovery.Candidates(c, want) {
		if one.Used {
			address.Text += fmt.Sprintf(": %s, %s", one.Where, one.Why)
		}
	}
	address.Detail = ways(c, want)
	name := serverName(s, endpoint)
	if x.in.Tier != nil {
		if name = token(endpoint); !endpoint.Via.IsValid() {
			return []status.Step{address, {Step: "server", Verdict: status.Skip, Text: "the nodes reach it without this host's proxy"}}
		}
	}
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
	if s.UDP != nil {
		return x.udpServerStep(s, m)
	}
	step := status.Step{Step: "server", Verdict: status.Fail}
	proxy := x.report.Components.HAProxy
	health := x.in.Health.Of(m.backend(s.Name), m.Server)
	switch {
	case proxy.State != "running":
		step.Text, step.Next = "HAProxy does not run"+because(proxy.Error), "see haproxy.log in the run directory"
	case m.Drain:
		step.Reason = string(m.Reason)
		step.Text, step.Next = "it drains: sessions finish, no new ones come", nextFor[m.Reason]
		if m.Reason == discovery.ReasonStopping {
			step.Text = "it was told to stop: sessions finish, no new ones come"
		}
		if m.ByHand {
			step.Text = "it was drained by hand: sessions finish, no new ones come"
			step.Next = undo(status.DrainHost, m.Host)
			if m.Reason == discovery.DrainedByHand {
				step.Next = undo(status.DrainEndpoint, m.Name)
			}
		}
	case !m.Answered:
		step.Reason, step.Text = "starting", fmt.Sprintf("%s has not answered since the container started; vipilot keeps asking", m.target())
		step.Next = cmp.Or(x.askTier(m), x.tryIt(s, m))
	case health == haproxy.Down:
		step.Reason, step.Text, step.Next = "down", "HAProxy's check fails"+x.said(s, m), x.checkAdvice(s, m)
	case m.Static && health == haproxy.Unknown:
		step.Reason, step.Text = "starting", "HAProxy has not checked it yet"
	case m.Weight == 0:
		step.Text, step.Next = "its weight is 0: only clients whose cookie pins them come", "change label vipilot.weight, or the server's weight"
	case m.Backup && x.othersReady(s):
		step.Text, step.Next = "it stands by: a backup server gets traffic only when no other is ready", "nothing to do while others are ready"
	default:
		step.Verdict, step.Text = status.OK, fmt.Sprintf("HAProxy's %s/%s is ready%s", haproxy.BackendName(s.Name, m.Set), m.Server, x.said(s, m))
		if len(s.Backend.Split) > 0 {
			step.Text += "; it belongs to " + shareOf(s, m.Set)
		}
		switch {
		case m.Static:
		case m.Swarm != "" && !x.isSeen(m.Swarm):
			step.Verdict = status.Warn
			step.Text += "; no manager of its Swarm can be asked, HAProxy's check decides alone"
		case m.Swarm == "" && !x.in.Hosts[m.Host].Connected:
			step.Verdict = status.Warn
			step.Text += "; its host is not reached, HAProxy's check decides alone"
		}
	}
	return step
}

// said is the last check in words, or why it is not known.
func (x *explainer) said(s config.Service, m Member) string {
	if x.checks == nil || s.UDP != nil {
		return ""
	}
	r, err := x.lastCheck(branchBackend(s.Name, m.Branch), m.Server)
	if err != nil {
		return "; last check: not known (" + err.Error() + ")"
	}
	return "; last check: " + r.String()
}

func (x *explainer) othersReady(s config.Service) bool {
	return slices.ContainsFunc(x.want.Pools[s.Name].Members, func(m Member) bool {
		return !m.Backup && m.ready(x.in.Health.Of(m.backend(s.Name), m.Server))
	})
}

// checkAdvice is what to look at, by the layer at which a check failed.
func (x *explainer) checkAdvice(s config.Service, m Member) string {
	if x.checks == nil {
		return ""
	}
	r, err := x.lastCheck(branchBackend(s.Name, m.Branch), m.Server)
	try := x.tryIt(s, m)
	switch {
	case err != nil || r.Check == "":
	case x.askTier(m) != "" && !strings.HasPrefix(r.Check, "L7"):
		return x.askTier(m)
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
		return fmt.Sprintf("try it on %s: curl -i http://%s%s", x.nearest(m), m.target(), s.Backend.Check.Path)
	}
	host, port, _ := net.SplitHostPort(m.target())
	return fmt.Sprintf("try it on %s: nc -vz %s %s", x.nearest(m), host, port)
}

func because(err *string) string {
	if err == nil {
		return ""
	}
	return ": " + *err
}
