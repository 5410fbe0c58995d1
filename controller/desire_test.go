package controller

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/vrrp"
)

const pair = `
version: 1
nodes:
  lb1: {address: 10.77.0.21, interface: eth0}
  lb2: {address: 10.77.0.22, interface: eth0}
hosts:
  app1: {docker: "tcp://10.77.0.11:2375"}
  app2: {docker: "tcp://10.77.0.12:2375"}
vips:
  public:
    addresses: [203.0.113.10, "2001:db8::10"]
    vrrp: {id: 51, unicast: true}
    announce: {protocols: [bgp], communities: ["65010:100"]}
  any: {addresses: [203.0.113.53], ha: anycast, nodes: [lb2], announce: {protocols: [bgp], when: proxy}}
services:
  todo:
    vip: public
    http: {hosts: [todo.example.net, "*.todo.example.net"], paths: [/, /api]}
    backend: {containers: {labels: {app: todo}}, port: 8080, balance: leastconn, check: {path: /healthz}}
  shop:
    vip: public
    http: {hosts: [shop.example.net]}
    backend: {port: 80}
  dns:
    vip: any
    tcp: {port: 53}
    backend: {servers: ["10.77.0.40:53", {address: "10.77.0.41:53", backup: true}]}
routing:
  bgp: {asn: 65010, peers: {edge: {address: 10.77.0.1, asn: 65000}}}
`

func load(t testing.TB, yaml string) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Tree{"vipilot.yaml": []byte(yaml)})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// web is a running container that publishes 8080 and wears a label.
func web(n int, key, value string) discovery.Container {
	return discovery.Container{
		ID: fmt.Sprintf("%064x", n), Name: fmt.Sprintf("web-%d", n), State: discovery.Running,
		StartedAt: time.Unix(int64(n), 0), Labels: map[string]string{key: value},
		Networks:  []discovery.Attachment{{Name: "bridge", Driver: "bridge", IPv4: netip.AddrFrom4([4]byte{172, 17, 0, byte(n)})}},
		Published: []discovery.Published{{Port: 8080, HostPort: uint16(32000 + n)}},
		Exposed:   []uint16{8080},
	}
}

func snapshot(host string, containers ...discovery.Container) discovery.Snapshot {
	return discovery.Snapshot{Host: host, Containers: containers, Connected: true}
}

func input(t testing.TB, snapshots ...discovery.Snapshot) Input {
	in := Input{Node: "lb1", Config: load(t, pair), Hosts: make(map[string]discovery.Snapshot), Answered: make(map[string]*Answers)}
	for _, s := range snapshots {
		in.Hosts[s.Host] = s
	}
	return in
}

// answerAll lets every member of every service answer.
func answerAll(t testing.TB, in *Input) Desired {
	t.Helper()
	d := desire(t, *in)
	for service, pool := range d.Pools {
		answers := &Answers{Started: make(map[string]time.Time)}
		for _, m := range pool.Members {
			answers.Started[m.Server] = m.Started
		}
		in.Answered[service] = answers
	}
	return desire(t, *in)
}

