package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/status"
)

// drainsFile keeps the drains by hand in the state directory.
const drainsFile = "drains.json"

// Drains is what people have taken out of service on this node, by name and
// since when. A name stays until it is undone, whoever bears it meanwhile. It
// is replaced, never changed; nil is none.
type Drains struct {
	Version   int                  `json:"version"`
	Node      time.Time            `json:"node,omitzero"` // the node itself; zero = not drained
	Hosts     map[string]time.Time `json:"hosts"`
	Endpoints map[string]time.Time `json:"endpoints"`
}

// with is d after one request; changed is false where it says what is so already.
func (d *Drains) with(r status.DrainRequest, now time.Time) (fresh *Drains, changed bool) {
	fresh = &Drains{Version: stateVersion, Hosts: make(map[string]time.Time), Endpoints: make(map[string]time.Time)}
	if d != nil {
		fresh.Node = d.Node
		maps.Copy(fresh.Hosts, d.Hosts)
		maps.Copy(fresh.Endpoints, d.Endpoints)
	}
	names := fresh.Endpoints
	if r.Kind == status.DrainHost {
		names = fresh.Hosts
	}
	switch {
	case d.has(r.Kind, r.Name) == !r.Undo:
		return d, false
	case r.Kind == status.DrainNode && r.Undo:
		fresh.Node = time.Time{}
	case r.Kind == status.DrainNode:
		fresh.Node = now
	case r.Undo:
		delete(names, r.Name)
	default:
		names[r.Name] = now
	}
	return fresh, true
}

// has reports whether the thing is drained by hand.
func (d *Drains) has(kind, name string) bool {
	if d == nil {
		return false
	}
	names := d.Endpoints
	switch kind {
	case status.DrainNode:
		return !d.Node.IsZero()
	case status.DrainHost:
		names = d.Hosts
	}
	_, ok := names[name]
	return ok
}

// machines are the drained hosts, and the nodes of Swarms that they are, by
// the name their endpoints bear.
func (d *Drains) machines(in Input, list []*discovery.Swarm) map[string]bool {
	if d == nil || len(d.Hosts) == 0 {
		return nil
	}
	names := make(map[string]bool)
	for host := range d.Hosts {
		names[host] = true
		id := in.Hosts[host].Node
		for _, s := range list {
			for _, n := range s.Nodes {
				if id != "" && n.ID == id {
					names[n.Name] = true
				}
			}
		}
	}
	return names
}

// lookAtDrains notes what is drained by hand; when that changes, every service
// is touched.
func (p *planner) lookAtDrains(in Input, dirty map[int]bool) {
	machines := in.Drains.machines(in, p.swarms.list)
	if p.drains == in.Drains && maps.Equal(p.machines, machines) {
		return
	}
	p.drains, p.machines = in.Drains, machines
	for i := range p.pools {
		dirty[i] = true
	}
}

// takeOut marks the members that are drained by hand.
func (p *planner) takeOut(members []Member) {
	if p.drains == nil {
		return
	}
	for i := range members {
		m := &members[i]
		switch {
		case p.drains.has(status.DrainEndpoint, m.Name):
			m.Drain, m.ByHand, m.Reason = true, true, discovery.DrainedByHand
		case !m.Static && p.machines[m.Host]:
			m.Drain, m.ByHand, m.Reason = true, true, discovery.HostDrained
		}
	}
}

