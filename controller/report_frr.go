package controller

import (
	"maps"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/status"
)

// reportFRR tells of the routing daemons, nil where none is used.
func reportFRR(state remote.State) *status.FRR {
	if len(state.FRR) == 0 {
		return nil
	}
	r := &status.FRR{State: "running", Daemons: make(map[string]int), Neighbors: make(map[string]status.Neighbor)}
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(state.FRR)) {
		d := state.FRR[name]
		r.Daemons[name] = d.PID
		if d.PID == 0 {
			r.State = "stopped"
		}
		if d.Error != "" {
			faults = append(faults, d.Error)
		}
	}
	if len(faults) > 0 {
		text := strings.Join(faults, "; ")
		r.Error = &text
	}
	for name, n := range state.Neighbors {
		r.Neighbors[name] = status.Neighbor(n)
	}
	return r
}
