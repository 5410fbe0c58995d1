package controller

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/render"
	"github.com/vipilot/vipilot/status"
)

// differ tells the nodes of two prospects apart.
type differ struct {
	before, after *prospect
	opts          PlanOptions
}

func (d differ) node(name string) (status.NodePlan, error) {
	was, is := d.before.want[name], d.after.want[name]
	plan := status.NodePlan{Node: name, Clients: []string{}}
	switch {
	case was == nil:
		was, plan.Action = &Desired{}, status.Added
	case is == nil:
		is, plan.Action = &Desired{}, status.Removed
	}
	plan.Components = []status.ComponentPlan{proxyPlan(was, is), electionPlan(was, is), speakerPlan(was, is)}
	if len(was.VRRP.Virtual)+len(is.VRRP.Virtual) > 0 {
		plan.Components = append(plan.Components, udpPlan(was, is))
	}
	plan.Endpoints = endpointChanges(was, is)
	plan.VIPs = d.vipChanges(name)
	plan.Prefixes = change("prefixes", prefixSet(was), prefixSet(is))
	plan.Peers = change("peers", peerSet(was), peerSet(is))
	plan.Clients = d.notices(name, was, is)
	if !d.opts.Files {
		return plan, nil
	}
	files, err := d.files(was, is)
	plan.Files = files
	return plan, err
}

func proxyPlan(was, is *Desired) status.ComponentPlan {
	kind, causes := haproxy.Compare(was.HAProxy, is.HAProxy)
	one := status.ComponentPlan{Component: "haproxy", Action: string(kind), Causes: causes}
	empty := func(c haproxy.Config) bool { return len(c.Frontends)+len(c.Backends) == 0 }
	switch {
	case kind == haproxy.Runtime:
		one.Action = "runtime update"
	case kind == haproxy.Reload && empty(was.HAProxy):
		one.Action, one.Causes = "start", nil
	case kind == haproxy.Reload && empty(is.HAProxy):
		one.Action, one.Causes = "stop", nil
	}
	return one
}

func electionPlan(was, is *Desired) status.ComponentPlan {
	set := func(d *Desired) map[string]string {
		all := make(map[string]string)
		for _, i := range d.VRRP.Instances {
			all[i.Name] = fmt.Sprintf("%+v", i)
		}
		return all
	}
	one := keepalivedPlan("keepalived", set(was), set(is))
	if one.Action == "none" && was.VRRP.Yield != is.VRRP.Yield {
		one.Action = "runtime update"
	}
	return one
}

// udpPlan is what the keepalived of UDP services does.
func udpPlan(was, is *Desired) status.ComponentPlan {
	set := func(d *Desired) map[string]string {
		all := make(map[string]string)
		for _, v := range d.VRRP.Virtual {
			all[v.String()] = fmt.Sprintf("%+v", v)
		}
		return all
	}
	return keepalivedPlan("udp", set(was), set(is))
}

// keepalivedPlan is for one of the keepalived: its blocks by name.
func keepalivedPlan(component string, had, has map[string]string) status.ComponentPlan {
	one := status.ComponentPlan{Component: component, Action: "none"}
	switch {
	case maps.Equal(had, has):
	case len(had) == 0:
		one.Action = "start"
	case len(has) == 0:
		one.Action = "stop"
	default:
		one.Action, one.Causes = "reload", change("", had, has).Words()
	}
	return one
}

func speakerPlan(was, is *Desired) status.ComponentPlan {
	one := status.ComponentPlan{Component: "speaker", Action: "none"}
	if !reflect.DeepEqual(was.Routing, is.Routing) {
		one.Action = "runtime update"
	}
	return one
}

func endpointChanges(was, is *Desired) []status.SetChange {
	changes := []status.SetChange{}
	for _, name := range either(was.Pools, is.Pools) {
		one := change(name, endpoints(was.Pools[name]), endpoints(is.Pools[name]))
		if !one.Empty() {
			changes = append(changes, one)
		}
	}
	return changes
}

func endpoints(pool *Pool) map[string]string {
	all := make(map[string]string)
	if pool != nil {
		for _, m := range pool.Members {
			all[m.Name] = fmt.Sprintf("%s weight %d drain %v backup %v", m.target(), m.Weight, m.Drain, m.Backup)
		}
	}
	return all
}

func (d differ) vipChanges(node string) []status.SetChange {
	carried := func(p *prospect) map[string]map[string]string {
		all := make(map[string]map[string]string)
		for _, vip := range p.cfg.VIPs {
			if slices.Contains(vip.Nodes, node) {
				all[vip.Name] = make(map[string]string)
				for _, a := range vip.Addresses {
					all[vip.Name][a.String()] = ""
				}
			}
		}
		return all
	}
	was, is := carried(d.before), carried(d.after)
	changes := []status.SetChange{}
	for _, name := range either(was, is) {
		one := change(name, was[name], is[name])
		if !one.Empty() {
			changes = append(changes, one)
		}
	}
	return changes
}

func prefixSet(d *Desired) map[string]string {
	all := make(map[string]string)
	for _, p := range d.Routing.Prefixes {
		all[p.Prefix.String()] = fmt.Sprintf("%+v", p)
	}
	return all
}

func peerSet(d *Desired) map[string]string {
	all := make(map[string]string)
	for _, p := range d.Routing.Peers {
		all[p.Name] = fmt.Sprintf("%d %d %+v", d.Routing.ASN, d.Routing.GracefulRestart, p)
	}
	return all
}

// change tells two sets apart; a value that is another one is a change.
func change(name string, was, is map[string]string) status.SetChange {
	c := status.SetChange{Name: name, Added: []string{}, Removed: []string{}, Changed: []string{}}
	for _, key := range slices.Sorted(maps.Keys(is)) {
		old, had := was[key]
		switch {
		case !had:
			c.Added = append(c.Added, key)
		case old != is[key]:
			c.Changed = append(c.Changed, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(was)) {
		if _, has := is[key]; !has {
			c.Removed = append(c.Removed, key)
		}
	}
	return c
}

// files are the generated files that become others.
func (d differ) files(was, is *Desired) ([]status.FileChange, error) {
	before, err := was.files(d.opts.RunDir)
	if err != nil {
		return nil, err
	}
	after, err := is.files(d.opts.RunDir)
	if err != nil {
		return nil, err
	}
	var changes []status.FileChange
	for _, name := range either(before, after) {
		if diff := render.Diff(name, before[name], after[name]); diff != "" {
			changes = append(changes, status.FileChange{Name: name, Diff: diff})
		}
	}
	return changes, nil
}

// either are the names in one map or the other, sorted.
func either[V any](a, b map[string]V) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}
