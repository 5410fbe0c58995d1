package controller

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/discovery/docker"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// grabbing has services that a container joins by whatever it can be picked by.
const grabbing = `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
hosts: {app1: {docker: "tcp://10.77.0.11:2375"}}
vips: {public: {addresses: [203.0.113.10], ha: static}}
services:
  any: {vip: public, http: {hosts: [any.example.net]}, backend: {containers: {name: "*"}, check: {path: /healthz}}}
  ported: {vip: public, http: {hosts: [ported.example.net]}, backend: {containers: {image: "*"}, port: 8080, sticky: {cookie: SRV}}}
  joined: {vip: public, tcp: {port: 5432}}
  todo: {vip: public, http: {hosts: [todo.example.net]}, backend: {containers: {labels: {app: todo}}, port: 8080}}
`

// hostile are values that somebody may give a label in the hope that they end
// up in a file or a command.
var hostile = map[string]string{
	"a line more":     "8080\n  server evil 203.0.113.66:80",
	"a directive":     "8080 backup check inter 1ms",
	"a command":       "100; shutdown frontend public_80",
	"quotes":          `"8080"`,
	"a variable":      "${HOME}",
	"control":         "80\x00\x1b[2J80",
	"64 KB":           strings.Repeat("A", 64<<10),
	"not UTF-8":       "\xff\xfe8080",
	"other digits":    "٨٠٨٠",
	"a keyword":       "backend",
	"a comment":       "8080 # the rest",
	"out of range":    "65536",
	"negative":        "-1",
	"zero":            "0x50",
	"nothing":         "",
	"a Unicode space": "8080\u2028",
}

// A container with hostile labels is turned away with a reason that is safe to
// print, and what is written for all others does not change by a byte.
func TestHostileLabels(t *testing.T) {
	good := web(1, "app", "todo")
	cfg := load(t, grabbing)
	without := rendered(t, Input{Node: "lb1", Config: cfg}, good)
	for what, value := range hostile {
		for _, label := range []string{"vipilot.port", "vipilot.network", "vipilot.weight", "vipilot.enable"} {
			bad := web(2, "app", "todo")
			bad.Labels[label] = value
			s := stage(t, grabbing, snapshot("app1", good, bad))
			pool := s.loop.applied.want.Pools["todo"]
			i := slices.IndexFunc(pool.Rejected, func(r discovery.Rejection) bool { return r.Name == "app1/web-2" })
			if i < 0 {
				t.Errorf("%s in %s: not turned away: %+v", what, label, pool)
				continue
			}
			if r := pool.Rejected[i]; r.Reason != discovery.InvalidLabel || len(r.Detail) > 600 || strings.ContainsAny(r.Detail, "\n\r\x00\x1b") {
				t.Errorf("%s in %s: %s, %.700q", what, label, r.Reason, r.Detail)
			}
			if a := s.ask("app1/web-2"); a.Verdict != status.NoTraffic || !strings.Contains(a.Reason, string(discovery.InvalidLabel)) || a.Next == "" {
				t.Errorf("%s in %s: explained by %.200q → %.200q", what, label, a.Reason, a.Next)
			}
			if got := rendered(t, Input{Node: "lb1", Config: cfg}, good, bad); got != without {
				t.Errorf("%s in %s changes haproxy.cfg:\n%s", what, label, got)
			}
		}
		// Labels that are none of vipilot's say nothing at all.
		other := web(1, "app", "todo")
		other.Labels["traefik.http.routers.x.rule"], other.Labels[value] = value, value
		if got := rendered(t, Input{Node: "lb1", Config: cfg}, other); got != without {
			t.Errorf("%s in a strange label changes haproxy.cfg:\n%s", what, got)
		}
	}
}

// rendered is haproxy.cfg for containers of app1 that have all answered.
func rendered(t testing.TB, in Input, containers ...discovery.Container) string {
	t.Helper()
	in.Hosts = map[string]discovery.Snapshot{"app1": snapshot("app1", containers...)}
	in.Answered = make(map[string]*Answers)
	want := answerAll(t, &in)
	files, err := haproxy.Render(want.HAProxy, haproxy.Paths{Dir: "/run/vipilot/haproxy"})
	if err != nil {
		t.Fatal(err)
	}
	return string(files[haproxy.ConfigFile])
}

// serverLine is all that a container can add to haproxy.cfg.
var serverLine = regexp.MustCompile(`^  server app1\.[A-Za-z0-9_.-]+\.[0-9a-f]{8} (\d+\.\d+\.\d+\.\d+|\[?[0-9a-f:.]+\]?):\d+( [a-z0-9-]+| \d+m?s| app1\.[A-Za-z0-9_.-]+\.[0-9a-f]{8})*$`)

// FuzzContainer goes the whole way, from an engine's answer to haproxy.cfg:
// whatever comes in, a container adds server lines and nothing else, and it
// takes nothing from the container beside it.
func FuzzContainer(f *testing.F) {
	for _, value := range hostile {
		for _, label := range []string{"vipilot.port", "vipilot.network", "vipilot.weight", "vipilot.enable", "vipilot.service", "app"} {
			f.Add(answer(f, value, label))
		}
	}
	f.Add(answer(f, "joined", "vipilot.service"))
	cfg := load(f, grabbing)
	neighbour := web(1, "app", "todo")
	plain := rendered(f, Input{Node: "lb1", Config: cfg}, neighbour)
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := docker.Read(raw, map[string]string{"n": "bridge", "m": "macvlan"})
		if err != nil || c.ID == neighbour.ID || c.Name == neighbour.Name {
			return
		}
		got := rendered(t, Input{Node: "lb1", Config: cfg}, neighbour, c)
		left := strings.Split(plain, "\n")
		for _, line := range strings.Split(got, "\n") {
			switch {
			case len(left) > 0 && line == left[0]:
				left = left[1:]
			case !serverLine.MatchString(line):
				t.Fatalf("the container adds %q", line)
			}
		}
		if len(left) > 0 {
			t.Fatalf("the container takes away %q", left)
		}
	})
}

// answer is an engine's, for a container with one hostile label.
func answer(f *testing.F, value, label string) []byte {
	f.Helper()
	raw, err := json.Marshal(map[string]any{
		"Id": strings.Repeat("ab", 32), "Name": "/fuzzed", "State": map[string]any{"Status": "running", "StartedAt": "2026-01-02T03:04:05Z"},
		"Config":     map[string]any{"Image": "x:1", "Labels": map[string]string{"app": "todo", label: value}, "ExposedPorts": map[string]any{"8080/tcp": nil}},
		"HostConfig": map[string]any{"NetworkMode": "net"},
		"NetworkSettings": map[string]any{
			"Networks": map[string]any{"net": map[string]any{"NetworkID": "n", "IPAddress": "172.18.0.9", "IPPrefixLen": 16}},
			"Ports":    map[string]any{"8080/tcp": []map[string]string{{"HostIp": "0.0.0.0", "HostPort": "32790"}}},
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	return raw
}
