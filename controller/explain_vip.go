package controller

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
)

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
	up, down := x.peers(v)
	for _, text := range down {
		step.Detail = append(step.Detail, status.Note{Verdict: status.Warn, Text: text})
	}
	step.Detail = notes(step.Detail)
	prefixes := strings.Join(told.Announced, ", ")
	switch {
	case len(up) == 0:
		step.Verdict, step.Text = status.Fail, fmt.Sprintf("%s may be announced, but no router listens", prefixes)
		step.Next = "look at the peer's ASN, password, ttl_security, or the neighbor's area, timers and password, and at the network to it"
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

// peers are the routers this node tells of a VIP, and those it does not reach,
// each with what is the matter.
func (x *explainer) peers(v config.VIP) (up, down []string) {
	if v.Announce.OSPF {
		up, down = x.neighbors()
	}
	if !v.Announce.BGP {
		return up, down
	}
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
	return up, down
}

// neighbors are OSPF's: those that have what this node says, and the others.
func (x *explainer) neighbors() (up, down []string) {
	frr := x.report.Components.FRR
	if frr == nil || len(frr.Neighbors) == 0 {
		why := "no OSPF neighbor was met"
		if frr != nil && frr.Error != nil {
			why += ": " + *frr.Error
		}
		return nil, []string{why}
	}
	for _, name := range slices.Sorted(maps.Keys(frr.Neighbors)) {
		n := frr.Neighbors[name]
		text := fmt.Sprintf("%s (OSPFv%d)", name, n.Version)
		if n.State == "full" || n.State == "2-way" { // told through the designated router
			up = append(up, text)
		} else {
			down = append(down, text+" is not full, but "+n.State)
		}
	}
	return up, down
}

// vip goes from the address to the services behind it. Port 0 is every port.
func (x *explainer) vip(v config.VIP, port uint16) status.Explanation {
	front, services := x.listenersStep(v, port)
	steps := []status.Step{x.vipStep(v), x.announceStep(v), front}
	if len(services) > 0 && slices.Contains(v.Nodes, x.node.Name) { // elsewhere others know who is ready
		steps = append(steps, x.servicesStep(services))
	}
	name := v.Name
	if port != 0 {
		name = fmt.Sprintf("%s port %d", v.Name, port)
	}
	return conclude("vip", name, steps)
}

// listenersStep is what HAProxy serves on a VIP, and for which services.
func (x *explainer) listenersStep(v config.VIP, port uint16) (status.Step, map[string]bool) {
	step := status.Step{Step: "frontend", Verdict: status.OK}
	services := make(map[string]bool)
	var ports []uint16
	var names []string
	for _, l := range x.listeners {
		if l.vip.Name != v.Name {
			continue
		}
		whole := l.beside == nil // else the other part of the port stands for both
		if whole {
			ports = append(ports, l.port)
		}
		if port != 0 && !l.has(port) {
			continue
		}
		if whole {
			names = append(names, l.Name)
		}
		if text, next := x.taken(l); text != "" && whole {
			step.Verdict, step.Next = status.Warn, next
			step.Detail = append(step.Detail, status.Note{Verdict: status.Fail, Text: text})
		}
		for _, s := range x.cfg.Services {
			for _, rule := range l.rulesOf(s) {
				services[s.Name] = true
				step.Detail = append(step.Detail, status.Note{Verdict: status.OK, Text: rule + " → " + s.Name})
			}
		}
	}
	udp, balanced := x.addUDP(v, port, &step, services)
	ports = append(ports, udp...)
	switch {
	case len(names) == 0 && balanced:
		step.Text = "IPVS passes datagrams to it on"
		if step.Verdict == status.Warn {
			step.Verdict, step.Text = status.Fail, x.in.NoUDP
		}
	case len(names) == 0:
		return noListener(v, port, ports), nil
	case step.Verdict == status.Warn && len(names) == 1:
		step.Verdict, step.Reason, step.Text = status.Fail, "port_taken", step.Detail[0].Text
	case !slices.Contains(v.Nodes, x.node.Name):
		step.Verdict, step.Text = status.Skip, "its nodes serve it with "+some(names)
	case step.Verdict == status.Warn:
		step.Text = "HAProxy serves it with " + some(names) + ", but not all of them listen"
	default:
		step.Text = "HAProxy serves it with " + some(names)
	}
	step.Detail = notes(step.Detail)
	return step, services
}

// noListener is for a port that no service uses; ports are those that some do.
func noListener(v config.VIP, port uint16, ports []uint16) status.Step {
	step := status.Step{Step: "frontend", Verdict: status.Fail}
	if len(ports) == 0 {
		step.Text, step.Next = "no service uses "+v.Name, "declare a service with vip: "+v.Name
		return step
	}
	slices.Sort(ports)
	var words []string
	for _, p := range ports {
		words = append(words, fmt.Sprint(p))
	}
	step.Text = fmt.Sprintf("no service of %s listens on port %d, but on %s", v.Name, port, some(words))
	step.Next = fmt.Sprintf("use one of these ports, or declare a service with vip: %s on port %d", v.Name, port)
	return step
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
	all := 0
	for _, p := range x.places {
		if p.host.Name != h.Name {
			continue
		}
		for _, c := range p.containers {
			all++
			one := x.brief().container(p, c)
			switch {
			case one.Verdict == status.GetsTraffic:
				serves++
				list = append(list, status.Note{Verdict: status.OK, Text: c.Name + " gets traffic"})
			case strings.HasPrefix(one.Reason, "not_selected"):
				list = append(list, status.Note{Verdict: status.Skip, Text: c.Name + " is in no service"})
			default:
				list = append(list, status.Note{Verdict: status.Warn, Text: c.Name + " gets none: " + one.Reason})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b status.Note) int { return order(a.Verdict) - order(b.Verdict) })
	step := status.Step{
		Step: "containers", Verdict: status.OK, Text: fmt.Sprintf("%d of %d get traffic", serves, all), Detail: notes(list),
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
