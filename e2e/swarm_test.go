package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// swarmServices are served by Swarm services, selected in each possible way.
const swarmServices = `networks: {mesh_net: {direct: true}}
services:
  todo:
    vip: public
    http: {hosts: [todo.example.net]}
    backend: {containers: {swarm: web}, port: 8080, check: {path: /healthz, interval: 500ms, rise: 1, fall: 2}, drain: 5s}
  agent: {vip: public, http: {hosts: [agent.example.net]}, backend: {port: 8080}}
  direct: {vip: public, http: {hosts: [direct.example.net]}, backend: {containers: {labels: {tier: direct}}, port: 8080}}
  virtual: {vip: public, http: {hosts: [virtual.example.net]}, backend: {containers: {labels: {tier: virtual}}, port: 8080}}
  entry: {vip: public, http: {hosts: [entry.example.net]}, backend: {containers: {swarm: entry}}}
  onhost: {vip: public, http: {hosts: [onhost.example.net]}, backend: {containers: {swarm: onhost}, port: 8083}}
  nowhere: {vip: public, http: {hosts: [nowhere.example.net]}, backend: {containers: {swarm: nowhere}, port: 8080}}
`

// taskGrace is how long a task of web serves on once it is told to stop: Docker
// tells both at the same moment when it updates them, and who takes their place
// has to be found and checked in that time.
const taskGrace = "GRACE=3s"

// swarmed boots the fleet on a Swarm whose manager is app1, with web on both hosts.
func swarmed(t *testing.T) (*fleet, *lab.Swarm) {
	f := start(t, swarmServices)
	fleet := f.FleetConfig()
	fleet["fleet.yaml"] = strings.Replace(fleet["fleet.yaml"], "docker: tcp://10.77.0.11:2376\n", "docker: tcp://10.77.0.11:2376\n    swarm: true\n", 1)
	f.must(f.UpdateConfig(fleet))
	s, err := f.StartSwarm(f.ctx)
	if s != nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			if t.Failed() {
				tasks, err := s.Tasks(ctx)
				t.Logf("tasks: %v\n%s", err, strings.Join(tasks, "\n"))
			}
			if err := s.End(ctx); err != nil {
				t.Error(err)
			}
			f.RemoveApp()
		})
	}
	f.must(err)
	f.partPorts(f.App1)
	f.must(s.Create(f.ctx, lab.Service{Name: "web", Replicas: 2, Env: []string{taskGrace}, Mode: swarm.PortConfigPublishModeHost}))
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
	return f, s
}

// partPorts has a host's engine publish on a lower port for IPv6 than for IPv4,
// as happens by itself where a connection of the host's own has the next one.
func (f *fleet) partPorts(app *lab.App) {
	f.t.Helper()
	f.launch(app, lab.Container{Name: "first", Publish: 8080})
	four, six, err := app.Published(f.ctx, "first", 8080)
	f.must(err)
	for port := four + 1; port <= max(four, six)+1; port++ {
		taken, err := app.Listen(fmt.Sprintf("0.0.0.0:%d", port))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue // as wanted
		}
		f.must(err)
		f.t.Cleanup(func() { taken.Close() })
	}
}

// names are a service's endpoints in a state, without their host.
func names(r status.Report, service, state string) []string {
	var list []string
	for _, e := range r.Services[service].Endpoints {
		if e.State == state {
			_, task, _ := strings.Cut(e.Name, "/")
			list = append(list, task)
		}
	}
	return list
}

// awaitTasks waits until exactly these tasks of web are ready, and no other endpoint is left.
func (f *fleet) awaitTasks(want ...string) {
	f.t.Helper()
	f.awaitStatus(f.LB1, fmt.Sprintf("tasks %v", want), func(r status.Report) error {
		if got := names(r, "todo", "ready"); !slices.Equal(slices.Sorted(slices.Values(got)), want) || len(r.Services["todo"].Endpoints) != len(want) {
			return fmt.Errorf("endpoints %+v", r.Services["todo"])
		}
		return nil
	})
}

