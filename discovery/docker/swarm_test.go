package docker

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/swarm"

	"github.com/vipilot/vipilot/discovery"
)

// recordedSwarm is a manager's answers, recorded from two engines 20.10: every
// kind of service, on two nodes.
func recordedSwarm(t testing.TB) (*manager, []swarm.Task) {
	m := newManager(time.Second, nil)
	m.cluster, m.services = "k2jy6sxt5rw8rnxljpdp2w8vi", map[string]*service{}
	m.nodes = load[[]swarm.Node](t, "swarm_nodes.json")
	for _, s := range load[[]swarm.Service](t, "swarm_services.json") {
		m.services[s.ID] = newService(s)
	}
	return m, load[[]swarm.Task](t, "swarm_tasks.json")
}

// tasksIn is a Swarm in words, a line a task.
func tasksIn(s *discovery.Swarm) []string {
	var lines []string
	for _, n := range s.Nodes {
		for _, t := range n.Tasks {
			text := fmt.Sprintf("%s %v %s", n.Name, n.Address, printed(t))
			for _, p := range t.Task.Mesh {
				text += fmt.Sprintf(" mesh:%d=%d", p.Port, p.HostPort)
			}
			if t.Task.Note != "" {
				text += " (" + t.Task.Note + ")"
			}
			lines = append(lines, strings.TrimSpace(text))
		}
	}
	return lines
}

func TestSwarmRecorded(t *testing.T) {
	m, tasks := recordedSwarm(t)
	const name, label = " com.docker.swarm.service.name=", "bridge/bridge:invalid IP@invalid Prefix"
	want := strings.Split(strings.NewReplacer("NODE1", "idyb1lzzul337ryfbvu2andr6", "NODE2", "ixy81w4ehy54o7l24826txgti", "BRIDGE", label, "NAME:", name[1:]).Replace(`invalid IP nowhere.1 pending echo:1 NAME:nowhere (the task is pending: no suitable node (scheduling constraints not satisfied on 2 nodes))
swarm1 10.77.99.1 agent.NODE1 running echo:1 BRIDGE 8080=invalid IP:9100 exposed[8080] NAME:agent
swarm1 10.77.99.1 direct.1 running echo:1 lp_net/overlay:10.77.50.2@10.77.50.0/24 NAME:direct
swarm1 10.77.99.1 mesh.2 running echo:1 ingress/overlay:10.0.0.6@10.0.0.0/24 exposed[8080] NAME:mesh mesh:8080=8088
swarm1 10.77.99.1 onhost.1 running echo:1 host-mode NAME:onhost
swarm1 10.77.99.1 vip.1 running echo:1 lp_net/overlay:10.77.50.5@10.77.50.0/24 NAME:vip
swarm1 10.77.99.1 web.1 running echo:1 BRIDGE 8080=invalid IP:32768 exposed[8080] app=todo NAME:web tier=front vipilot.weight=50
swarm2 10.77.99.2 agent.NODE2 running echo:1 BRIDGE 8080=invalid IP:9100 exposed[8080] NAME:agent
swarm2 10.77.99.2 bare.1 running echo:1 BRIDGE NAME:bare
swarm2 10.77.99.2 crash.1 pending echo:1 NAME:crash (the task is preparing)
swarm2 10.77.99.2 direct.2 running echo:1 lp_net/overlay:10.77.50.3@10.77.50.0/24 NAME:direct
swarm2 10.77.99.2 mesh.1 running echo:1 ingress/overlay:10.0.0.5@10.0.0.0/24 exposed[8080] NAME:mesh mesh:8080=8088
swarm2 10.77.99.2 sick.1 pending echo:1 NAME:sick (the task is starting)
swarm2 10.77.99.2 web.2 running echo:1 BRIDGE 8080=invalid IP:32768 exposed[8080] app=todo NAME:web tier=front vipilot.weight=50`), "\n")
	seen := m.fold(tasks, time.Unix(1, 0))
	got := tasksIn(seen)
	slices.Sort(want)
	slices.Sort(got)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("line %d:\ngot\n%s\nwant\n%s", i, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}

	// What has not changed is the same value again.
	m.seen = seen
	if again := m.fold(load[[]swarm.Task](t, "swarm_tasks.json"), time.Unix(2, 0)); again != seen {
		t.Error("equal answers gave another Swarm")
	}
	tasks[len(tasks)-1].DesiredState = swarm.TaskStateShutdown
	changed := m.fold(tasks, time.Unix(2, 0))
	same := 0
	for i, n := range changed.Nodes {
		if n == seen.Nodes[i] {
			same++
		}
	}
	if changed == seen || same != len(changed.Nodes)-1 {
		t.Errorf("one task changed, and %d of %d nodes stayed the same", same, len(changed.Nodes))
	}
}

