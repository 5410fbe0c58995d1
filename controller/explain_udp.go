package controller

import (
	"fmt"
	"slices"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// udpRule is what comes to a UDP service, as one would say it.
func udpRule(s config.Service) string {
	return fmt.Sprintf("every datagram to UDP port %d", s.UDP.Port)
}

// noUDP is the step for a node whose kernel cannot, which name is for.
func (x *explainer) noUDP(name string) status.Step {
	return status.Step{Step: name, Verdict: status.Fail, Reason: "no_ipvs", Text: x.in.NoUDP, Next: "modprobe ip_vs on " + x.node.Name}
}

// udpFrontendStep is how datagrams come to a UDP service.
func (x *explainer) udpFrontendStep(s config.Service) status.Step {
	step := status.Step{Step: "frontend", Service: s.Name, Verdict: status.OK, Text: "IPVS, which keepalived drives: " + udpRule(s)}
	checker := x.report.Components.Keepalived.Checker
	switch {
	case x.in.NoUDP != "":
		step = x.noUDP("frontend")
		step.Service = s.Name
	case checker != nil && checker.Error != nil:
		step.Verdict, step.Text, step.Next = status.Fail, "keepalived's checker has trouble: "+*checker.Error, "see keepalived/checker.log in the run directory"
	}
	return step
}

// udpServerStep is what IPVS does with a member of a UDP service.
func (x *explainer) udpServerStep(s config.Service, m Member) status.Step {
	step := status.Step{Step: "server", Verdict: status.Fail}
	up := x.in.Health.Of(s.Name, m.Server) == haproxy.Up
	switch {
	case x.in.NoUDP != "":
		return x.noUDP("server")
	case m.Drain:
		step.Reason = string(m.Reason)
		step.Text, step.Next = "it drains: clients it has may stay, no new ones come", nextFor[m.Reason]
		if m.ByHand {
			step.Next = undo(status.DrainHost, m.Host)
			if m.Reason == discovery.DrainedByHand {
				step.Next = undo(status.DrainEndpoint, m.Name)
			}
		}
	case m.Weight == 0:
		step.Text, step.Next = "its weight is 0: no new clients come", "change label vipilot.weight, or the server's weight"
	case !x.familyOf(s, m):
		step.Text, step.Next = fmt.Sprintf("VIP %s has no address of the family of %s: IPVS does not translate between them", s.VIP, m.target()), "give the VIP, or the endpoint, an address of the other family"
	case !up:
		step.Reason, step.Text = "down", "the kernel's table does not have it: keepalived's check found its port closed, or has not run yet"
		step.Next = fmt.Sprintf("try it on %s: nc -vzu %s %d; keepalived/checker.log in the run directory tells of each check", x.node.Name, m.Address.Addr(), m.Address.Port())
	case m.Backup && x.othersReady(s):
		step.Text, step.Next = "it stands by: a backup gets traffic only when no other is ready", "nothing to do while others are ready"
	default:
		step.Verdict, step.Text = status.OK, fmt.Sprintf("IPVS sends to %s with weight %d", m.target(), m.Weight)
	}
	return step
}

// familyOf reports whether the service's VIP has an address of m's family.
func (x *explainer) familyOf(s config.Service, m Member) bool {
	vip, _ := x.cfg.VIP(s.VIP)
	for _, a := range vip.Addresses {
		if a.Is4() == m.Address.Addr().Is4() {
			return true
		}
	}
	return false
}

// addUDP adds the UDP services of a VIP to what listens on it; port 0 is every
// port.
func (x *explainer) addUDP(v config.VIP, port uint16, step *status.Step, services map[string]bool) (ports []uint16, found bool) {
	for _, s := range x.cfg.Services {
		if s.UDP == nil || s.VIP != v.Name {
			continue
		}
		ports = append(ports, s.UDP.Port)
		if port != 0 && port != s.UDP.Port {
			continue
		}
		services[s.Name], found = true, true
		note := status.Note{Verdict: status.OK, Text: udpRule(s) + " → " + s.Name}
		if x.in.NoUDP != "" && slices.Contains(v.Nodes, x.node.Name) {
			note = status.Note{Verdict: status.Fail, Text: note.Text + ": " + x.in.NoUDP}
			step.Verdict = status.Warn
		}
		step.Detail = append(step.Detail, note)
	}
	return ports, found
}
