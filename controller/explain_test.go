package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/internal/golden"
	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/status"
	"github.com/vipilot/vipilot/vrrp"
)

// Every reason of the contract is told in a sentence, with what to do.
func TestExplainEveryReason(t *testing.T) {
	base := func() discovery.Container { return web(1, "app", "todo") }
	lan := func(name string) discovery.Attachment {
		return discovery.Attachment{Name: name, Driver: "macvlan", IPv4: netip.MustParseAddr("10.77.9.2")}
	}
	for _, tc := range []struct {
		reason, step string
		yaml         func(string) string
		change       func(*discovery.Container)
		words        string // of the text and what to do next
	}{
		{"port_not_published", "address", nil, func(c *discovery.Container) { c.Published = nil }, "8080/tcp not published -p 8080"},
		{"published_on_loopback", "address", nil, func(c *discovery.Container) { c.Published[0].HostIP = netip.MustParseAddr("127.0.0.1") }, "127.0.0.1 publish host's address"},
		{"network_none", "address", nil, func(c *discovery.Container) { c.NoNetwork, c.Networks = true, nil }, "mode none network"},
		{"network_not_direct", "address", nil, func(c *discovery.Container) { c.Networks[0].Driver, c.Published = "overlay", nil }, "declare networks.bridge.direct"},
		{"ambiguous_network", "address", nil, func(c *discovery.Container) { c.Networks = []discovery.Attachment{lan("a"), lan("b")} }, `"a", "b" vipilot.network`},
		{"ambiguous_port", "address", func(y string) string { return strings.Replace(y, "port: 8080, ", "", 1) }, func(c *discovery.Container) { c.Exposed = nil }, "exposes backend.port"},
		{"not_running", "container", nil, func(c *discovery.Container) { c.State = discovery.Stopped }, "not running docker logs"},
		{"starting", "container", nil, func(c *discovery.Container) { c.Health = discovery.Starting }, "HEALTHCHECK passed wait"},
		{"unhealthy", "container", nil, func(c *discovery.Container) { c.Health = discovery.Unhealthy }, "HEALTHCHECK fails docker inspect"},
		{"paused", "container", nil, func(c *discovery.Container) { c.State = discovery.Paused }, "paused docker unpause"},
		{"stopping", "server", nil, func(c *discovery.Container) { c.State = discovery.Stopping }, "told to stop sessions nothing"},
		{"host_drained", "host", func(y string) string { return strings.Replace(y, `2375"}`, `2375", state: drain}`, 1) }, nil, "app1 drained hosts.app1.state active"},
		{"disabled_by_label", "labels", nil, func(c *discovery.Container) { c.Labels["vipilot.enable"] = "false" }, "vipilot.enable=false remove"},
		{"invalid_label", "labels", nil, func(c *discovery.Container) { c.Labels["vipilot.port"] = "x; y" }, `vipilot.port="x; y" correct`},
		{"not_selected", "service", nil, func(c *discovery.Container) { c.Labels = map[string]string{"app": "tood"} }, "no service selects backend.containers"},
		{"starting", "server", nil, func(c *discovery.Container) { c.Name = "deaf" }, "10.77.0.11:32001 has not answered curl -i http://10.77.0.11:32001/healthz"},
		{"down", "server", nil, func(c *discovery.Container) { c.Name = "sick" }, `check fails L7STS 503 "Service Unavailable" curl`},
		{"", "server", nil, func(c *discovery.Container) { c.Labels["vipilot.weight"] = "0" }, "weight is 0"},
	} {
		t.Run(tc.reason+" "+tc.step, func(t *testing.T) {
			yaml, c := pair, base()
			if tc.yaml != nil {
				yaml = tc.yaml(yaml)
			}
			if tc.change != nil {
				c.Published, c.Networks = append([]discovery.Published(nil), c.Published...), append([]discovery.Attachment(nil), c.Networks...)
				tc.change(&c)
			}
			s := stage(t, yaml, snapshot("app1", c), snapshot("app2"))
			for key := range s.node.servers {
				if strings.Contains(key.Server, "sick") {
					s.node.health[key] = haproxy.Down
				}
			}
			s.round()
			a := s.ask(c.Name)
			if !a.Found || a.Kind != "container" || a.Name != "app1/"+c.Name || a.Verdict != status.NoTraffic {
				t.Fatalf("answer %+v", a)
			}
			got := step(a.Explanation, tc.step)
			if got.Verdict != status.Fail || got.Reason != tc.reason || !strings.HasPrefix(a.Reason, tc.reason) {
				t.Errorf("step %+v, reason %q; want %s", got, a.Reason, tc.reason)
			}
			for _, word := range strings.Fields(tc.words) {
				if !strings.Contains(a.Reason+" "+a.Next, word) {
					t.Errorf("%q → %q lacks %q", a.Reason, a.Next, word)
				}
			}
			if a.Next == "" || strings.ContainsAny(a.Reason, "\n\r") {
				t.Errorf("reason %q, next %q", a.Reason, a.Next)
			}
		})
	}
}