func desire(t testing.TB, in Input) Desired {
	t.Helper()
	d, err := Desire(in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func backend(t testing.TB, d Desired, name string) *haproxy.Backend {
	t.Helper()
	for _, b := range d.HAProxy.Backends {
		if b.Name == name {
			return b
		}
	}
	t.Fatalf("no backend %q", name)
	return nil
}

// prefixes are what d wants announced.
func prefixes(d Desired) string {
	var all []string
	for _, p := range d.Routing.Prefixes {
		all = append(all, p.Prefix.String())
	}
	return strings.Join(all, " ")
}

func TestAnEndpointServesOnlyAfterItAnswered(t *testing.T) {
	in := input(t, snapshot("app1", web(1, "app", "todo")))
	d := desire(t, in)
	if b := backend(t, d, "todo"); len(b.Servers) != 0 {
		t.Errorf("servers before the first answer: %v", b.Servers)
	}
	if got := prefixes(d); got != "" {
		t.Errorf("announced %q with no ready endpoint", got)
	}
	if got, want := d.Silent["public"], "no ready endpoint in shop, todo"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	d = answerAll(t, &in)
	b := backend(t, d, "todo")
	if len(b.Servers) != 1 || b.Servers[0].Address != netip.MustParseAddrPort("10.77.0.11:32001") || b.Servers[0].State != haproxy.Ready {
		t.Fatalf("servers after the answer: %+v", b.Servers)
	}
	if got, want := prefixes(d), "203.0.113.10/32 2001:db8::10/128"; got != want {
		t.Errorf("announced %q, want %q", got, want)
	}
}

func TestARestartedContainerHasToAnswerAgain(t *testing.T) {
	in := input(t, snapshot("app1", web(1, "app", "todo")))
	answerAll(t, &in)
	again := web(1, "app", "todo")
	again.StartedAt = again.StartedAt.Add(time.Minute)
	in.Hosts["app1"] = snapshot("app1", again)
	if b := backend(t, desire(t, in), "todo"); len(b.Servers) != 0 {
		t.Errorf("a restarted container serves before it answers: %v", b.Servers)
	}
}

func TestStoppingContainerIsDrainedAtOnce(t *testing.T) {
	one, two := web(1, "app", "todo"), web(2, "app", "todo")
	in := input(t, snapshot("app1", one, two))
	answerAll(t, &in)
	one.State = discovery.Stopping
	in.Hosts["app1"] = snapshot("app1", one, two)
	var states []haproxy.ServerState
	for _, s := range backend(t, desire(t, in), "todo").Servers {
		states = append(states, s.State)
	}
	if !slices.Equal(states, []haproxy.ServerState{haproxy.Maint, haproxy.Ready}) {
		t.Errorf("states %v", states)
	}
}

func TestDownEverywhereIsNotAnnounced(t *testing.T) {
	in := input(t, snapshot("app1", web(1, "app", "todo")))
	d := answerAll(t, &in)
	server := backend(t, d, "todo").Servers[0].Name
	in.Health = haproxy.NewVerdicts(map[haproxy.ServerKey]haproxy.Health{{Backend: "todo", Server: server}: haproxy.Down})
	if got := prefixes(desire(t, in)); got != "" {
		t.Errorf("announced %q though HAProxy says down", got)
	}
}

func TestUnreachableEngineKeepsItsEndpoints(t *testing.T) {
	in := input(t, snapshot("app1", web(1, "app", "todo")))
	want := answerAll(t, &in)
	stale := in.Hosts["app1"]
	stale.Connected, stale.StaleSince, stale.Err = false, time.Unix(9, 0), fmt.Errorf("connection refused")
	in.Hosts["app1"] = stale
	if diff := cmp.Diff(want.HAProxy, desire(t, in).HAProxy, cmp.AllowUnexported(netip.Addr{}, netip.AddrPort{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("an unreachable engine changed the proxy:\n%s", diff)
	}
}

func TestServicesAreNotMixed(t *testing.T) {
	hostile := web(3, "app", "todo")
	hostile.Labels["vipilot.service"] = "shop" // shop is joined by label; its port 80 is not published
	in := input(t, snapshot("app1", web(1, "app", "todo"), web(2, "vipilot.service", "shop"), hostile))
	d := answerAll(t, &in)
	if n := len(backend(t, d, "todo").Servers); n != 2 {
		t.Errorf("todo has %d servers, want 2", n)
	}
	if n := len(backend(t, d, "shop").Servers); n != 0 {
		t.Errorf("shop has %d servers, want 0", n)
	}
	if r := d.Pools["shop"].Rejected; len(r) != 2 || r[0].Reason != discovery.PortNotPublished {
		t.Errorf("shop rejected %+v", r)
	}
}

func TestPlacement(t *testing.T) {
	in := input(t)
	one := desire(t, in)
	if len(one.Anycast) != 0 || len(one.VRRP.Instances) != 1 || one.VRRP.Instances[0].Priority != 200 {
		t.Errorf("lb1: anycast %v, instances %+v", one.Anycast, one.VRRP.Instances)
	}
	if got := one.VRRP.Instances[0].GARP; got != vrrp.DefaultGARP {
		t.Errorf("lb1: %+v", got)
	}
	in.Node = "lb2"
	two := desire(t, in)
	if two.VRRP.Instances[0].Priority != 190 || !slices.Equal(two.VRRP.Instances[0].UnicastPeers, []netip.Addr{netip.MustParseAddr("10.77.0.21")}) {
		t.Errorf("lb2: instances %+v", two.VRRP.Instances)
	}
	if len(two.Anycast) != 1 || prefixes(two) != "203.0.113.53/32" {
		t.Errorf("lb2: anycast %v, announced %q", two.Anycast, prefixes(two))
	}
	in.Stage = Yielding
	if d := desire(t, in); prefixes(d) != "" || !d.VRRP.Yield || !d.HAProxy.Closing {
		t.Errorf("a node that is drained announces the anycast prefix %q, yields %v, closes %v", prefixes(d), d.VRRP.Yield, d.HAProxy.Closing)
	}
	in.Stage = Leaving
	if got := prefixes(desire(t, in)); got != "" {
		t.Errorf("a leaving node announces %q", got)
	}
	in.Node = "lb3"
	if _, err := Desire(in); err == nil || !strings.Contains(err.Error(), `node "lb3" is not declared (declared: lb1, lb2)`) {
		t.Errorf("an undeclared node: %v", err)
	}
}

func TestFrontends(t *testing.T) {
	d := desire(t, input(t))
	var f haproxy.Frontend
	for _, one := range d.HAProxy.Frontends {
		if one.Name == "public_80" {
			f = one
		}
	}
	if f.Mode != haproxy.HTTP || len(f.Binds) != 2 || len(f.Routes) != 5 || f.Default != "" {
		t.Errorf("public_80: %+v", f)
	}
}

func TestATakenPortIsNotServed(t *testing.T) {
	in := input(t, snapshot("app1", web(1, "app", "todo")))
	answerAll(t, &in)
	in.Taken = map[string]bool{"public_80": true}
	d := desire(t, in)
	if got := prefixes(d); got != "" || d.Silent["public"] != "HAProxy does not listen on it" {
		t.Errorf("announced %q, reason %q", got, d.Silent["public"])
	}
}

// TestPlannerRemembersRight walks one planner through random histories; what
// it says must always be what a fresh Desire says.
func TestPlannerRemembersRight(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	in := swarmInput(t)
	var memory planner
	same := cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
	for step := range 1000 {
		mutate(t, random, &in)
		got, err := memory.desire(in)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(desire(t, in), got, same); diff != "" {
			t.Fatalf("step %d: the memory differs (-fresh +memory):\n%s", step, diff)
		}
	}
}

// mutate changes one thing of in, as the loop would: by replacing it.
func mutate(t *testing.T, random *rand.Rand, in *Input) {
	host := []string{"app1", "app2"}[random.IntN(2)]
	switch random.IntN(10) {
	case 6, 7, 8, 9:
		mutateSwarm(random, in)
	case 0, 1:
		var containers []discovery.Container
		for n := range random.IntN(6) {
			c := web(n+1, "app", []string{"todo", "other"}[random.IntN(2)])
			c.State = []discovery.State{discovery.Running, discovery.Stopping, discovery.Paused}[random.IntN(3)]
			containers = append(containers, c)
		}
		in.Hosts[host] = snapshot(host, containers...)
	case 2, 3:
		for service, pool := range desire(t, *in).Pools {
			fresh := &Answers{Started: make(map[string]time.Time)}
			for _, m := range pool.Members {
				if random.IntN(2) == 0 {
					fresh.Started[m.Server] = m.Started
				}
			}
			in.Answered[service] = fresh
		}
	case 4:
		in.Stage = []Stage{InService, Withdrawing, Yielding, Leaving}[random.IntN(4)]
	case 5:
		in.Config = load(t, strings.Replace(swarmed, "shop.example.net", fmt.Sprintf("shop%d.example.net", random.IntN(3)), 1))
	}
}