// A service that publishes in host mode is served task by task, through every
// change that Docker makes to it, without a failed request or a reload.
func TestSwarm(t *testing.T) {
	f, s := swarmed(t)
	f.awaitTasks("web.1", "web.2")
	before := f.reloads(f.LB1)
	load := f.load(200, false)
	f.must(s.Scale(f.ctx, "web", 4))
	f.awaitTasks("web.1", "web.2", "web.3", "web.4")
	f.awaitContainers(4)
	f.must(s.Scale(f.ctx, "web", 2))
	f.awaitTasks("web.1", "web.2")
	for i, order := range []string{swarm.UpdateOrderStartFirst, swarm.UpdateOrderStopFirst} {
		version := fmt.Sprint(i + 2)
		f.must(s.Update(f.ctx, "web", func(spec *swarm.ServiceSpec) {
			spec.TaskTemplate.ContainerSpec.Env = []string{taskGrace, "VERSION=" + version}
			spec.UpdateConfig = &swarm.UpdateConfig{Parallelism: 1, Order: order, Monitor: time.Millisecond}
		}))
		f.await("the end of the update", func() error { return s.Updated(f.ctx, "web") })
		f.await("only version "+version, func() error {
			for range 8 {
				if a, err := f.get(lab.VIP, "todo.example.net", "/"); err != nil || a.Version != version {
					return fmt.Errorf("answer %+v, %v", a, err)
				}
			}
			return nil
		})
	}
	f.awaitTasks("web.1", "web.2")
	f.must(s.Scale(f.ctx, "web", 4)) // spread over both hosts: an update may have left all tasks on the one that is drained
	f.awaitTasks("web.1", "web.2", "web.3", "web.4")
	f.must(s.SetAvailability(f.ctx, f.App2, swarm.NodeAvailabilityDrain))
	f.awaitStatus(f.LB1, "all tasks on app1", func(r status.Report) error {
		if n := len(r.Services["todo"].Endpoints); n != 4 {
			return fmt.Errorf("%d endpoints", n)
		}
		for _, e := range r.Services["todo"].Endpoints {
			if !strings.HasPrefix(e.Name, "app1/") || e.State != "ready" {
				return fmt.Errorf("endpoint %s is %s", e.Name, e.State)
			}
		}
		return nil
	})
	f.must(s.SetAvailability(f.ctx, f.App2, swarm.NodeAvailabilityActive))
	f.steady(1500 * time.Millisecond)
	f.lossless("scaled, updated, drained", load)
	if n := f.reloads(f.LB1) - before; n != 0 {
		t.Errorf("HAProxy was reloaded %d times", n)
	}
}