// site adds what the golden answers need: sites that share ports, TLS, a
// second VIP, a service by name over TLS.
const site = `
version: 1
nodes:
  lb1: {address: 10.77.0.21, interface: eth0}
  lb2: {address: 10.77.0.22, interface: eth0}
hosts:
  app1: {docker: "tcp://10.77.0.11:2375"}
  app2: {docker: "tcp://10.77.0.12:2375"}
vips:
  public: {addresses: [203.0.113.10, "2001:db8::10"], vrrp: {id: 51}, announce: {protocols: [bgp]}}
  staging: {addresses: [203.0.113.20], ha: static}
  away: {addresses: [203.0.113.53], ha: anycast, nodes: [lb2], announce: {protocols: [bgp]}}
services:
  todo:
    vip: public
    http: {hosts: [todo.example.net, "*.todo.example.net"]}
    backend: {containers: {labels: {app: todo}}, port: 8080, check: {path: /healthz}}
  api:
    vip: public
    http: {hosts: ["*.example.net"], paths: [/api]}
    backend: {containers: {labels: {app: todo, tier: api}}, port: 8080}
  todo-staging:
    vip: staging
    http: {hosts: [todo.example.net]}
    backend: {containers: {labels: {app: todo, env: staging}}, port: 8080}
  db:
    vip: public
    tcp: {port: 5432}
    backend: {servers: ["10.77.0.40:5432", {address: "10.77.0.41:5432", backup: true}]}
  names:
    vip: public
    tcp: {port: 8443, sni: [db.example.net]}
    backend: {servers: ["10.77.0.40:8443"]}
  dns:
    vip: away
    tcp: {port: 53}
    backend: {servers: ["10.77.0.40:53"]}
routing:
  bgp: {asn: 65010, peers: {edge: {address: 10.77.0.1, asn: 65000}, core: {address: 10.77.0.2, asn: 65000}}}
`

// fleetOf is the site with a container in each kind of trouble.
func fleetOf(t *testing.T) *scene {
	lost := discovery.Snapshot{Host: "app2", Containers: []discovery.Container{web(4, "app", "todo")}, StaleSince: time.Unix(820, 0), Err: errors.New("dial tcp 10.77.0.12:2375: connection refused")}
	s := stage(t, site, snapshot("app1",
		web(1, "app", "todo"),
		with(web(2, "app", "todo"), func(c *discovery.Container) { c.Published = nil }),
		with(web(3, "app", "tood"), func(c *discovery.Container) {
			c.Labels = map[string]string{"app": "tood", "tier": "api", "vipilot.service": "toodo"}
		}),
		with(web(5, "app", "todo"), func(c *discovery.Container) {
			c.Labels = map[string]string{"app": "todo", "tier": "api"}
			c.Networks = append([]discovery.Attachment{{Name: "lan", Driver: "macvlan", IPv4: netip.MustParseAddr("10.77.9.5")}}, c.Networks...)
		}),
		with(web(6, "app", "todo"), func(c *discovery.Container) { c.Name = "deaf-1" }),
	), lost)
	for key := range s.node.servers {
		if key.Backend == "todo" && strings.Contains(key.Server, "web-4") {
			s.node.health[key] = haproxy.Down
		}
	}
	s.round()
	return s
}

