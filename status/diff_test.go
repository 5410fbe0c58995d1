package status

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Report)
		want   []Event
	}{
		"nothing":        {func(*Report) {}, nil},
		"not ready":      {func(r *Report) { r.Ready = false }, []Event{{Kind: "node", Subject: "lb1", From: "ready", To: "not ready"}}},
		"new revision":   {func(r *Report) { r.Config.Revision = "b" }, []Event{{Kind: "config", Subject: "revision", From: "4f3a2b1c9d8e", To: "b"}}},
		"bad revision":   {func(r *Report) { r.Config.Error = ptr("bad") }, []Event{{Kind: "config", Subject: "error", To: "bad"}}},
		"haproxy died":   {func(r *Report) { r.Components.HAProxy = HAProxy{State: "failed", Reloads: 1} }, []Event{{Kind: "component", Subject: "haproxy", From: "running", To: "failed"}, {Kind: "component", Subject: "haproxy pid", From: "1"}}},
		"peer lost":      {func(r *Report) { r.Components.Speaker.Peers = map[string]Peer{"edge": {State: "idle"}} }, []Event{{Kind: "component", Subject: "peer edge", From: "established", To: "idle"}}},
		"host added":     {func(r *Report) { r.Hosts["app0"] = Host{} }, []Event{{Kind: "host", Subject: "app0", To: "unknown"}}},
		"host removed":   {func(r *Report) { r.Hosts = nil }, []Event{{Kind: "host", Subject: "app1", From: "connected", To: "removed"}}},
		"role, withdraw": {func(r *Report) { r.VIPs["public"] = VIP{Role: "backup"} }, []Event{{Kind: "vip", Subject: "public", From: "master", To: "backup"}, {Kind: "prefix", Subject: "public 203.0.113.10/32", From: "announced", To: "withdrawn"}}},
		"endpoint drains": {func(r *Report) { r.service("todo").Endpoints[0].State = "drain" },
			[]Event{{Kind: "endpoint", Subject: "todo app1/web-1", From: "ready", To: "drain"}}},
		"endpoint moves": {func(r *Report) { r.service("todo").Endpoints[0].Address = "10.77.0.11:2" },
			[]Event{{Kind: "endpoint", Subject: "todo app1/web-1 address", From: "10.77.0.11:32768", To: "10.77.0.11:2"}}},
		"endpoint is rejected": {func(r *Report) {
			r.Services["todo"] = Service{Rejected: []Rejection{{Name: "app1/web-1", Reason: "paused"}}}
		}, []Event{
			{Kind: "endpoint", Subject: "todo app1/web-1", From: "ready", To: "rejected: paused"},
			{Kind: "endpoint", Subject: "todo app1/web-9", From: "rejected: port_not_published", To: "removed"}}},
		"one name, two addresses": {func(r *Report) {
			s := r.service("todo")
			s.Endpoints = []Endpoint{{"web.1", "10.77.0.2:80", "ready", "", "", ""}, {"web.1", "10.77.0.1:80", "down", "", "", ""}}
			r.Services["todo"] = s
		}, []Event{
			{Kind: "endpoint", Subject: "todo app1/web-1", From: "ready", To: "removed"},
			{Kind: "endpoint", Subject: "todo web.1 10.77.0.1:80", To: "down"},
			{Kind: "endpoint", Subject: "todo web.1 10.77.0.2:80", To: "ready"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := example(t)
			c.change(r)
			for i := range c.want {
				c.want[i].Cause = "test"
			}
			if diff := cmp.Diff(c.want, Diff(example(t), r, "test")); diff != "" {
				t.Errorf("events differ (-want +got):\n%s", diff)
			}
		})
	}
}

// service gives a service whose slices may be written to in a test.
func (r *Report) service(name string) Service { return r.Services[name] }

func TestDiffOfTheFirstReport(t *testing.T) {
	if got := Diff(nil, nil, ""); got != nil {
		t.Errorf("no report gave %v", got)
	}
	kinds := map[string]int{}
	for _, e := range Diff(nil, example(t), "start") {
		kinds[e.Kind]++
	}
	want := map[string]int{"node": 1, "config": 1, "component": 8, "host": 1, "vip": 1, "prefix": 1, "endpoint": 2}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
}

// A report against itself gives nothing; a diff is the same every time; and
// each event says a change, no subject twice.
func TestDiffProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		old, new := randomReport(rng), randomReport(rng)
		if got := Diff(old, copyOf(t, old), "x"); got != nil {
			t.Fatalf("no change gave %v", got)
		}
		events := Diff(old, new, "x")
		if diff := cmp.Diff(events, Diff(copyOf(t, old), copyOf(t, new), "x")); diff != "" {
			t.Fatalf("two runs differ:\n%s", diff)
		}
		seen := map[string]bool{}
		for _, e := range events {
			if e.From == e.To || seen[e.Kind+e.Subject] {
				t.Fatalf("bad event %+v in %+v", e, events)
			}
			seen[e.Kind+e.Subject] = true
		}
		if back := Diff(new, old, "x"); len(back) != len(events) {
			t.Fatalf("%d events there, %d back", len(events), len(back))
		}
	}
}

func copyOf(t *testing.T, r *Report) *Report {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var c Report
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

func randomReport(rng *rand.Rand) *Report {
	word := func(words ...string) string { return words[rng.IntN(len(words))] }
	r := &Report{Node: "lb1", Ready: rng.IntN(2) == 0, Hosts: map[string]Host{}, VIPs: map[string]VIP{}, Services: map[string]Service{}}
	r.Config.Revision = word("a", "b")
	r.Components.HAProxy = HAProxy{State: word("running", "failed"), PID: rng.IntN(3), Reloads: rng.IntN(3)}
	for range rng.IntN(3) {
		r.Hosts[word("h1", "h2", "h3")] = Host{State: word("connected", "unreachable", "")}
		v := VIP{Role: word("master", "backup", "")}
		if rng.IntN(2) == 0 {
			v.Announced = []string{word("a/32", "b/32")}
		}
		r.VIPs[word("v1", "v2")] = v
		var s Service
		for range rng.IntN(4) {
			s.Endpoints = append(s.Endpoints, Endpoint{Name: "h1/c" + strconv.Itoa(len(s.Endpoints)), Address: word("1:1", "2:2"), State: word("ready", "down")})
		}
		if rng.IntN(2) == 0 {
			s.Rejected = []Rejection{{Name: word("h1/c0", "h1/c9"), Reason: word("paused", "stopping")}}
		}
		r.Services[word("s1", "s2")] = s
	}
	return r
}
