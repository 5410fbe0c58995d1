package faults

import (
	"fmt"
	"slices"
	"time"
)

// figures are the rows of the page's second table: what is promised, how much,
// and what was measured.
func (r record) figures() [][3]string {
	gap := func(m measure) time.Duration { return m.Gap }
	dark := func(m measure) time.Duration { return m.Dark }
	away := func(m measure) time.Duration { return m.Away }
	controllers := []string{"controller killed", "both controllers restarted", "controller upgraded"}
	power := []string{"node loses power"}
	return [][3]string{
		{"Node loses power, VRRP at 100 ms: gap for clients", "≤ 500 ms", r.longest(gap, power, "VRRP", "VRRP+BGP", "VRRP+OSPF", "VRRP+BGP by FRR")},
		{"Node loses power, anycast with BFD 100 ms × 3: gap for clients", "≤ 500 ms", r.longest(gap, power, "anycast+BGP")},
		{"Node loses power, FRR as router with its default graceful restart, no BFD: route to the dead node", "≤ hold time, 3 s", r.longest(dark, power, "anycast+BGP, hold time")},
		{"Node loses power, BIRD as router with its default graceful restart, no BFD: route to the dead node", "≤ hold time, 3 s", r.longest(dark, power, "anycast+BGP, BIRD")},
		{"Planned drain: lost requests, in any mode", "0", r.lost("node drained")},
		{"Controller killed, restarted, upgraded: lost requests, in any mode", "0", r.lost(controllers...)},
		{"The same: longest time without the route", "0 ms", r.longest(away, controllers)},
		{"VRRP role change → BGP UPDATE on the wire, controllers dead (longest of 5)", "≤ 20 ms", r.figure(toldAfter)},
		{"VRRP role change → the router sends to the new master, controllers dead (longest of 5)", "≤ 1 s", r.figure(followedAfter)},
		{"The same: longest time in which the route led to a node that did not answer", "≤ 300 ms", r.figure(unservedFor)},
		{"HAProxy killed, controllers dead → withdrawal on the wire", "≤ 300 ms", r.figure(withdrawnAfter)},
		{"HAProxy killed, controllers dead → the other node has the VIP", "≤ 500 ms", r.figure(movedAfter)},
		{"10,000 prefixes ordered of a sentinel → all in the router's kernel", "≤ 2 s", r.figure(prefixesAfter)},
	}
}

// Figures that no cell says.
const (
	toldAfter      = "told after"
	followedAfter  = "followed after"
	unservedFor    = "unserved for"
	withdrawnAfter = "withdrawn after"
	movedAfter     = "moved after"
	prefixesAfter  = "10,000 prefixes after"
)

func (r record) figure(name string) string {
	if d, ok := r.Figures[name]; ok {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return "not measured"
}

// longest of something when these faults struck, in some modes or all.
func (r record) longest(of func(measure) time.Duration, faults []string, modes ...string) string {
	most, measured := time.Duration(0), false
	for _, c := range r.Cells {
		if slices.Contains(faults, c.Fault) && (modes == nil || slices.Contains(modes, c.Mode)) {
			most, measured = max(most, of(c.Struck)), true
		}
	}
	if !measured {
		return "not measured"
	}
	return fmt.Sprintf("%d ms", most.Milliseconds())
}

// lost is the most that was lost when one of these faults struck.
func (r record) lost(faults ...string) string {
	var all []int
	for _, c := range r.Cells {
		if slices.Contains(faults, c.Fault) {
			all = append(all, c.Struck.Lost)
		}
	}
	if all == nil {
		return "not measured"
	}
	return fmt.Sprintf("%d, in %d cells", slices.Max(all), len(all))
}
