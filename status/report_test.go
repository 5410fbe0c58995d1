package status

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// example is the report of contract section 6.
func example(t testing.TB) *Report {
	t.Helper()
	data, err := os.ReadFile("testdata/contract.json")
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var r Report
	if err := decoder.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func ptr[T any](v T) *T { return &v }

// troubled is a node on a bad night.
func troubled() *Report {
	applied := time.Date(1999, 12, 31, 21, 55, 0, 0, time.UTC)
	stale := time.Date(1999, 12, 31, 23, 58, 30, 0, time.UTC)
	return &Report{
		Node: "lb2", Version: "v1.0.0",
		Config: Config{Revision: "4f3a2b1c9d8e", AppliedAt: &applied, Pending: ptr("77aa01bc23de"), PendingReason: Refused,
			Error: ptr("todo.yaml:3:8: services.todo.vip: \"pubic\" is not a declared VIP; did you mean \"public\"?\ntodo.yaml:9:5: services.todo.chek: unknown key; did you mean \"check\"?")},
		Components: Components{
			HAProxy:    HAProxy{State: "failed", Reloads: 3, RuntimeUpdates: 1204, Error: ptr("run haproxy: exit status 1: cannot bind 203.0.113.10:80")},
			Keepalived: Keepalived{State: "running", PID: 4711},
			Speaker: Speaker{State: "running", PID: 4712, Peers: map[string]Peer{
				"edge": {State: "active", Error: "connect: no route to host"}, "edge2": {State: "established"}}},
		},
		Hosts: map[string]Host{
			"app1": {State: "connected", Containers: 4},
			"app2": {State: "unreachable", Containers: 9, StaleSince: &stale, Error: ptr("ping engine: i/o timeout")},
		},
		VIPs: map[string]VIP{
			"public": {Addresses: []string{"203.0.113.10", "2001:db8::10"}, HA: "vrrp", Role: "fault", Reason: "haproxy does not run"},
			"any":    {Addresses: []string{"203.0.113.53"}, HA: "anycast", Role: "active", Announced: []string{"203.0.113.53/32"}},
			"intra":  {Addresses: []string{"10.77.0.101"}, HA: "vrrp"},
		},
		Services: map[string]Service{
			"todo": {VIP: "public",
				Endpoints: []Endpoint{
					{Name: "app1/web-1", Address: "10.77.0.11:32768", State: "ready"},
					{Name: "app1/web-2", Address: "10.77.0.11:32769", State: "starting", Reason: "does not answer yet"},
					{Name: "app2/web-3", Address: "10.77.0.12:32768", State: "drain", Reason: "stopping"},
					{Name: "app2/web-4", Address: "10.77.0.12:32769", State: "down"},
				},
				Rejected: []Rejection{{Name: "app1/web-9", Reason: "port_not_published", Detail: "port 8080 is exposed but not published; publish it or set direct: true"}}},
			"db":    {VIP: "intra", Endpoints: []Endpoint{{Name: "static/10.77.0.40:5432", Address: "10.77.0.40:5432", State: "ready"}}},
			"empty": {VIP: "any"},
			"<b>":   {VIP: "any", Rejected: []Rejection{{Name: "app1/\x1b[31m", Reason: "invalid_label", Detail: "<script>alert(1)</script>"}}},
		},
	}
}

func TestReportIsTheContracts(t *testing.T) {
	file, err := os.ReadFile("testdata/contract.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(example(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(generic(t, file), generic(t, got)); diff != "" {
		t.Errorf("the report differs from the contract (-want +got):\n%s", diff)
	}
}

func TestReportHasNoNullSets(t *testing.T) {
	r := &Report{VIPs: map[string]VIP{"public": {}}, Services: map[string]Service{"todo": {}}}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"node":"","version":"","ready":false,"config":{"revision":"","applied_at":null,"pending":null,"error":null},` +
		`"components":{"haproxy":{"state":"","pid":0,"reloads":0,"runtime_updates":0,"error":null},` +
		`"keepalived":{"state":"","pid":0,"reloads":0,"error":null},"speaker":{"state":"","pid":0,"error":null,"peers":{}}},` +
		`"hosts":{},"vips":{"public":{"addresses":[],"ha":"","role":"","announced":[],"reason":""}},` +
		`"services":{"todo":{"vip":"","endpoints":[],"rejected":[]}}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	if r.Hosts != nil || r.VIPs["public"].Addresses != nil || r.Services["todo"].Endpoints != nil {
		t.Error("rendering changed the report")
	}
}

func generic(t *testing.T, data []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
