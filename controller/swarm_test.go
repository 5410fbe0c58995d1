package controller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
)

// swarmed is pair with two managers of one Swarm, of which app2 is a node.
var swarmed = strings.NewReplacer(
	"app1: {docker: \"tcp://10.77.0.11:2375\"}", "app1: {docker: \"tcp://10.77.0.11:2375\", swarm: true}\n  boss: {docker: \"tcp://10.77.0.13:2375\", swarm: true}",
).Replace(pair)

// task is a task of service web on a node, published there at a port of its own.
func task(n int, key, value string) discovery.Container {
	c := web(n, key, value)
	c.Name = fmt.Sprintf("web.%d", n)
	c.Task = &discovery.Task{ID: fmt.Sprintf("task%d", n), Service: "web"}
	return c
}

// local is the same container, as the engine of a node tells of it.
func local(t discovery.Container, node string) discovery.Container {
	t.Labels = map[string]string{"app": t.Labels["app"], "com.docker.swarm.task.id": t.Task.ID, "com.docker.swarm.node.id": node}
	t.Name += "." + t.Task.ID
	t.Task = nil
	return t
}

func swarmNode(n int, tasks ...discovery.Container) *discovery.SwarmNode {
	return &discovery.SwarmNode{ID: fmt.Sprintf("node%d", n), Name: fmt.Sprintf("worker%d", n), Address: netip.AddrFrom4([4]byte{10, 77, 1, byte(n)}), Tasks: tasks}
}

// ofManager is what a manager's watcher sends, asked at a second.
func ofManager(host string, second int64, nodes ...*discovery.SwarmNode) discovery.Snapshot {
	return discovery.Snapshot{Host: host, Connected: true, Swarm: &discovery.Swarm{ID: "s", At: time.Unix(second, 0), Nodes: nodes}}
}

func swarmInput(t testing.TB, snapshots ...discovery.Snapshot) Input {
	in := input(t, snapshots...)
	in.Config = load(t, swarmed)
	return in
}

// members are who serves todo, and who was turned away, in words.
func members(d Desired) string {
	var list []string
	for _, m := range d.Pools["todo"].Members {
		text := m.Name + "=" + m.Address.String()
		if m.Drain {
			text += "/" + string(m.Reason)
		}
		list = append(list, text)
	}
	for _, r := range d.Pools["todo"].Rejected {
		list = append(list, r.Name+":"+string(r.Reason))
	}
	return strings.Join(list, " ")
}