// Ports of the two families that differ, as where a connection of the host's
// own had the port for IPv4: the first that the engine names is IPv4's.
func TestTaskPortsOfTwoFamilies(t *testing.T) {
	m, tasks := recordedSwarm(t)
	i := slices.IndexFunc(tasks, func(t swarm.Task) bool { return m.taskName(t) == "web.1" })
	ports := tasks[i].Status.PortStatus.Ports
	if len(ports) != 2 || ports[0].PublishedPort != 32768 || ports[1].PublishedPort != 32768 {
		t.Fatalf("recorded was %+v", ports)
	}
	for _, second := range []uint32{32767, 32769} {
		ports[1].PublishedPort = second
		c, _ := m.container(tasks[i])
		if want := []discovery.Published{{Port: 8080, HostPort: 32768}}; !slices.Equal(c.Published, want) {
			t.Errorf("with %d for IPv6: %v", second, c.Published)
		}
		for j := range ports {
			ports[j].Protocol = swarm.PortConfigProtocolUDP
		}
		if udp := udpOf(ports); len(udp.Published) != 1 || udp.Published[0].HostPort != 32768 || len(udp.Exposed) != 1 {
			t.Errorf("UDP, with %d for IPv6: %+v", second, udp)
		}
		for j := range ports {
			ports[j].Protocol = swarm.PortConfigProtocolTCP
		}
	}
}

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
		return http.StatusOK, f.nodes
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

const (
	wanted  = swarm.TaskStateRunning
	ready   = swarm.TaskStateReady
	leaving = swarm.TaskStateShutdown
)

// TestSwarmStory walks a service through a life, once seen by polling, and once
// with polls too seldom to see it, by events and pokes.
func TestSwarmStory(t *testing.T) {
	for _, polls := range []bool{true, false} {
		f := newFake(t)
		f.swarm = newFakeSwarm("web")
		opts := calm(f)
		opts.Swarm, opts.SwarmPoll = true, time.Hour
		if polls {
			opts.SwarmPoll = time.Millisecond
		}
		f.turn("web1a", wanted, swarm.TaskStatePreparing, "")
		w := watch(t, opts)
		if s := w.untilSwarm("web.1:pending(the task is preparing)"); s.Node != "n1" || s.Swarm.ID != "s1" {
			t.Errorf("first snapshot: node %q, swarm %q", s.Node, s.Swarm.ID)
		}
		for _, step := range []struct {
			id             string
			desired, state swarm.TaskState
			failure, want  string
		}{
			{"web1a", wanted, swarm.TaskStateRunning, "", "web.1:running"},
			{"web2a", wanted, swarm.TaskStateRunning, "", "web.1:running web.2:running"},
			{"web1a", leaving, swarm.TaskStateRunning, "", "web.1:stopping web.2:running"},
			{"web1b", ready, swarm.TaskStateReady, "", "web.1:stopping web.1:pending(the task is ready) web.2:running"},
			{"web1a", leaving, swarm.TaskStateShutdown, "", "web.1:pending(the task is ready) web.2:running"},
			{"web1b", wanted, swarm.TaskStateRunning, "", "web.1:running web.2:running"},
			{"web2a", leaving, swarm.TaskStateFailed, "non-zero\nexit", "web.1:running"},
			{"web2b", wanted, swarm.TaskStateStarting, "", "web.1:running web.2:pending(the task is starting; the one before it failed: non-zero exit)"},
			{"web2b", wanted, swarm.TaskStateRunning, "", "web.1:running web.2:running"},
			{"web2b", swarm.TaskStateRemove, swarm.TaskStateRunning, "", "web.1:running web.2:stopping"},
		} {
			f.turn(step.id, step.desired, step.state, step.failure)
			if !polls && step.id == "web1a" {
				f.announce(events.ServiceEventType, "update")
			} else if !polls {
				w.engine.Poke()
			}
			w.untilIs(step.want, func(s discovery.Snapshot) bool {
				return slices.Equal(slices.Sorted(strings.SplitSeq(inSwarm(s), " ")), slices.Sorted(strings.SplitSeq(step.want, " ")))
			})
		}
		f.mu.Lock()
		delete(f.swarm.tasks, "web2b")
		f.swarm.nodes[0].Status.State = swarm.NodeStateDown
		f.mu.Unlock()
		f.announce(events.NodeEventType, "update")
		w.untilSwarm("web.1:running n1 is down")
	}
}

