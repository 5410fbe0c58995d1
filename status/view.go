package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
)

// tone is how good a state is. It is never shown by colour alone: each has a
// shape, and the state's word stands beside it.
type tone string

const (
	good tone = "good"
	warn tone = "warn"
	bad  tone = "bad"
	off  tone = "off" // neither good nor bad: a backup, a part that is not needed
)

// Shape is the tone's sign, also for those who see no colours.
func (t tone) Shape() string {
	switch t {
	case good:
		return "●"
	case warn:
		return "◐"
	case bad:
		return "✕"
	}
	return "○"
}

// toneOf judges the state of an endpoint, a host, a component or a VIP's role.
func toneOf(state string) tone {
	switch state {
	case "ready", "connected", "running", "master", "active":
		return good
	case "starting", "drain", "connecting", "unknown", "":
		return warn
	case "backup", "none", "off":
		return off
	}
	return bad
}

func (p Peer) tone() tone {
	if p.State == "established" {
		return good
	}
	return bad
}

// standing says in words what the peer was told, or why nothing.
func (p Peer) standing() string {
	switch {
	case p.Error != "":
		return p.Error
	}
	return prefixes(p.PrefixesAnnounced) + " announced" + p.guarded()
}

func prefixes(n int) string {
	if n == 1 {
		return "1 prefix"
	}
	return fmt.Sprintf("%d prefixes", n)
}

// guarded says what BFD says, where it is asked.
func (p Peer) guarded() string {
	if p.BFD == "" {
		return ""
	}
	return ", BFD " + p.BFD
}

// tone of a service: whether clients are served, not whether all is perfect.
func (s Service) tone() tone {
	switch ready := s.ready(); {
	case ready == 0:
		return bad
	case ready < len(s.Endpoints):
		return warn
	}
	return good
}

func (s Service) ready() int {
	n := 0
	for _, e := range s.Endpoints {
		if e.State == "ready" {
			n++
		}
	}
	return n
}

// tone of a VIP: one that this node carries and tells no router of, though it
// should, is not well.
func (v VIP) tone() tone {
	if carries(v.Role) && v.Reason != "" {
		return warn
	}
	return toneOf(v.Role)
}

// standing says in words how the VIP is announced, or why it is not.
func (v VIP) standing() string {
	switch {
	case len(v.Announced) > 0 && v.Reason != "":
		return "announced " + strings.Join(v.Announced, ", ") + "; " + v.Reason
	case len(v.Announced) > 0:
		return "announced " + strings.Join(v.Announced, ", ")
	case v.Reason != "":
		return "not announced: " + v.Reason
	}
	return "not announced"
}

// standing says in words how the host is known.
func (h Host) standing(now time.Time) string {
	words := plural(h.Containers, "container")
	if h.StaleSince != nil {
		words += ", stale for " + age(now.Sub(*h.StaleSince))
	}
	if h.Error != nil {
		words += ": " + *h.Error
	}
	return words
}

// sorted yields the names of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// byVIP are the names of the services, those of one VIP together.
func (r *Report) byVIP() []string {
	return slices.SortedFunc(maps.Keys(r.Services), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Services[a].VIP, r.Services[b].VIP), cmp.Compare(a, b))
	})
}

// few are at most n endpoints, the troubled ones before the ready ones when
// not all can be shown, and how many were left out.
func few(all []Endpoint, n int) (shown []Endpoint, left int) {
	if len(all) <= n {
		return all, 0
	}
	shown = slices.SortedStableFunc(slices.Values(all), func(a, b Endpoint) int {
		return cmp.Compare(rank(a), rank(b))
	})
	return shown[:n], len(all) - n
}

func rank(e Endpoint) int {
	return slices.Index([]tone{bad, warn, off, good}, toneOf(e.State))
}

func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// age is a duration as one reads it aloud: 7s, 4m10s, 25m, 3h5m, 12d.
func age(d time.Duration) string {
	minutes, hours := d/time.Minute, d/time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(d, 0)/time.Second)
	case d < 10*time.Minute:
		return fmt.Sprintf("%dm%ds", minutes, d%time.Minute/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", minutes)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", hours, minutes%60)
	}
	return fmt.Sprintf("%dd", hours/24)
}

// printable keeps control characters, and what reorders a line, from reaching
// a terminal.
func printable(c rune) rune {
	if !unicode.IsPrint(c) {
		return '?'
	}
	return c
}
