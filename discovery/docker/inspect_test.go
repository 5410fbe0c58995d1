package docker

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
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

func recordedDrivers(t testing.TB) map[string]string {
	drivers := map[string]string{}
	for _, n := range load[[]network.Inspect](t, "networks.json") {
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

// The answers in testdata were recorded from Docker 20.10 (API 1.41). Ports of
// `multi` were asked to be published: Docker drops that without a word where a
// macvlan network is the one with the gateway.
var recorded = map[string]string{
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
}

func TestFromInspect(t *testing.T) {
	drivers := recordedDrivers(t)
	for name, want := range recorded {
		c, err := fromInspect(load[inspection](t, name+".json"), drivers)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := printed(c); got != name+" "+want {
			t.Errorf("got  %s\nwant %s %s", got, name, want)
		}
		if c.StartedAt.IsZero() != (c.State == discovery.Stopped) {
			t.Errorf("%s: started at %v", name, c.StartedAt)
		}
	}
}

// TestListAgrees: what the engine lists agrees with what it says of each, or a
// periodic list would inspect everything; and any difference is noticed.
func TestListAgrees(t *testing.T) {
	drivers := recordedDrivers(t)
	seen := 0
	for _, s := range load[[]container.Summary](t, "list.json") {
		if !isUp(s.State) {
			continue
		}
		seen++
		c, err := fromInspect(load[inspection](t, ownName(s)+".json"), drivers)
		if err != nil {
			t.Fatal(err)
		}
		r := newRecord(c, "", nil)
		if !agrees(s, r) {
			t.Errorf("%s: the list disagrees: %+v", c.Name, s)
		}
		for what, change := range map[string]func(*record){
			"name":      func(r *record) { r.Name += "x" },
			"state":     func(r *record) { r.State = discovery.Stopped },
			"health":    func(r *record) { r.Health = discovery.Starting },
			"published": func(r *record) { r.Published = append(r.Published, discovery.Published{Port: 1, HostPort: 1}) },
			"network":   func(r *record) { r.Networks = append(slices.Clone(r.Networks), discovery.Attachment{Name: "x"}) },
		} {
			other := r
			if change(&other); agrees(s, other) && (what != "health" || r.State == discovery.Running) {
				t.Errorf("%s: another %s went unnoticed", c.Name, what)
			}
		}
	}
	if seen != 11 {
		t.Errorf("%d containers compared, want 11", seen)
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
	for name := range recorded {
		raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"State":{"Status":"running"},"Config":{},"NetworkSettings":{"Networks":{"a":null}}}`))
	drivers := recordedDrivers(f)
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