// serveDrain answers POST /v1/drain: what is asked for is done, and
// remembered, when the answer is sent.
func (l *loop) serveDrain(w http.ResponseWriter, r *http.Request) {
	var request status.DrainRequest
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		http.Error(w, "wanted JSON such as {\"kind\":\"endpoint\",\"name\":\"app1/web-1\"}: "+err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := l.drain(r.Context(), request)
	var refused *drainRefusal
	switch {
	case errors.As(err, &refused):
		http.Error(w, refused.says, refused.code)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// drainRefusal is a request that cannot be carried out.
type drainRefusal struct {
	code int
	says string
}

func (r *drainRefusal) Error() string { return r.says }

// drain takes a thing out of service or back. Any goroutine may ask.
func (l *loop) drain(ctx context.Context, r status.DrainRequest) (status.DrainAnswer, error) {
	known := l.known.Load()
	if known == nil || known.in.Config == nil {
		return status.DrainAnswer{}, &drainRefusal{http.StatusServiceUnavailable, errStarting.Error()}
	}
	if r.Kind == status.DrainNode && r.Name == "" {
		r.Name = known.in.Node
	}
	if why := known.cannotDrain(r); why != nil {
		return status.DrainAnswer{}, why
	}
	changed := false
	if !r.Look {
		var err error
		if changed, err = l.putDrain(ctx, r); err != nil {
			return status.DrainAnswer{}, err
		}
		known = l.known.Load()
	}
	answer := status.DrainAnswer{Kind: r.Kind, Name: r.Name, Changed: changed, Drained: known.in.Drains.has(r.Kind, r.Name)}
	if r.Kind == status.DrainNode {
		answer.Stage = known.report.Stage
	}
	return answer, l.remaining(ctx, known, &answer)
}

// putDrain hands the request to the loop and waits until a round has acted on it.
func (l *loop) putDrain(ctx context.Context, r status.DrainRequest) (changed bool, err error) {
	type outcome struct {
		drains  *Drains
		changed bool
		err     error
	}
	done := make(chan outcome, 1)
	cause := "drain " + r.Kind + " " + r.Name
	if r.Undo {
		cause += ", undone"
	}
	l.send(ctx, event{cause: cause, fold: func() {
		fresh, changed := l.in.Drains.with(r, time.Now().UTC().Truncate(time.Second))
		var err error
		if changed {
			if err = l.memory.write(drainsFile, fresh); err == nil {
				l.in.Drains = fresh
			}
		}
		done <- outcome{l.in.Drains, changed && err == nil, err}
	}})
	select {
	case o := <-done:
		if o.err != nil {
			return false, fmt.Errorf("remember the drain: %w", o.err)
		}
		for l.known.Load().in.Drains != o.drains { // the round that acts on it ends with new facts
			select {
			case <-ctx.Done():
				return o.changed, fmt.Errorf("drain %s: the round has not ended: %w", r.Name, ctx.Err())
			case <-time.After(2 * time.Millisecond):
			}
		}
		return o.changed, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// cannotDrain says why a request makes no sense; nil when it does.
func (f *facts) cannotDrain(r status.DrainRequest) *drainRefusal {
	var names []string
	switch r.Kind {
	case status.DrainHost:
		for _, h := range f.in.Config.Hosts {
			names = append(names, h.Name)
		}
	case status.DrainEndpoint:
		for _, pool := range f.want.Pools {
			for _, m := range pool.Members {
				names = append(names, m.Name)
			}
		}
	case status.DrainNode:
		if r.Name != f.in.Node {
			return &drainRefusal{http.StatusNotFound, fmt.Sprintf("this is the controller of node %s; give the command for %.120q on that node, or with --addr", f.in.Node, r.Name)}
		}
		return nil
	default:
		return &drainRefusal{http.StatusBadRequest, fmt.Sprintf("kind %.40q is none of node, host and endpoint", r.Kind)}
	}
	if slices.Contains(names, r.Name) || f.in.Drains.has(r.Kind, r.Name) {
		return nil
	}
	slices.Sort(names)
	says := fmt.Sprintf("there is no %s %.120q", r.Kind, r.Name)
	if near := config.Nearest(r.Name, slices.Compact(names), 1); len(near) > 0 {
		says += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return &drainRefusal{http.StatusNotFound, says}
}

// remaining fills in which endpoints the request is about, what they still
// carry, and the services that have nobody left.
func (l *loop) remaining(ctx context.Context, f *facts, answer *status.DrainAnswer) error {
	answer.Endpoints, answer.Empty = []status.DrainedEndpoint{}, []string{}
	machines := (&Drains{Hosts: map[string]time.Time{answer.Name: {}}}).machines(f.in, clusters(f.in.Config, f.in.Hosts))
	for _, service := range slices.Sorted(maps.Keys(f.want.Pools)) {
		pool := f.want.Pools[service]
		left, concerned := 0, []Member(nil)
		for _, m := range pool.Members {
			if m.ready(f.in.Health.Of(m.backend(service), m.Server)) {
				left++
			}
			if answer.Kind == status.DrainNode || m.Name == answer.Name && answer.Kind == status.DrainEndpoint || answer.Kind == status.DrainHost && !m.Static && machines[m.Host] {
				concerned = append(concerned, m)
			}
		}
		if len(concerned) == 0 {
			continue
		}
		if left == 0 && answer.Kind != status.DrainNode {
			answer.Empty = append(answer.Empty, service)
		}
		var sessions map[string]int // UDP has none
		if pool.Backend != nil {
			var err error
			if sessions, err = l.proxy.Sessions(ctx, service); err != nil {
				return err
			}
		}
		for _, m := range concerned {
			if answer.Kind == status.DrainNode && sessions[m.Server] == 0 {
				continue // of a whole node, what still carries something
			}
			answer.Endpoints = append(answer.Endpoints, status.DrainedEndpoint{
				Service: service, Name: m.Name, Address: m.target(), Sessions: sessions[m.Server],
			})
		}
	}
	return nil
}

// loadDrains puts the remembered drains into in.
func (m *memory) loadDrains(in *Input) error {
	var d Drains
	if err := m.read(drainsFile, &d); err != nil || d.Version == 0 {
		return err
	}
	in.Drains = &d
	return nil
}

// reportDrains is what is drained by hand, for the report.
func (d *Drains) report() *status.Drained {
	if d == nil || d.Node.IsZero() && len(d.Hosts)+len(d.Endpoints) == 0 {
		return nil
	}
	return &status.Drained{Node: !d.Node.IsZero(), Hosts: slices.Sorted(maps.Keys(d.Hosts)), Endpoints: slices.Sorted(maps.Keys(d.Endpoints))}
}

// undo is the command that takes a drain back.
func undo(kind, name string) string {
	return strings.Join([]string{"vipilot drain", kind, name, "--undo"}, " ")
}
