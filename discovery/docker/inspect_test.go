package docker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/network"

	"github.com/vipilot/vipilot/discovery"
)

func load[T any](t testing.TB, name string) T {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func recordedDrivers(t testing.TB, dir string) map[string]string {
	drivers := map[string]string{}
	for _, n := range load[[]network.Inspect](t, dir+"networks.json") {
		drivers[n.ID] = n.Driver
	}
	return drivers
}

// print is all of a container that its address depends on, on one line.
func printed(c discovery.Container) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", c.Name, c.State, c.Image)
	if c.Health != "" {
		fmt.Fprintf(&b, " %s", c.Health)
	}
	if c.HostMode {
		b.WriteString(" host-mode")
	}
	if c.NoNetwork {
		b.WriteString(" no-network")
	}
	for _, n := range c.Networks {
		fmt.Fprintf(&b, " %s/%s:%v", n.Name, n.Driver, n.IPv4)
		if n.IPv6.IsValid() {
			fmt.Fprintf(&b, ",%v", n.IPv6)
		}
		fmt.Fprintf(&b, "@%v", n.Subnet)
	}
	for _, p := range c.Published {
		fmt.Fprintf(&b, " %d=%v:%d", p.Port, p.HostIP, p.HostPort)
	}
	if len(c.Exposed) > 0 {
		fmt.Fprintf(&b, " exposed%v", c.Exposed)
	}
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		fmt.Fprintf(&b, " %s=%s", k, c.Labels[k])
	}
	return b.String()
}

// The answers in testdata were recorded from Docker 20.10 (API 1.41), those in
// testdata/28 from Docker 28.5 (API 1.51), which alone has networks without
// IPv4. Those in testdata/weave are of Docker 20.10 with plugins that go by the
// names of Weave Net's, and of an ipvlan network on a kernel that could make it
// and start no container on it. Ports of `multi` were asked to be published: Docker drops that without a
// word where a macvlan network is the one with the gateway.
var recorded = map[string]map[string]string{"": {
	"bridge_published": "running vipilot/echo:1 bridge/bridge:172.17.0.2@172.17.0.0/16 8080=0.0.0.0:18080 8080=:::18080 exposed[8080] app=todo vipilot.weight=10",
	"user_bridge":      "running vipilot/echo:1 web/bridge:10.77.200.2@10.77.200.0/24 exposed[8080]",
	"host":             "running vipilot/echo:1 host-mode exposed[8080]",
	"none":             "running vipilot/echo:1 no-network exposed[8080]",
	"macvlan":          "running vipilot/echo:1 lan/macvlan:10.77.201.2@10.77.201.0/24 exposed[8080]",
	"multi":            "running vipilot/echo:1 lan/macvlan:10.77.201.3@10.77.201.0/24 web/bridge:10.77.200.3@10.77.200.0/24 exposed[8080]",
	"healthcheck":      "running vipilot/echo:1 unhealthy bridge/bridge:172.17.0.3@172.17.0.0/16 exposed[8080]",
	"loopback":         "running vipilot/echo:1 bridge/bridge:172.17.0.4@172.17.0.0/16 8080=127.0.0.1:18081 exposed[8080]",
	"random":           "running vipilot/echo:1 bridge/bridge:172.17.0.5@172.17.0.0/16 8080=0.0.0.0:32768 8080=:::32768 exposed[8080]",
	"six":              "running vipilot/echo:1 six/bridge:10.77.202.2,2001:db8:77::2@10.77.202.0/24 8080=:::18082 exposed[8080]",
	"created":          "stopped vipilot/echo:1",
	"exited":           "stopped vipilot/echo:1",
	"paused":           "paused vipilot/echo:1 bridge/bridge:172.17.0.6@172.17.0.0/16 exposed[8080]",
}, "28/": {
	"bridge_published": "running vipilot/echo:1 bridge/bridge:172.17.0.2@172.17.0.0/16 8080=0.0.0.0:18080 8080=:::18080 exposed[8080] app=todo",
	"user_bridge":      "running vipilot/echo:1 web/bridge:10.77.200.2@10.77.200.0/24 exposed[8080]",
	"host":             "running vipilot/echo:1 host-mode exposed[8080]",
	"none":             "running vipilot/echo:1 no-network exposed[8080]",
	"macvlan":          "running vipilot/echo:1 lan/macvlan:10.77.201.2@10.77.201.0/24 exposed[8080]",
	"multi":            "running vipilot/echo:1 lan/macvlan:10.77.201.3@10.77.201.0/24 web/bridge:10.77.200.3@10.77.200.0/24 exposed[8080]",
	"healthcheck":      "running vipilot/echo:1 starting bridge/bridge:172.17.0.4@172.17.0.0/16 exposed[8080]",
	"loopback":         "running vipilot/echo:1 bridge/bridge:172.17.0.3@172.17.0.0/16 8080=127.0.0.1:18083 exposed[8080]",
	"dual":             "running vipilot/echo:1 dual/bridge:10.77.202.2,2001:db8:77:1::2@10.77.202.0/24 8080=0.0.0.0:18081 8080=:::18081 exposed[8080]",
	"six":              "running vipilot/echo:1 six/bridge:invalid IP,2001:db8:77:2::2@2001:db8:77:2::/64 8080=:::18082 exposed[8080]",
	"created":          "stopped vipilot/echo:1",
	"exited":           "stopped vipilot/echo:1",
	"paused":           "paused vipilot/echo:1 bridge/bridge:172.17.0.5@172.17.0.0/16 exposed[8080]",
}, "weave/": {
	"weave":        "running vipilot/echo:1 weave/weave:10.77.203.2@10.77.203.0/24 exposed[8080] app=todo",
	"plugin":       "running vipilot/echo:1 fleet/weaveworks/net-plugin:latest_release:10.77.204.2@10.77.204.0/24 exposed[8080]",
	"weave_bridge": "running vipilot/echo:1 bridge/bridge:172.17.0.2@172.17.0.0/16 weave/weave:10.77.203.3@10.77.203.0/24 8080=0.0.0.0:18090 8080=:::18090 exposed[8080]",
	"ipvlan":       "stopped vipilot/echo:1",
}}