// Every way in which a Swarm service can be reached, and why one cannot.
func TestSwarmAddresses(t *testing.T) {
	f, s := swarmed(t)
	f.must(s.Overlay(f.ctx, "mesh_net", "10.77.64.0/24"))
	f.must(s.Create(f.ctx, lab.Service{Name: "agent", Labels: map[string]string{"vipilot.service": "agent", "vipilot.weight": "50"}, Mode: swarm.PortConfigPublishModeHost, Port: 9200}))
	f.must(s.Create(f.ctx, lab.Service{Name: "direct", Replicas: 2, Labels: map[string]string{"tier": "direct"}, Network: "mesh_net"}))
	f.must(s.Create(f.ctx, lab.Service{Name: "virtual", Replicas: 1, Labels: map[string]string{"tier": "virtual"}, Network: "mesh_net", Resolve: swarm.ResolutionModeVIP}))
	f.must(s.Create(f.ctx, lab.Service{Name: "entry", Replicas: 1, Mode: swarm.PortConfigPublishModeIngress, Port: 8088}))
	f.must(s.Create(f.ctx, lab.Service{Name: "onhost", Replicas: 1, Network: "host", Env: []string{"PORT=8083"}}))
	f.must(s.Create(f.ctx, lab.Service{Name: "nowhere", Replicas: 1, Mode: swarm.PortConfigPublishModeHost, Where: "node.labels.none==such"}))
	for _, site := range []string{"agent.example.net", "onhost.example.net"} {
		f.await(site+" answers", func() error {
			_, err := f.get(lab.VIP, site, "/")
			return err
		})
	}
	f.awaitStatus(f.LB1, "every service's addresses", func(r status.Report) error {
		addresses := func(service string) (list []string) {
			for _, e := range r.Services[service].Endpoints {
				host, _, _ := strings.Cut(e.Name, "/")
				list = append(list, host+"="+e.Address)
			}
			slices.Sort(list)
			return list
		}
		var errs []error
		if got := addresses("agent"); !slices.Equal(got, []string{"app1=10.77.0.11:9200", "app2=10.77.0.12:9200"}) {
			errs = append(errs, fmt.Errorf("global, host mode: %v", got))
		}
		if got := addresses("entry"); !slices.Equal(got, []string{"app1=10.77.0.11:8088", "app2=10.77.0.12:8088"}) {
			errs = append(errs, fmt.Errorf("ingress mode: %v", got))
		}
		if got := addresses("onhost"); len(got) != 1 || got[0] != "app1=10.77.0.11:8083" && got[0] != "app2=10.77.0.12:8083" {
			errs = append(errs, fmt.Errorf("the host's network: %v, rejected %v", got, r.Services["onhost"].Rejected))
		}
		for _, e := range r.Services["direct"].Endpoints {
			if a := netip.MustParseAddrPort(e.Address); !netip.MustParsePrefix("10.77.64.0/24").Contains(a.Addr()) || a.Port() != 8080 {
				errs = append(errs, fmt.Errorf("overlay: %s at %s", e.Name, e.Address))
			}
		}
		if n := len(r.Services["direct"].Endpoints); n != 2 {
			errs = append(errs, fmt.Errorf("overlay: %d endpoints, rejected %v", n, r.Services["direct"].Rejected))
		}
		rejected := r.Services["nowhere"].Rejected
		if len(rejected) != 1 || rejected[0].Name != "nowhere.1" || rejected[0].Reason != "starting" || !strings.Contains(rejected[0].Detail, "no suitable node") {
			errs = append(errs, fmt.Errorf("without a node: %+v", rejected))
		}
		return errors.Join(errs...)
	})

	// A balancer that joins the overlay reaches its tasks, over VXLAN those of
	// the other host too.
	f.must(s.Attach(f.ctx, f.App1, f.LB1, "mesh_net"))
	for site, containers := range map[string]int{"direct.example.net": 2, "virtual.example.net": 1} {
		f.await("answers over the overlay: "+site, func() error {
			seen := make(map[string]bool)
			for range 8 {
				a, err := f.get(lab.VIP, site, "/")
				if err != nil {
					return err
				}
				seen[a.Container] = true
			}
			if len(seen) != containers {
				return fmt.Errorf("answers come from %d containers, want %d", len(seen), containers)
			}
			return nil
		})
	}
}

// Three machines that all manage the Swarm; the leader's engine is killed.
// The others elect another, and of all that nothing is seen but in the status.
func TestSwarmLosesItsLeader(t *testing.T) {
	f, s := swarmed(t)
	app3, err := f.AddApp(f.ctx)
	f.must(err)
	f.must(s.Promote(f.ctx, f.App2))
	f.must(s.Join(f.ctx, app3, swarm.NodeRoleManager))
	fleet := f.FleetConfig()
	hosts := "    tls: {ca_file: docker/ca.pem, cert_file: docker/cert.pem, key_file: docker/key.pem}\n"
	fleet["fleet.yaml"] = strings.ReplaceAll(fleet["fleet.yaml"], hosts, hosts+"    swarm: true\n")
	fleet["fleet.yaml"] = strings.Replace(fleet["fleet.yaml"], "vips:\n", "  app3:\n    docker: tcp://10.77.0.13:2376\n"+hosts+"    swarm: true\nvips:\n", 1)
	f.must(f.UpdateConfig(fleet))
	f.must(s.Scale(f.ctx, "web", 3))
	f.awaitTasks("web.1", "web.2", "web.3")
	f.awaitContainers(3)
	f.awaitStatus(f.LB1, "three managers", func(r status.Report) error {
		for _, name := range []string{"app1", "app2", "app3"} {
			if h := r.Hosts[name]; h.State != "connected" || h.Error != nil {
				return fmt.Errorf("%s: %+v", name, h)
			}
		}
		return nil
	})
	before := f.reloads(f.LB1)
	load := f.load(200, false)
	f.App1.KillEngine() // it leads; its containers live on
	s.Ask(app3)
	f.awaitStatus(f.LB1, "the loss, and nothing stale", func(r status.Report) error {
		if r.Hosts["app1"].State != "unreachable" || len(names(r, "todo", "ready")) < 3 {
			return fmt.Errorf("host %+v, service %+v", r.Hosts["app1"], r.Services["todo"])
		}
		for _, e := range r.Services["todo"].Endpoints {
			if e.Reason != "" {
				return fmt.Errorf("endpoint %+v", e)
			}
		}
		return nil
	})
	f.awaitNewTask(s)
	f.steady(time.Second)
	f.lossless("the leader died", load)
	if n := f.reloads(f.LB1) - before; n != 0 {
		t.Errorf("HAProxy was reloaded %d times", n)
	}
}