// TestTasks changes one thing at a time about a Swarm of two nodes with a task
// on each, of which one is a declared host as well.
func TestTasks(t *testing.T) {
	one, two := task(1, "app", "todo"), task(2, "app", "todo")
	state := func(c discovery.Container, s discovery.State) discovery.Container { c.State = s; return c }
	manager := ofManager("app1", 10, swarmNode(1, one), swarmNode(2, two))
	engine := snapshot("app2", local(two, "node2"), web(9, "app", "todo"))
	engine.Node = "node2"
	const both = "worker1/web.1=10.77.1.1:32001 worker2/web.2=10.77.1.2:32002"
	const alone = "app2/web-9=10.77.0.12:32009 "
	for _, tc := range []struct {
		name   string
		change func(in *Input)
		want   string
	}{
		{"both, and a container that is no task", func(*Input) {}, alone + both},
		{"the node's engine is not declared", func(in *Input) { delete(in.Hosts, "app2") }, both},
		{"no manager has answered", func(in *Input) { delete(in.Hosts, "app1") }, "app2/web-9=10.77.0.12:32009 app2/web.2.task2=10.77.0.12:32002"},
		{"the manager of another Swarm", func(in *Input) { in.Hosts["app1"] = ofManager("app1", 10, swarmNode(7)) }, "app2/web-9=10.77.0.12:32009 app2/web.2.task2=10.77.0.12:32002"},
		{"its container is told to stop", func(in *Input) {
			in.Hosts["app2"] = discovery.Snapshot{Host: "app2", Connected: true, Node: "node2", Containers: []discovery.Container{state(local(two, "node2"), discovery.Stopping)}}
		}, "worker1/web.1=10.77.1.1:32001 worker2/web.2=10.77.1.2:32002/stopping"},
		{"its container has died", func(in *Input) {
			in.Hosts["app2"] = discovery.Snapshot{Host: "app2", Connected: true, Node: "node2", Containers: []discovery.Container{state(local(two, "node2"), discovery.Stopped)}}
		}, "worker1/web.1=10.77.1.1:32001 worker2/web.2:not_running"},
		{"its container is gone", func(in *Input) {
			in.Hosts["app2"] = discovery.Snapshot{Host: "app2", Connected: true, Node: "node2"}
		}, "worker1/web.1=10.77.1.1:32001 worker2/web.2:not_running"},
		{"nothing is known of its engine", func(in *Input) {
			in.Hosts["app2"] = discovery.Snapshot{Host: "app2", Node: "node2", StaleSince: time.Unix(1, 0)}
		}, both},
		{"the engine is unreachable", func(in *Input) {
			s := engine
			s.Connected, s.StaleSince = false, time.Unix(1, 0)
			in.Hosts["app2"] = s
		}, alone + both},
		{"not wanted any more", func(in *Input) {
			in.Hosts["app1"] = ofManager("app1", 11, swarmNode(1, state(one, discovery.Stopping)), swarmNode(2, two))
		}, alone + "worker1/web.1=10.77.1.1:32001/stopping worker2/web.2=10.77.1.2:32002"},
		{"its container runs before a manager knows", func(in *Input) {
			pending := two
			pending.ID, pending.State, pending.Published, pending.Networks = "task2", discovery.Pending, nil, nil
			in.Hosts["app1"] = ofManager("app1", 11, swarmNode(1, one), swarmNode(2, pending))
		}, alone + both},
		{"it is pending, and its container has ended", func(in *Input) {
			pending := two
			pending.ID, pending.State = "task2", discovery.Pending
			in.Hosts["app1"] = ofManager("app1", 11, swarmNode(1, one), swarmNode(2, pending))
			in.Hosts["app2"] = discovery.Snapshot{Host: "app2", Connected: true, Node: "node2", Containers: []discovery.Container{state(local(two, "node2"), discovery.Stopped)}}
		}, "worker1/web.1=10.77.1.1:32001 worker2/web.2:starting"},
		{"its node is down", func(in *Input) {
			down := swarmNode(1, one)
			down.Down = true
			in.Hosts["app1"] = ofManager("app1", 11, down, swarmNode(2, two))
		}, alone + "worker2/web.2=10.77.1.2:32002 worker1/web.1:not_running"},
		{"it waits for a node", func(in *Input) {
			waits := state(one, discovery.Pending)
			in.Hosts["app1"] = ofManager("app1", 11, &discovery.SwarmNode{Tasks: []discovery.Container{waits}}, swarmNode(2, two))
		}, alone + "worker2/web.2=10.77.1.2:32002 web.1:starting"},
		{"the host is drained", func(in *Input) {
			in.Config = load(t, strings.Replace(swarmed, `app2: {docker: "tcp://10.77.0.12:2375"`, `app2: {state: drain, docker: "tcp://10.77.0.12:2375"`, 1))
		}, "app2/web-9=10.77.0.12:32009/host_drained worker1/web.1=10.77.1.1:32001 worker2/web.2=10.77.1.2:32002/host_drained"},
		{"the manager cannot be asked", func(in *Input) {
			s := manager
			s.SwarmErr = errors.New("no leader")
			in.Hosts["app1"] = s
		}, alone + both},
		{"another manager knows better", func(in *Input) { in.Hosts["boss"] = ofManager("boss", 11, swarmNode(1, one)) }, "app2/web-9=10.77.0.12:32009 app2/web.2.task2=10.77.0.12:32002 worker1/web.1=10.77.1.1:32001"},
		{"another manager knew less", func(in *Input) { in.Hosts["boss"] = ofManager("boss", 9, swarmNode(1, one)) }, alone + both},
		{"another manager knows better, and cannot be asked any more", func(in *Input) {
			s := ofManager("boss", 11, swarmNode(1, one))
			s.Connected = false
			in.Hosts["boss"] = s
		}, alone + both},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := swarmInput(t, manager, engine)
			tc.change(&in)
			if got := members(answerAll(t, &in)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestMesh: a service that only the routing mesh reaches is served by every
// node that is up, as long as a task of it runs anywhere.
func TestMesh(t *testing.T) {
	one := task(1, "app", "todo")
	one.Published, one.Task.Mesh = nil, []discovery.Published{{Port: 8080, HostPort: 8088}}
	down, drained := swarmNode(3), swarmNode(4)
	down.Down, drained.Drained = true, true
	in := swarmInput(t, ofManager("app1", 10, swarmNode(1, one), swarmNode(2), down, drained))
	if got, want := members(desire(t, in)), "worker1/web=10.77.1.1:8088 worker2/web=10.77.1.2:8088 worker4/web=10.77.1.4:8088/host_drained"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	one.State = discovery.Stopping
	in.Hosts["app1"] = ofManager("app1", 11, swarmNode(1, one), swarmNode(2))
	if got, want := members(desire(t, in)), "worker1/web=10.77.1.1:8088/stopping worker2/web=10.77.1.2:8088/stopping"; got != want {
		t.Errorf("the last task stops: got  %s\nwant %s", got, want)
	}
	in.Hosts["app1"] = ofManager("app1", 12, swarmNode(1), swarmNode(2))
	if got := members(desire(t, in)); got != "" {
		t.Errorf("without a task: %s", got)
	}
}

// TestUpdateOneByOne: a task told to stop serves on until its successor has
// answered, if nobody else does.
func TestUpdateOneByOne(t *testing.T) {
	old, fresh := task(1, "app", "todo"), task(2, "app", "todo")
	in := swarmInput(t, ofManager("app1", 10, swarmNode(1, old)))
	answerAll(t, &in)
	old.State = discovery.Stopping
	in.Hosts["app1"] = ofManager("app1", 11, swarmNode(1, old, fresh))
	d := desire(t, in)
	if got, want := members(d), "worker1/web.1=10.77.1.1:32001 worker1/web.2=10.77.1.1:32002"; got != want || d.Silent["public"] != "" {
		t.Errorf("before the answer: %s, want %s; not announced: %s", got, want, d.Silent["public"])
	}
	if got, want := members(answerAll(t, &in)), "worker1/web.1=10.77.1.1:32001/stopping worker1/web.2=10.77.1.1:32002"; got != want {
		t.Errorf("after the answer: %s, want %s", got, want)
	}
}

// TestSwarmSelector: containers: {swarm: NAME} takes the tasks of a service by
// its name, wherever they are seen.
func TestSwarmSelector(t *testing.T) {
	in := swarmInput(t)
	in.Config = load(t, strings.Replace(swarmed, "{labels: {app: todo}}", "{swarm: web}", 1))
	one, other := task(1, discovery.SwarmLabel, "web"), task(2, discovery.SwarmLabel, "web2")
	in.Hosts["app1"] = ofManager("app1", 10, swarmNode(1, one, other))
	if got, want := members(desire(t, in)), "worker1/web.1=10.77.1.1:32001"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTaskKeepsItsServer: neither the manager that tells nor what an engine
// adds makes another server of a task, or makes it answer again.
func TestTaskKeepsItsServer(t *testing.T) {
	one := task(1, "app", "todo")
	in := swarmInput(t, ofManager("app1", 10, swarmNode(1, one)))
	want := answerAll(t, &in).HAProxy.Backends
	engine := snapshot("app2", local(one, "node1"))
	engine.Node = "node1"
	engine.Containers[0].StartedAt = time.Unix(99, 0)
	in.Hosts["app2"] = engine
	in.Hosts["boss"] = ofManager("boss", 20, swarmNode(1, one))
	gone := in.Hosts["app1"]
	gone.Connected = false
	in.Hosts["app1"] = gone
	got := desire(t, in).HAProxy.Backends
	for i := range want {
		if !slices.EqualFunc(got[i].Servers, want[i].Servers, func(a, b haproxy.Server) bool { return a == b }) {
			t.Errorf("backend %s: %+v, was %+v", want[i].Name, got[i].Servers, want[i].Servers)
		}
	}
}

// mutateSwarm changes one thing of what the managers of a Swarm say.
func mutateSwarm(random *rand.Rand, in *Input) {
	host := []string{"app1", "boss"}[random.IntN(2)]
	old := in.Hosts[host]
	switch random.IntN(6) {
	case 0:
		old.Connected = !old.Connected
	case 1:
		old.SwarmErr = []error{nil, errors.New("no leader")}[random.IntN(2)]
	case 2:
		old = in.Hosts["app2"]
		old.Host, old.Node, host = "app2", []string{"", "node1", "node2"}[random.IntN(3)], "app2"
		for n := range 4 {
			if random.IntN(2) == 0 {
				c := local(task(n+1, "app", "todo"), "node1")
				c.State = []discovery.State{discovery.Running, discovery.Stopping, discovery.Stopped}[random.IntN(3)]
				old.Containers = append(slices.Clone(old.Containers), c)
			}
		}
		slices.SortFunc(old.Containers, func(a, b discovery.Container) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
		old.Containers = slices.CompactFunc(old.Containers, func(a, b discovery.Container) bool { return a.ID == b.ID })
	default:
		fresh := &discovery.Swarm{ID: []string{"s", "s", "s", "other"}[random.IntN(4)], At: time.Unix(int64(random.IntN(1000)), 0)}
		for n := range 3 {
			if old.Swarm != nil && random.IntN(2) == 0 && n < len(old.Swarm.Nodes) {
				fresh.Nodes = append(fresh.Nodes, old.Swarm.Nodes[n])
				continue
			}
			node := swarmNode(n + 1)
			node.Down, node.Drained = random.IntN(5) == 0, random.IntN(5) == 0
			for i := range random.IntN(4) {
				c := task(i+1, "app", []string{"todo", "other"}[random.IntN(2)])
				c.State = []discovery.State{discovery.Running, discovery.Stopping, discovery.Pending}[random.IntN(3)]
				if random.IntN(3) == 0 {
					c.Published, c.Task.Mesh = nil, []discovery.Published{{Port: 8080, HostPort: 8088}}
				}
				node.Tasks = append(node.Tasks, c)
			}
			fresh.Nodes = append(fresh.Nodes, node)
		}
		old.Swarm = fresh
	}
	old.Host = host
	in.Hosts[host] = old
}

// TestManagersArePoked: what an engine tells of its containers makes the
// managers look; what they tell themselves does not.
func TestManagersArePoked(t *testing.T) {
	pokes := 0
	l := &loop{sources: map[string]source{"app1": {host: config.Host{Name: "app1", Swarm: true}, poke: func() { pokes++ }}, "app2": {}}}
	first := discovery.Snapshot{Host: "app2", Node: "node2", Containers: []discovery.Container{web(1, "a", "b")}}
	for i, tc := range []struct {
		old, now discovery.Snapshot
		want     int
	}{
		{discovery.Snapshot{}, first, 1},
		{first, first, 1},
		{first, discovery.Snapshot{Host: "app2", Node: "node2"}, 2},
		{discovery.Snapshot{}, discovery.Snapshot{Host: "app2", Containers: first.Containers}, 2}, // no node of any Swarm
	} {
		if l.pokeManagers(tc.old, tc.now); pokes != tc.want {
			t.Errorf("%d: %d pokes, want %d", i, pokes, tc.want)
		}
	}
}