func TestFromInspect(t *testing.T) {
	for dir, answers := range recorded {
		drivers := recordedDrivers(t, dir)
		for name, want := range answers {
			c, err := fromInspect(load[inspection](t, dir+name+".json"), drivers)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got := printed(c); got != name+" "+want {
				t.Errorf("%s\ngot  %s\nwant %s %s", dir, got, name, want)
			}
			if c.StartedAt.IsZero() != (c.State == discovery.Stopped) {
				t.Errorf("%s: started at %v", name, c.StartedAt)
			}
		}
	}
}

// TestRecordedAddresses: where a balancer reaches what was recorded, with
// nothing declared.
func TestRecordedAddresses(t *testing.T) {
	for name, want := range map[string]string{
		"bridge_published": "10.77.0.11:18080", "user_bridge": "port_not_published", "host": "10.77.0.11:8080", "none": "network_none",
		"macvlan": "10.77.201.2:8080", "multi": "10.77.201.3:8080", "loopback": "published_on_loopback", "six": "10.77.0.11:18082",
		"28/dual": "10.77.0.11:18081", "28/six": "10.77.0.11:18082", "weave/weave": "10.77.203.2:8080", "weave/plugin": "10.77.204.2:8080",
		"weave/weave_bridge": "10.77.203.3:8080", "weave/ipvlan": "10.77.205.2:8080",
	} {
		dir, file := filepath.Split(name)
		in := load[inspection](t, name+".json")
		if file == "ipvlan" { // as where the kernel has the driver, which gives the address when it starts
			in.State.Status, in.NetworkSettings.Networks["l2"].IPAddress = container.StateRunning, "10.77.205.2"
		}
		c, err := fromInspect(in, recordedDrivers(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		e, refused := discovery.Resolve(c, discovery.Want{Host: "app1", HostAddress: netip.MustParseAddr("10.77.0.11"), Port: 8080})
		got := e.Address.String()
		if refused != nil {
			got = string(refused.Reason)
		}
		if got != want {
			t.Errorf("%s is reached at %s, want %s", name, got, want)
		}
	}
}

// TestListAgrees: what the engine lists agrees with what it says of each, or a
// periodic list would inspect everything; and any difference is noticed.
func TestListAgrees(t *testing.T) {
	for dir, up := range map[string]int{"": 11, "28/": 11, "weave/": 3} {
		testListAgrees(t, dir, up)
	}
}

func testListAgrees(t *testing.T, dir string, up int) {
	drivers := recordedDrivers(t, dir)
	seen := 0
	for _, s := range load[[]container.Summary](t, dir+"list.json") {
		if !isUp(s.State) {
			continue
		}
		seen++
		c, err := fromInspect(load[inspection](t, dir+ownName(s)+".json"), drivers)
		if err != nil {
			t.Fatal(err)
		}
		r := newRecord(c, "", nil)
		if !agrees(s, r) {
			t.Errorf("%s: the list disagrees: %+v", c.Name, s)
		}
		for what, change := range map[string]func(*record){
			"name":  func(r *record) { r.Name += "x" },
			"state": func(r *record) { r.State = discovery.Stopped },
			"health": func(r *record) {
				r.Health = map[bool]discovery.Health{true: discovery.Starting}[r.Health != discovery.Starting]
			},
			"published": func(r *record) { r.Published = append(r.Published, discovery.Published{Port: 1, HostPort: 1}) },
			"network":   func(r *record) { r.Networks = append(slices.Clone(r.Networks), discovery.Attachment{Name: "x"}) },
		} {
			other := r
			if change(&other); agrees(s, other) && (what != "health" || r.State == discovery.Running) {
				t.Errorf("%s: another %s went unnoticed", c.Name, what)
			}
		}
	}
	if seen != up {
		t.Errorf("%s: %d containers compared, want %d", dir, seen, up)
	}
}

// Newer engines tell of an end in another order than older ones: the network
// first, then stop, then die. From the kill on the container is stopping, and
// at its end it is stopped, whatever else is told in between.
func TestStopInAnyOrder(t *testing.T) {
	raw, err := os.ReadFile("testdata/28/stop.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper("app1", slog.New(slog.DiscardHandler), nil)
	k.up = true
	var told []string
	for line := range strings.Lines(string(raw)) {
		var m events.Message
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m.Action == events.ActionStart { // as the inspection after it would say
			k.view.put(newRecord(discovery.Container{ID: m.Actor.ID, Name: m.Actor.Attributes["name"], State: discovery.Running}, "", nil))
		}
		k.event(t.Context(), m, time.Now())
		told = append(told, string(m.Action))
		if k.next != nil {
			told = append(told, string(k.next.Containers[0].State))
			k.next = nil
		}
	}
	if got, want := strings.Join(told, " "), "create start kill stopping disconnect stop stopped die"; got != want {
		t.Errorf("told: %s\nwant: %s", got, want)
	}
}

func TestIsStop(t *testing.T) {
	for _, tc := range []struct {
		configured, signal string
		want               bool
	}{
		{"", "15", true}, {"", "9", true}, {"", "1", false}, {"", "", false}, {"", "x", false},
		{"SIGQUIT", "3", true}, {"QUIT", "3", true}, {"3", "3", true}, {"SIGQUIT", "15", true}, {"SIGHUP", "3", false},
		{"SIGRTMIN+3", "37", true}, {"RTMIN+3", "36", false}, {"", "SIGTERM", true}, {"bogus", "15", true},
	} {
		r := newRecord(discovery.Container{}, tc.configured, nil)
		if got := r.isStop(tc.signal); got != tc.want {
			t.Errorf("stop signal %q, killed with %q: %v, want %v", tc.configured, tc.signal, got, tc.want)
		}
	}
}

// FuzzInspect: no answer makes the reader panic, or lets through a name, port or
// address that is not one.
func FuzzInspect(f *testing.F) {
	for dir, answers := range recorded {
		for name := range answers {
			raw, err := os.ReadFile(filepath.Join("testdata", dir, name+".json"))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Add([]byte(`{"State":{"Status":"running"},"Config":{},"NetworkSettings":{"Networks":{"a":null}}}`))
	drivers := recordedDrivers(f, "")
	f.Fuzz(func(t *testing.T, raw []byte) {
		var in inspection
		if json.Unmarshal(raw, &in) != nil {
			return
		}
		c, err := fromInspect(in, drivers)
		if err != nil {
			return
		}
		if len(c.ID) != 64 || !isName(c.Name) {
			t.Errorf("id %q, name %q", c.ID, c.Name)
		}
		for _, n := range c.Networks {
			if n.IPv4.IsValid() && (!n.IPv4.Is4() || n.IPv4.IsUnspecified()) || n.IPv6.IsValid() && (!n.IPv6.Is6() || n.IPv6.Zone() != "") {
				t.Errorf("attachment %+v", n)
			}
		}
		for _, p := range c.Published {
			if p.Port == 0 || p.HostPort == 0 {
				t.Errorf("published %+v", p)
			}
		}
		if slices.Contains(c.Exposed, 0) {
			t.Errorf("exposed %v", c.Exposed)
		}
	})
}