// TestSwarmUnchanged: looking costs one request, and nothing is sent.
func TestSwarmUnchanged(t *testing.T) {
	f := newFake(t)
	f.swarm = newFakeSwarm("web")
	f.turn("web1a", wanted, swarm.TaskStateRunning, "")
	opts := calm(f)
	opts.Swarm, opts.SwarmPoll = true, time.Millisecond
	w := watch(t, opts)
	first := w.untilSwarm("web.1:running")
	for until := f.requests("tasks") + 20; f.requests("tasks") < until; {
		select {
		case s := <-w.out:
			t.Fatalf("a snapshot, cause %q", s.Cause)
		default:
		}
	}
	if f.requests("services") != 1 || f.requests("nodes") != 1 || f.requests("swarm") != 1 {
		t.Errorf("%d, %d, %d requests for services, nodes, swarm", f.requests("services"), f.requests("nodes"), f.requests("swarm"))
	}
	f.do("start db")
	if s := w.untilIs("db", func(s discovery.Snapshot) bool { return len(s.Containers) == 1 }); s.Swarm != first.Swarm {
		t.Error("a container made another Swarm")
	}
}

// TestSwarmLost: what cannot be asked stays as it was, and is said to be stale;
// the containers of the manager itself are not.
func TestSwarmLost(t *testing.T) {
	f := newFake(t)
	f.swarm = newFakeSwarm("web")
	f.turn("web1a", wanted, swarm.TaskStateRunning, "")
	f.do("start db")
	opts := calm(f)
	opts.Swarm, opts.SwarmPoll = true, time.Millisecond
	w := watch(t, opts)
	w.untilSwarm("web.1:running")
	for said, want := range map[string]string{
		"This node is not a swarm manager. Worker nodes can't be used":                                                       "ask the Swarm: it is declared swarm: true and is not a Swarm manager; name a manager",
		"rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.": "the Swarm has no leader: too few of its managers are up",
		"something\nelse": "something else",
	} {
		f.mu.Lock()
		f.swarm.broken = said
		f.mu.Unlock()
		s := w.untilIs(want, func(s discovery.Snapshot) bool {
			return inSwarm(s) == "web.1:running (stale)" && strings.Contains(s.SwarmErr.Error(), want)
		})
		if !s.Connected || s.Err != s.SwarmErr || strings.Contains(s.Err.Error(), "\n") || len(s.Containers) != 1 {
			t.Errorf("connected %v, err %v", s.Connected, s.Err)
		}
	}
	f.mu.Lock()
	f.swarm.broken = ""
	f.mu.Unlock()
	known := w.untilSwarm("web.1:running").Swarm
	f.stop()
	w.untilSwarm("web.1:running (stale)")

	// Another watcher begins with what this one knew.
	opts.RememberedSwarm = known
	w2 := watch(t, opts)
	w2.untilSwarm("web.1:running (stale)")
	f.turn("web1a", leaving, swarm.TaskStateRunning, "")
	f.listen(t)
	w2.untilSwarm("web.1:stopping")
}

