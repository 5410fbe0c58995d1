package docker

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

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
