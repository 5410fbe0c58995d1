package docker

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/swarm"

	"github.com/vipilot/vipilot/discovery"
)

// fakeSwarm is the state of a small Swarm.
type fakeSwarm struct {
	broken   string // what the engine says instead of an answer
	services []swarm.Service
	nodes    []swarm.Node
	tasks    map[string]swarm.Task
}

func (f *fakeSwarm) answer(kind, filter string) (int, any) {
	switch {
	case f == nil:
		return http.StatusForbidden, map[string]string{"message": "not here"}
	case f.broken != "":
		return http.StatusServiceUnavailable, map[string]string{"message": f.broken}
	case kind == "info":
		return http.StatusOK, map[string]any{"Swarm": swarm.Info{NodeID: "n1", LocalNodeState: swarm.LocalNodeStateActive}}
	case kind == "swarm":
		return http.StatusOK, swarm.Swarm{ClusterInfo: swarm.ClusterInfo{ID: "s1"}}
	case kind == "services":
		return http.StatusOK, f.services
	case kind == "nodes":
		return http.StatusOK, slices.Clone(f.nodes) // which a test changes while it is being sent
	}
	var want map[string]any
	_ = json.Unmarshal([]byte(filter), &want)
	list := []swarm.Task{}
	for _, id := range slices.Sorted(maps.Keys(f.tasks)) {
		ids, byID := want["id"].(map[string]any)
		if t := f.tasks[id]; byID && ids[id] != nil || !byID && (t.DesiredState == swarm.TaskStateRunning || t.DesiredState == swarm.TaskStateReady) {
			list = append(list, t)
		}
	}
	return http.StatusOK, list
}

func newFakeSwarm(names ...string) *fakeSwarm {
	f := &fakeSwarm{tasks: map[string]swarm.Task{}}
	for _, name := range names {
		s := swarm.Service{ID: name}
		s.Spec.Name = name
		f.services = append(f.services, s)
	}
	for _, id := range []string{"n1", "n2"} {
		n := swarm.Node{ID: id}
		n.Description.Hostname, n.Status.Addr, n.Status.State = id, "10.77.0."+id[1:], swarm.NodeStateReady
		f.nodes = append(f.nodes, n)
	}
	return f
}

// turn brings a task of a service into a state; an id as web1x is slot 1 of web.
func (f *fakeEngine) turn(id string, desired, state swarm.TaskState, failure string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	digit := strings.IndexAny(id, "0123456789")
	t := swarm.Task{ID: id, ServiceID: id[:digit], Slot: int(id[digit] - '0'), NodeID: "n1", DesiredState: desired}
	t.Spec.ContainerSpec = &swarm.ContainerSpec{Image: "i"}
	t.Status = swarm.TaskStatus{State: state, Err: failure}
	if state == swarm.TaskStateRunning {
		t.Status.ContainerStatus = &swarm.ContainerStatus{ContainerID: fmt.Sprintf("%064x", id)}
	}
	f.swarm.tasks[id] = t
}

// announce sends an event of the Swarm.
func (f *fakeEngine) announce(kind events.Type, action string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch, ofSwarm := range f.streams {
		if ofSwarm {
			ch <- events.Message{Type: kind, Action: events.Action(action), Actor: events.Actor{Attributes: map[string]string{"name": "web"}}}
		}
	}
}

func inSwarm(s discovery.Snapshot) string {
	if s.Swarm == nil {
		return "none"
	}
	var list []string
	for _, n := range s.Swarm.Nodes {
		for _, t := range n.Tasks {
			text := t.Name + ":" + string(t.State)
			if t.Task.Note != "" {
				text += "(" + t.Task.Note + ")"
			}
			list = append(list, text)
		}
		if n.Down {
			list = append(list, n.Name+" is down")
		}
	}
	if s.SwarmErr != nil || !s.Connected {
		list = append(list, "(stale)")
	}
	return strings.Join(list, " ")
}

func (w *watcher) untilSwarm(want string) discovery.Snapshot {
	w.t.Helper()
	return w.untilIs(want, func(s discovery.Snapshot) bool { return inSwarm(s) == want })
}
