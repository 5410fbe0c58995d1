package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/status"
)

// container goes from the host it runs on to the router that is told.
func (x *explainer) container(p place, c discovery.Container) status.Explanation {
	selection, services := x.selected(c)
	common := []status.Step{x.placeStep(p), x.containerStep(c), selection}
	var chains [][]status.Step
	for _, s := range services {
		steps := append(x.serverSteps(s, p, c), x.reach(s)...)
		for i := range steps {
			steps[i].Service = s.Name
		}
		chains = append(chains, steps)
	}
	return conclude("container", p.called(c), common, chains...)
}

// static is a server that is no container: the repository names it, or it is
// a Swarm's node that passes connections on.
func (x *explainer) static(s config.Service, m Member) status.Explanation {
	named := status.Step{Step: "service", Service: s.Name, Verdict: status.OK, Text: fmt.Sprintf("%s names it under backend.servers", s.Name)}
	if m.Mesh != "" {
		named.Text = fmt.Sprintf("%s reaches the Swarm service %s through this node, as through every other (routing mesh)", s.Name, m.Mesh)
	}
	if others := x.sharers(s, m); others != nil {
		named.Verdict = status.Warn
		named.Detail = []status.Note{{Verdict: status.Warn, Text: fmt.Sprintf("%s names %s too: each counts only its own connections, limits and checks", some(others), m.target())}}
	}
	steps := append([]status.Step{named, x.serverStep(s, m)}, x.reach(s)...)
	return conclude("server", s.Name+"/"+m.Name, steps)
}

// sharers are the other services that name the same static address.
func (x *explainer) sharers(s config.Service, m Member) []string {
	var names []string
	for _, other := range x.cfg.Services {
		same := func(one config.StaticServer) bool { return staticMember(one).target() == m.target() }
		if m.Static && other.Name != s.Name && slices.ContainsFunc(other.Backend.Servers, same) {
			names = append(names, other.Name)
		}
	}
	return names
}

// reach is how clients come to a service: frontend, VIP, announcement.
func (x *explainer) reach(s config.Service) []status.Step {
	if x.in.Tier != nil {
		return []status.Step{x.tierStep(s)}
	}
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
	case x.in.Drains.has(status.DrainHost, h.Name):
		step.Verdict, step.Reason = status.Fail, string(discovery.HostDrained)
		step.Text, step.Next = h.Name+" was drained by hand: sessions finish, no new ones come", undo(status.DrainHost, h.Name)
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
		if c.Task != nil && c.State != discovery.Running && c.State != discovery.Paused {
			step.Next = "docker service ps " + c.Task.Service + " on a manager says more"
		}
		return step
	}
	if c.State == discovery.Stopping { // the last one may serve on until its successor does: see server
		step.Verdict, step.Text = status.Warn, "it was told to stop"
		return step
	}
	step.Text = "running"
	if !c.StartedAt.IsZero() {
		step.Text += " for " + ago(x.at.Sub(c.StartedAt))
	}
	switch {
	case c.Health == discovery.Healthy:
		step.Text += ", healthy"
	case c.Task == nil: // of a task no manager tells its health
		step.Text += ", its image declares no health check"
	}
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
