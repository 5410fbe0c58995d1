package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Unready are the reasons why a node is not ready, one line each; none when
// it is.
func (r *Report) Unready() []string {
	if r.Ready {
		return nil
	}
	reasons := r.Config.troubles()
	add := func(format string, args ...any) {
		reasons = append(reasons, oneLine(fmt.Sprintf(format, args...)))
	}
	for _, c := range r.components() {
		if c.Error != "" {
			add("%s: %s: %s", c.Name, c.State, c.Error)
		} else if c.State != "running" && c.State != "off" && c.State != "" {
			add("%s: %s", c.Name, c.State)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Hosts)) {
		switch h := r.Hosts[name]; {
		case h.State == "connected":
		case h.Error != nil:
			add("host %s: %s: %s", name, h.State, *h.Error)
		default:
			add("host %s: %s", name, h.State)
		}
	}
	if len(reasons) == 0 {
		add("the last round did not reach all that is wanted")
	}
	return reasons
}

// component is what the three have in common, for the views.
type component struct {
	Name, State, Error, Detail string
	PID                        int
}

// work says in words what it is and did, with its process.
func (c component) work() string {
	if c.PID == 0 {
		return c.Detail
	}
	return strings.TrimSuffix(fmt.Sprintf("pid %d, %s", c.PID, c.Detail), ", ")
}

func (r *Report) components() []component {
	h, k, s := r.Components.HAProxy, r.Components.Keepalived, r.Components.Speaker
	work := fmt.Sprintf("reloads %d, runtime updates %d", h.Reloads, h.RuntimeUpdates)
	if h.OldWorkers > 0 {
		work += fmt.Sprintf(", old workers %d", h.OldWorkers)
	}
	if h.Version != "" {
		work = "version " + h.Version + ", " + work
	}
	established := 0
	for _, p := range s.Peers {
		if p.State == "established" {
			established++
		}
	}
	peers := "no peers"
	if len(s.Peers) > 0 {
		peers = fmt.Sprintf("%d of %d peers established", established, len(s.Peers))
	}
	if s.Outdated != "" {
		peers += "; " + s.Outdated
	}
	if s.Deaf {
		peers += "; no router hears this node"
	}
	list := []component{
		{"haproxy", h.State, text(h.Error), work, h.PID},
		{"keepalived", k.State, text(k.Error), fmt.Sprintf("reloads %d", k.Reloads), k.PID},
		{"speaker", s.State, text(s.Error), peers, s.PID},
	}
	if u := k.Checker; u != nil {
		list = append(list, component{"udp", u.State, text(u.Error), fmt.Sprintf("reloads %d", u.Reloads), u.PID})
	}
	if f := r.Components.FRR; f != nil {
		list = append(list, f.component())
	}
	return list
}

// component shows zebra's pid, since all the others need it; an attached FRR
// has none of ours.
func (f *FRR) component() component {
	detail := strings.Join(sorted(f.Daemons), " ")
	if len(f.Neighbors) > 0 {
		full := 0
		for _, n := range f.Neighbors {
			if n.State == "full" {
				full++
			}
		}
		detail += fmt.Sprintf(", %d of %d OSPF neighbors full", full, len(f.Neighbors))
	}
	return component{"frr", f.State, text(f.Error), detail, f.Daemons["zebra"]}
}

// oneLine makes any text safe to show in one line of a terminal: lines are
// joined with "; ", and what is not printable becomes "?".
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(c rune) bool { return c == '\n' || c == '\r' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(strings.ReplaceAll(line, "\t", " "))
	}
	return strings.Map(printable, strings.Join(lines, "; "))
}

// troubles say which revision is not in force and why, one line each.
func (c Config) troubles() (lines []string) {
	if c.Pending != nil {
		lines = append(lines, oneLine("config: revision "+*c.Pending+" is not in force"))
	}
	for fault := range strings.Lines(text(c.Error)) {
		lines = append(lines, oneLine("config: "+fault))
	}
	return lines
}
