package discovery

import (
	"net/netip"
	"strings"
	"testing"
)

// asTask makes the container a task of service web.
func asTask(mesh ...Published) change {
	return func(c *Container, _ *Want) { c.Task = &Task{ID: "t", Service: "web", Mesh: mesh} }
}

func TestResolveTask(t *testing.T) {
	overlay, bridge := on("lp_net", "overlay", "10.77.50.2"), Attachment{Name: "bridge", Driver: "bridge"}
	entry := Published{Port: 8080, HostPort: 8088}
	for _, tc := range []struct {
		name   string
		change []change
		want   string
	}{
		{"host mode", []change{networks(bridge), publish(row("", 32768))}, "10.77.0.11:32768"},
		{"overlay, direct", []change{networks(overlay), direct("lp_net", true), asTask(entry)}, "10.77.50.2:8080"},
		{"overlay, direct, before host mode", []change{networks(overlay), direct("lp_net", true), publish(row("", 1))}, "10.77.50.2:8080"},
		{"overlay, host mode", []change{networks(overlay), publish(row("", 32768))}, "10.77.0.11:32768"},
		{"host mode before the mesh", []change{networks(bridge), publish(row("", 32768)), asTask(entry)}, "10.77.0.11:32768"},
		{"the mesh", []change{networks(on("ingress", "overlay", "10.0.0.5")), asTask(entry)}, "10.77.0.11:8088 mesh web"},
		{"the mesh, another port", []change{networks(bridge), asTask(entry), port(9090)}, "port_not_published 9090"},
		{"the mesh, the port by label", []change{networks(bridge), expose(80, 8080), label("vipilot.port", "8080"), asTask(entry)}, "10.77.0.11:8088 mesh web"},
		{"the host's network", []change{hostMode}, "10.77.0.11:8080"},
		{"the node's address unknown", []change{hostMode, noHostAddress}, "port_not_published advertise-addr"},
		{"not published", []change{networks(bridge)}, "port_not_published docker service update --publish-add mode=host,target=8080"},
		{"overlay, not direct", []change{networks(overlay)}, "network_not_direct networks.lp_net.direct"},
		{"invalid label", []change{networks(bridge), label("vipilot.weight", "many")}, "invalid_label docker service update"},
		{"disabled", []change{networks(bridge), label("vipilot.enable", "false")}, "disabled_by_label service"},
		{"pending", []change{networks(bridge), state(Pending)}, "starting not run yet"},
		{"stopping", []change{networks(bridge), publish(row("", 1)), state(Stopping)}, "10.77.0.11:1 drain stopping"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Container{ID: "id", Name: "web.1", State: Running, Labels: map[string]string{}, Exposed: []uint16{8080}}
			w := Want{Host: "worker1", HostAddress: ip("10.77.0.11"), Direct: map[string]bool{}}
			for _, f := range append([]change{asTask()}, tc.change...) {
				f(&c, &w)
			}
			words := strings.Fields(tc.want)
			e, r := Resolve(c, w)
			if r != nil {
				if string(r.Reason) != words[0] || r.Name != "worker1/web.1" || !containsAll(r.Detail, strings.TrimPrefix(tc.want, words[0])) {
					t.Errorf("got %+v, want %s", *r, tc.want)
				}
				return
			}
			got := e.Address.String()
			if e.Mesh != "" {
				got += " mesh " + e.Mesh
			}
			if e.Drain {
				got += " drain " + string(e.Reason)
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// TestSight: the engine of a task's node adds what no manager knows, by the
// container's ID alone once there is one.
func TestSight(t *testing.T) {
	labels := map[string]string{swarmTask: "t1", swarmNode: "n"}
	running := Container{ID: "c1", Name: "web.1", State: Running, Task: &Task{ID: "t1"}, Networks: []Attachment{{Name: "lan", Driver: "macvlan"}, on("net", "overlay", "10.77.50.2")}}
	pending := Container{ID: "t1", Name: "web.1", State: Pending, Task: &Task{ID: "t1", Note: "starting"}}
	engine := Container{ID: "c1", State: Running, Health: Healthy, Labels: labels, Exposed: []uint16{80}, Networks: []Attachment{on("lan", "macvlan", "10.77.9.2"), on("net", "overlay", "10.77.50.99")}}
	ported := engine
	ported.Published = []Published{{Port: 80, HostPort: 32768}}
	told := running
	told.Published = []Published{{Port: 80, HostPort: 30000}}
	stranger := engine
	stranger.ID = "c2"
	for name, tc := range map[string]struct {
		task   Container
		engine []Container
		whole  bool
		down   bool
		check  func(Container) bool
	}{
		"completed": {running, []Container{engine}, true, false, func(c Container) bool {
			return c.Health == Healthy && c.Exposed[0] == 80 && c.Networks[0].IPv4 == ip("10.77.9.2") && c.Networks[1].IPv4 == ip("10.77.50.2")
		}},
		"begun": {pending, []Container{engine}, true, false, func(c Container) bool {
			return c.State == Running && c.ID == "c1" && c.Task.Note == "" && len(c.Networks) == 2
		}},
		"a port that no manager heard of": {running, []Container{ported}, true, false, func(c Container) bool { return len(c.Published) == 1 && c.Published[0].HostPort == 32768 }},
		"a port that the manager tells":   {told, []Container{ported}, true, false, func(c Container) bool { return len(c.Published) == 1 && c.Published[0].HostPort == 30000 }},
		"another claims to be it":         {running, []Container{stranger}, false, false, func(c Container) bool { return c.State == Running && c.Health == NoHealth }},
		"another, and it is missing":      {running, []Container{stranger}, true, false, func(c Container) bool { return c.State == Stopped && c.Task.Note != "" }},
		"its node is down":                {running, []Container{engine}, true, true, func(c Container) bool { return c.State == Stopped && strings.Contains(c.Task.Note, "down") }},
	} {
		node := &SwarmNode{ID: "n", Name: "worker1", Address: netip.MustParseAddr("10.77.0.11"), Down: tc.down, Tasks: []Container{tc.task}}
		if got := node.Sight(tc.engine, tc.whole)[0]; !tc.check(got) {
			t.Errorf("%s: %+v, task %+v", name, got, *got.Task)
		}
		if node.Tasks[0].State != tc.task.State || node.Tasks[0].Networks != nil && node.Tasks[0].Networks[0].IPv4.IsValid() {
			t.Errorf("%s: the manager's view was changed", name)
		}
	}
}
