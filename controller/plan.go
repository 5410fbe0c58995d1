package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
)

// PlanOptions say how much a plan shows.
type PlanOptions struct {
	Node   string // of all nodes only this one; "" = all
	Files  bool   // with the differences of generated files
	RunDir string // that files are named by
}

// MakePlan says what fresh would change in a fleet that runs old. It is pure:
// the decisions of all nodes for both, told apart. Every known container is
// assumed to answer.
func MakePlan(old, fresh *config.Config, view View, opts PlanOptions) (status.Plan, error) {
	plan := status.Plan{From: old.Revision, To: fresh.Revision, Changes: markRaw(declared(old, fresh), old, fresh), Nodes: []status.NodePlan{}, Notes: []string{}}
	before, err := foresee(old, view)
	if err != nil {
		return plan, fmt.Errorf("the revision in force: %w", err)
	}
	after, err := foresee(fresh, view)
	if err != nil {
		return plan, err
	}
	for _, h := range fresh.Hosts {
		if _, known := old.Host(h.Name); !known {
			plan.Notes = append(plan.Notes, "host "+h.Name+" is new: what runs there is not known before its engine is asked")
		}
	}
	differ := differ{before, after, opts}
	for _, name := range bothNodes(old, fresh) {
		if opts.Node != "" && name != opts.Node {
			continue
		}
		one, err := differ.node(name)
		if err != nil {
			return plan, err
		}
		plan.Nodes = append(plan.Nodes, one)
		plan.Changed = plan.Changed || !one.Empty()
	}
	plan.Changed = plan.Changed || len(plan.Changes) > 0
	return plan, nil
}

// markRaw marks the changed things that have raw lines, before or after.
func markRaw(changes []status.Change, old, fresh *config.Config) []status.Change {
	for i := range changes {
		for _, cfg := range []*config.Config{old, fresh} {
			switch c := &changes[i]; c.Kind {
			case "service":
				s, _ := cfg.Service(c.Name)
				c.Raw = c.Raw || len(s.Raw) > 0
			case "haproxy":
				c.Raw = c.Raw || len(cfg.HAProxy.Global)+len(cfg.HAProxy.Defaults) > 0
			}
		}
	}
	return changes
}

// planFor answers POST /v1/plan from what the last round knew. Any goroutine
// may ask.
func (l *loop) planFor(_ context.Context, request status.PlanRequest) (status.Plan, error) {
	f := l.known.Load()
	if f == nil || f.in.Config == nil {
		return status.Plan{}, errStarting
	}
	if f.in.Tier != nil {
		return status.Plan{}, fmt.Errorf("%s runs the proxy of a host, which plans nothing; ask a node", f.in.Node)
	}
	fresh, err := config.LoadOver(config.Tree(request.Files), f.in.Config)
	if err != nil {
		return status.Plan{}, fmt.Errorf("%w configuration: %w", status.ErrInvalid, err)
	}
	plan, err := MakePlan(f.in.Config, fresh, View{Hosts: f.in.Hosts, Drains: f.in.Drains}, PlanOptions{Node: request.Node, Files: request.Diff, RunDir: l.opts.RunDir})
	if err != nil {
		return plan, fmt.Errorf("%w: %w", status.ErrInvalid, err)
	}
	plan.Asked = f.in.Node
	return plan, nil
}

// bothNodes are the nodes of either, those of fresh first.
func bothNodes(old, fresh *config.Config) []string {
	var names []string
	for _, cfg := range []*config.Config{fresh, old} {
		for _, n := range cfg.Nodes {
			if !slices.Contains(names, n.Name) {
				names = append(names, n.Name)
			}
		}
	}
	return names
}

// kinds are the words for one thing of a section.
var kinds = map[string]string{"nodes": "node", "hosts": "host", "networks": "network", "vips": "vip", "services": "service"}

// declared are the things that the files of the two describe differently.
func declared(old, fresh *config.Config) []status.Change {
	changes := []status.Change{}
	index := make(map[[2]string]int)
	had, has := thingsOf(old), thingsOf(fresh)
	for _, d := range config.Differences(old, fresh) {
		section, name := d.Thing()
		at, ok := index[[2]string{section, name}]
		if !ok {
			at = len(changes)
			index[[2]string{section, name}] = at
			one := status.Change{Action: status.Changed, Kind: cmp.Or(kinds[section], section), Name: name, Keys: []status.KeyChange{}}
			switch thing := section + "." + name; {
			case name != "" && !had[thing]:
				one.Action = status.Added
			case name != "" && !has[thing]:
				one.Action = status.Removed
			}
			changes = append(changes, one)
		}
		if changes[at].Action == status.Changed {
			changes[at].Keys = append(changes[at].Keys, status.KeyChange{Key: d.Key(), Old: d.Old, New: d.New})
		}
	}
	return changes
}

// thingsOf are the named things of a configuration.
func thingsOf(cfg *config.Config) map[string]bool {
	things := make(map[string]bool)
	for _, n := range cfg.Nodes {
		things["nodes."+n.Name] = true
	}
	for _, h := range cfg.Hosts {
		things["hosts."+h.Name] = true
	}
	for _, n := range cfg.Networks {
		things["networks."+n.Name] = true
	}
	for _, v := range cfg.VIPs {
		things["vips."+v.Name] = true
	}
	for _, s := range cfg.Services {
		things["services."+s.Name] = true
	}
	return things
}