// TestSwarmLikeFresh plays random histories: in the end the view is what one
// who comes later sees.
func TestSwarmLikeFresh(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	f := newFake(t)
	f.swarm = newFakeSwarm("web", "db")
	opts := calm(f)
	opts.Swarm, opts.SwarmPoll = true, time.Millisecond
	w := watch(t, opts)
	for round := range 15 {
		for range 30 {
			id := fmt.Sprintf("%s%d%c", []string{"web", "db"}[random.IntN(2)], 1+random.IntN(3), 'a'+rune(random.IntN(3)))
			switch random.IntN(8) {
			case 0:
				f.mu.Lock()
				delete(f.swarm.tasks, id)
				f.mu.Unlock()
			case 1:
				f.announce(events.ServiceEventType, "update")
			case 2:
				if random.IntN(20) == 0 { // each costs a pause before the next session
					f.drop()
				}
			case 3, 4:
				f.turn(id, leaving, []swarm.TaskState{swarm.TaskStateRunning, swarm.TaskStateShutdown, swarm.TaskStateFailed}[random.IntN(3)], "")
			default:
				f.turn(id, wanted, []swarm.TaskState{swarm.TaskStateRunning, swarm.TaskStatePreparing}[random.IntN(2)], "")
			}
			select {
			case w.last = <-w.out:
			default:
			}
		}
		f.mu.Lock()
		for id, task := range f.swarm.tasks {
			if task.DesiredState == leaving {
				delete(f.swarm.tasks, id)
			}
		}
		f.mu.Unlock()
		fresh := watch(t, opts)
		want := inSwarm(fresh.untilIs("a fresh view", func(s discovery.Snapshot) bool { return s.Connected && s.Swarm != nil }))
		fresh.stop()
		if inSwarm(w.last) != want {
			w.untilSwarm(want)
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

var (
	plainName   = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)
	plainDetail = regexp.MustCompile(`^\PC{1,800}$`)
)

// FuzzTask: whatever a manager says of a task, its service and its node, there
// is an endpoint, or a reason that can be printed.
func FuzzTask(f *testing.F) {
	m, tasks := recordedSwarm(f)
	services, nodes := load[[]swarm.Service](f, "swarm_services.json"), load[[]swarm.Node](f, "swarm_nodes.json")
	for _, t := range tasks {
		task, _ := json.Marshal(t)
		for _, s := range services {
			if s.ID == t.ServiceID {
				service, _ := json.Marshal(s)
				node, _ := json.Marshal(nodes[0])
				f.Add(task, service, node)
			}
		}
	}
	f.Fuzz(func(t *testing.T, task, serv, node []byte) {
		var in swarm.Task
		var s swarm.Service
		var n swarm.Node
		if json.Unmarshal(task, &in) != nil || json.Unmarshal(serv, &s) != nil || json.Unmarshal(node, &n) != nil {
			return
		}
		in.ServiceID, in.NodeID = s.ID, n.ID
		one := newManager(time.Second, nil)
		one.cluster, one.services, one.nodes = m.cluster, map[string]*service{}, []swarm.Node{n}
		if known := newService(s); known != nil {
			one.services[s.ID] = known
		}
		one.note([]swarm.Task{in})
		for _, place := range one.fold([]swarm.Task{in}, time.Time{}).Nodes {
			for _, c := range place.Sight(nil, false) {
				e, r := discovery.Resolve(c, discovery.Want{Host: place.Name, HostAddress: place.Address, Port: 8080, Direct: map[string]bool{"lp_net": true}})
				if r == nil && e.Mesh != "" {
					e, _ = place.Entrance(e)
				}
				if r == nil && e.Address.IsValid() && (!plainName.MatchString(e.Name) || e.Address.Port() == 0 || e.Weight < 0 || e.Weight > 256) {
					t.Errorf("endpoint %+v", e)
				}
				if r != nil && !plainDetail.MatchString(r.Detail) {
					t.Errorf("rejection %+v", *r)
				}
			}
		}
	})
}

// BenchmarkSwarm folds an answer about 10,000 tasks on 100 nodes, one of which
// has changed.
func BenchmarkSwarm(b *testing.B) {
	m, recorded := recordedSwarm(b)
	var tasks []swarm.Task
	m.nodes = nil
	for n := range 100 {
		m.nodes = append(m.nodes, swarm.Node{ID: fmt.Sprintf("n%d", n), Status: swarm.NodeStatus{Addr: fmt.Sprintf("10.77.0.%d", n+1)}})
	}
	for i := range 10_000 {
		t := recorded[i%len(recorded)]
		t.ID, t.NodeID, t.Slot = fmt.Sprintf("t%d", i), fmt.Sprintf("n%d", i%100), i+1
		tasks = append(tasks, t)
	}
	raw, _ := json.Marshal(tasks)
	b.ReportMetric(float64(len(raw)), "bytes")
	for i := 0; b.Loop(); i++ {
		var decoded []swarm.Task
		if err := json.Unmarshal(raw, &decoded); err != nil {
			b.Fatal(err)
		}
		decoded[i%len(decoded)].DesiredState = swarm.TaskStateShutdown
		m.note(decoded)
		m.seen = m.fold(decoded, time.Now())
	}
}