func TestExplainText(t *testing.T) {
	s := fleetOf(t)
	dns := func(addresses ...string) status.Question { return status.Question{Resolved: addresses} }
	for _, tc := range []struct {
		file, subject string
		q             status.Question
	}{
		{"serving", "web-1", status.Question{}},
		{"unpublished", "app1/web-2", status.Question{}},
		{"unselected", "web-3", status.Question{}},
		{"two-services", "web-5", status.Question{}},
		{"lost-host", "web-4", status.Question{}},
		{"deaf", "deaf-1", status.Question{}},
		{"service", "todo", status.Question{}},
		{"empty-service", "todo-staging", status.Question{}},
		{"static", "10.77.0.41:5432", status.Question{}},
		{"host", "10.77.0.11", status.Question{}},
		{"vip", "203.0.113.10", status.Question{}},
		{"vip-port", "203.0.113.10:81", status.Question{}},
		{"vip-away", "away", status.Question{}},
		{"url", "http://todo.example.net/api/x", dns("203.0.113.10")},
		{"url-wildcard", "http://de.todo.example.net/", dns("198.51.100.7")},
		{"url-path", "http://shop.example.net/apix", status.Question{Unresolved: "no such name"}},
		{"url-port", "http://todo.example.net:81/", dns("203.0.113.10")},
		{"url-unknown", "http://tood.example.net/", dns("203.0.113.10")},
		{"url-nowhere", "http://tood.example.org/", dns("198.51.100.7")},
		{"url-address", "http://user:secret@203.0.113.10/", status.Question{}},
		{"sni", "https://db.example.net:8443/", status.Question{}},
		{"unknown", "wbe-1", status.Question{}},
		{"node", "10.77.0.21", status.Question{}},
		{"scheme", "ftp://x/", status.Question{}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			a := s.ask(tc.subject, tc.q)
			var text bytes.Buffer
			if err := status.WriteAnswer(&text, &a, false); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text.String(), "secret") {
				t.Error("a password is shown")
			}
			golden.Equal(t, "testdata/explain/"+tc.file+".txt", text.Bytes())
			if again := overJSON(t, a); again != text.String() {
				t.Errorf("--json lacks something that the text says:\n%s", again)
			}
		})
	}
}