// awaitNewTask has a Swarm that has just lost its leader start a task, and waits
// until it is ready. The first task of a new leader may have no port: Docker
// 20.10 has not given it one, nobody can reach it, and another one is started.
func (f *fleet) awaitNewTask(s *lab.Swarm) {
	f.t.Helper()
	for n := uint64(4); n <= 6; n++ {
		f.await("the others to lead", func() error { return s.Scale(f.ctx, "web", n) })
		task, portless := fmt.Sprintf("web.%d", n), false
		f.awaitStatus(f.LB1, "a task that the new leader started", func(r status.Report) error {
			portless = slices.ContainsFunc(r.Services["todo"].Rejected, func(e status.Rejection) bool {
				return strings.HasSuffix(e.Name, "/"+task) && e.Reason == "port_not_published"
			})
			if ready := names(r, "todo", "ready"); !portless && !slices.Contains(ready, task) {
				return fmt.Errorf("ready are %v, rejected %+v", ready, r.Services["todo"].Rejected)
			}
			return nil
		})
		if !portless {
			return
		}
		f.t.Logf("Docker gave %s no port", task)
	}
	f.t.Fatal("Docker gave no new task a port")
}

// With its manager dead a Swarm's endpoints stay, and the end of a task on a
// declared host is still seen at once; when the manager returns, so does the truth.
func TestSwarmManagerDies(t *testing.T) {
	f, s := swarmed(t)
	load := f.load(200, false)
	f.App1.KillEngine() // its containers live on
	f.awaitStatus(f.LB1, "endpoints stale", func(r status.Report) error {
		if r.Hosts["app1"].State != "unreachable" || len(names(r, "todo", "ready")) != 2 || !strings.HasPrefix(r.Services["todo"].Endpoints[0].Reason, "stale: no manager") {
			return fmt.Errorf("host %+v, service %+v", r.Hosts["app1"], r.Services["todo"])
		}
		return nil
	})
	f.awaitContainers(2)
	f.steady(time.Second)
	f.lossless("the manager is dead", load)

	ids, err := s.Containers(f.ctx, f.App2, "web")
	f.must(err)
	if len(ids) != 1 {
		t.Fatalf("%d containers of web on app2", len(ids))
	}
	load = f.load(200, false)
	f.must(f.App2.Kill(f.ctx, ids[0], "SIGTERM"))
	seen := f.awaitStatus(f.LB1, "the stopped task drained", func(r status.Report) error {
		if n := len(names(r, "todo", "ready")); n != 1 {
			return fmt.Errorf("%d endpoints are ready", n)
		}
		return nil
	})
	if down := names(seen, "todo", "down"); len(down) > 0 {
		t.Errorf("not its engine told of the end of %v, but a check that failed", down)
	}
	f.await("the end of the task", func() error {
		left, err := s.Containers(f.ctx, f.App2, "web")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v run", left)
		}
		return err
	})
	f.steady(500 * time.Millisecond)
	f.lossless("a task stops while the manager is dead", load)

	// The node restarts anew with what the last one remembered.
	f.LB1.KillController()
	f.must(f.LB1.StartVipilot(f.ctx))
	f.awaitStatus(f.LB1, "remembered endpoint", func(r status.Report) error {
		if !slices.Equal(names(r, "todo", "ready"), []string{"web.1"}) && !slices.Equal(names(r, "todo", "ready"), []string{"web.2"}) {
			return fmt.Errorf("service %+v", r.Services["todo"])
		}
		return nil
	})
	f.must(f.App1.StartEngine(f.ctx))
	f.awaitTasks("web.1", "web.2")
	f.awaitContainers(2)
}