// overJSON is the text of an answer that went through --json.
func overJSON(t *testing.T, a status.Answer) string {
	t.Helper()
	raw, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var again status.Answer
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := status.WriteAnswer(&text, &again, false); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// One thing has many names.
func TestExplainFinds(t *testing.T) {
	s := fleetOf(t)
	server := s.loop.applied.want.Pools["todo"].Members[0].Server // app1.deaf-1.…
	for subject, want := range map[string]string{
		"web-1": "container app1/web-1", "app1/web-1": "container app1/web-1", "/web-1": "container app1/web-1",
		fmt.Sprintf("%064x", 1): "container app1/web-1", "10.77.0.11:32001": "container app1/web-1", "10.77.9.5": "container app1/web-5",
		"10.77.9.5:8080": "container app1/web-5", "http://10.77.0.11:32001/": "container app1/web-1", "10.77.0.11:32002": "",
		server: "container app1/deaf-1", "todo/" + server: "container app1/deaf-1",
		"todo": "service todo", "10.77.0.40:5432": "server db/10.77.0.40:5432", "public": "vip public", "203.0.113.20": "vip staging",
		"203.0.113.10/32": "vip public", "[2001:db8::10]:80": "vip public port 80", "app1": "host app1", "10.77.0.12": "host app2",
		"todo.example.net": "url todo.example.net (public_80)", "TODO.example.net.": "url todo.example.net (public_80)",
		"todo.example.net:80/x": "url todo.example.net (public_80)", "http://[2001:db8::10]/": "url http://[2001:db8::10]/",
		"db.example.net": "url db.example.net (public_8443)", "http://todo.example.net": "url http://todo.example.net",
		"00": "", "10.9.9.9": "", "todo.example.com": "", "203.0.113.10/24": "", "http://10.9.9.9/": "", "": "", "a\nb": "",
	} {
		a := s.ask(subject)
		if got := strings.TrimSuffix(a.Kind+" "+a.Name, " "); a.Found != (want != "") || a.Found && got != want {
			t.Errorf("%q is %q (found: %v), want %q", subject, got, a.Found, want)
		}
		if a.Found == (a.Verdict == "") || !a.Found && a.Reason == "" {
			t.Errorf("%q: %+v", subject, a)
		}
	}
}

func TestExplainByRole(t *testing.T) {
	for role, want := range map[vrrp.Role]string{
		vrrp.Master: "", vrrp.Backup: "backup: public (203.0.113.10, 2001:db8::10): lb1 is backup, clients reach the master (of lb2)", vrrp.Fault: "fault: ",
	} {
		s := stage(t, site, snapshot("app1", web(1, "app", "todo")), snapshot("app2"))
		s.loop.election = roleOf{fakeElection{s.node}, role}
		s.round()
		if a := s.ask("web-1"); !strings.HasPrefix(a.Reason, want) || (a.Reason == "") != (want == "") {
			t.Errorf("as %s: %s, %q", role, a.Verdict, a.Reason)
		}
	}
}

// peered is a sentinel with one peer that listens and one that does not.
type peered struct{ fakeRouter }

func (p peered) State() (remote.State, bool) {
	state, ok := p.fakeRouter.State()
	state.Peers = map[string]routing.PeerState{
		"edge": {State: "established", PrefixesAnnounced: len(state.Announced)},
		"core": {State: "active", Error: "no route to host"},
	}
	return state, ok
}

type roleOf struct {
	fakeElection
	role vrrp.Role
}

func (r roleOf) Role(string) vrrp.Role { return r.role }

// Tasks of a Swarm: published by their node, behind the mesh, on a node that is
// lost, and as the engine of a declared node calls them.
func TestExplainTasks(t *testing.T) {
	mesh := task(2, "app", "todo")
	mesh.Published, mesh.Task.Mesh = nil, []discovery.Published{{Port: 8080, HostPort: 8088}}
	waiting := task(4, "app", "todo")
	waiting.State, waiting.Task.Note = discovery.Pending, "no suitable node (insufficient memory on 2 nodes)"
	lost := swarmNode(3, task(3, "app", "todo"))
	lost.Down = true
	nodes := []*discovery.SwarmNode{{Tasks: []discovery.Container{waiting}}, swarmNode(1, task(1, "app", "todo")), swarmNode(2, mesh), lost}
	s := stage(t, swarmed, ofManager("app1", 10, nodes...), snapshot("app2"), ofManager("boss", 9, nodes...))
	for file, subject := range map[string]string{
		"task": "web.1", "task-mesh": "worker2/web.2", "task-lost": "web.3.task3", "task-pending": "web.4", "entrance": "10.77.1.1:8088",
	} {
		a := s.ask(subject)
		var text bytes.Buffer
		if err := status.WriteAnswer(&text, &a, false); err != nil {
			t.Fatal(err)
		}
		golden.Equal(t, "testdata/explain/"+file+".txt", text.Bytes())
	}
}

func TestExplainATakenPort(t *testing.T) {
	s := stage(t, pair, snapshot("app1", web(1, "app", "todo")), snapshot("app2"))
	known := *s.loop.known.Load()
	known.in.Taken = map[string]bool{"public_80": true}
	s.loop.known.Store(&known)
	for _, subject := range []string{"web-1", "todo", "public", "http://todo.example.net/", "203.0.113.10:80"} {
		if a := s.ask(subject); a.Verdict != status.NoTraffic || !strings.HasPrefix(a.Reason, "port_taken: public_80 does not listen") || !strings.Contains(a.Next, "ss -ltnp") {
			t.Errorf("%s: %s, %q → %q", subject, a.Verdict, a.Reason, a.Next)
		}
	}
}

// What explain says of an endpoint is what the decision made of it, along
// random histories of engines and a Swarm.
func TestExplainAgreesWithTheDecision(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	in := swarmInput(t)
	up := func(string) (map[string]haproxy.CheckResult, error) { return nil, errors.New("not asked") }
	for range 300 {
		mutate(t, random, &in)
		want := desire(t, in)
		report := &status.Report{
			Components: status.Components{HAProxy: status.HAProxy{State: "running"}, Speaker: status.Speaker{Peers: map[string]status.Peer{"edge": {State: "established"}}}},
			VIPs:       map[string]status.VIP{"public": {Role: "master", Announced: []string{"203.0.113.10/32"}}},
		}
		x := newExplainer(&facts{in: in, want: want, report: report, at: time.Unix(2000, 0)}, up)
		for service, pool := range want.Pools {
			for _, m := range pool.Members {
				health := []haproxy.Health{haproxy.Up, haproxy.Down}[random.IntN(2)]
				in.Health = haproxy.NewVerdicts(map[haproxy.ServerKey]haproxy.Health{{Backend: service, Server: m.Server}: health})
				x.in.Health = in.Health
				things := x.findName(m.Server)
				if len(things) == 0 {
					t.Fatalf("%s/%s is not found", service, m.Server)
				}
				for _, tell := range things {
					if e := tell(); (e.Verdict == status.GetsTraffic) != m.ready(health) && !m.Backup {
						t.Fatalf("%s/%s: %s (%s), ready: %v\n%+v", service, m.Server, e.Verdict, e.Reason, m.ready(health), m)
					}
				}
			}
			for _, r := range pool.Rejected {
				said := false
				for _, tell := range x.findName(r.Name) {
					e := tell()
					for _, one := range e.Steps {
						said = said || one.Verdict == status.Fail && one.Reason == string(r.Reason)
					}
				}
				if !said {
					t.Fatalf("%s: %s is turned away by %s, and explain does not say so", service, r.Name, r.Reason)
				}
			}
		}
	}
}
