package controller

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/status"
)

func forecast(t *testing.T, failures ...string) status.Forecast {
	t.Helper()
	in := input(t,
		snapshot("app1", web(1, "app", "todo"), web(2, "app", "todo"), web(3, "app", "todo")),
		snapshot("app2", web(4, "app", "todo")))
	var found []Failure
	for _, text := range failures {
		f, err := FindFailure(in.Config, text)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, f)
	}
	f, err := Forecast(in.Config, View{Hosts: in.Hosts}, found...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestForecast(t *testing.T) {
	for _, c := range []struct {
		name    string
		fail    []string
		lost    []string
		holder  string // of public
		heard   string // of public: node peers
		left    int    // endpoints of todo
		reasons map[string]string
	}{
		{name: "nothing", holder: "lb1", heard: "lb1 edge", left: 4},
		{name: "the master", fail: []string{"lb1"}, holder: "lb2", heard: "lb2 edge", left: 4},
		{name: "the only node of a VIP", fail: []string{"lb2"}, lost: []string{"dns"}, holder: "lb1", heard: "lb1 edge", left: 4,
			reasons: map[string]string{"dns": "VIP any: none of its nodes is left"}},
		{name: "a host", fail: []string{"host app1"}, holder: "lb1", heard: "lb1 edge", left: 1},
		{name: "all hosts", fail: []string{"app1", "app2"}, lost: []string{"todo"}, holder: "lb1", left: 0,
			reasons: map[string]string{"todo": "VIP public: not announced: no ready endpoint in shop, todo"}},
		{name: "the router", fail: []string{"peer/edge"}, lost: []string{"dns", "todo"}, holder: "lb1", heard: "lb1 ", left: 4,
			reasons: map[string]string{"todo": "VIP public: no router is left to announce it to"}},
		{name: "everything", fail: []string{"lb1", "lb2"}, lost: []string{"dns", "todo"}, left: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := forecast(t, c.fail...)
			if !slices.Equal(f.Lost, c.lost) && len(f.Lost)+len(c.lost) > 0 {
				t.Errorf("lost %v, want %v", f.Lost, c.lost)
			}
			public := f.VIPs["public"]
			if got := strings.Join(public.Holders, " "); got != c.holder {
				t.Errorf("public is held by %q, want %q", got, c.holder)
			}
			heard := ""
			for node, peers := range public.Announced {
				heard += node + " " + strings.Join(peers, " ")
			}
			if heard != c.heard {
				t.Errorf("public is announced %q, want %q", heard, c.heard)
			}
			if todo := f.Services["todo"]; len(todo.Endpoints) != c.left {
				t.Errorf("todo keeps %v, want %d", todo.Endpoints, c.left)
			}
			for service, want := range c.reasons {
				if got := f.Services[service].Reason; got != want {
					t.Errorf("%s: %q, want %q", service, got, want)
				}
			}
			if f.Services["shop"].Serves { // it has no container at all, so it cannot be lost either
				t.Error("shop is served by nobody")
			}
		})
	}
}

func TestShares(t *testing.T) {
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s carries %v, want %v", what, got, want)
		}
	}
	f := forecast(t, "app2") // of two services served, dns is on lb2
	near("lb1", f.Nodes["lb1"].Share, 0.5)
	near("lb2", f.Nodes["lb2"].Share, 0.5)
	near("app1 before", f.Hosts["app1"].Before, 0.5*3/4)
	near("app1", f.Hosts["app1"].Share, 0.5)
	near("app2", f.Hosts["app2"].Share, 0)
	near("the first server of dns, not its backup,", f.Hosts["10.77.0.40:53"].Share, 0.5)
}

func TestForecastOfGivenEndpoints(t *testing.T) {
	cfg := load(t, pair)
	given := Given{"todo": {
		{Name: "app1/web-1", Address: netip.MustParseAddrPort("10.77.0.11:32001")},
		{Address: netip.MustParseAddrPort("10.77.0.12:32002")}, // no name: known by the host's address
	}}
	for host, left := range map[string]string{"app1": "10.77.0.12:32002", "app2": "app1/web-1"} {
		f, err := Forecast(cfg, View{Given: given}, Failure{"host", host})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(f.Services["todo"].Endpoints, " "); got != left {
			t.Errorf("without %s, todo keeps %s, want %s", host, got, left)
		}
	}
}

func TestSurvey(t *testing.T) {
	in := input(t, snapshot("app1", web(1, "app", "todo")))
	survey, err := Survey(in.Config, View{Hosts: map[string]discovery.Snapshot{"app1": in.Hosts["app1"]}})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, one := range survey.Failures {
		got += one.Failed + ": lost " + strings.Join(one.Lost, " ") + "; moved " + strings.Join(one.Moved, " ") + "\n"
	}
	want := `node lb1: lost ; moved public
node lb2: lost dns; moved 
host app1: lost todo; moved 
host app2: lost ; moved 
peer edge: lost dns todo; moved 
`
	if got != want || survey.Lossy != 3 {
		t.Errorf("%d lossy:\n%s", survey.Lossy, got)
	}
}

func TestFindFailure(t *testing.T) {
	cfg := load(t, strings.ReplaceAll(pair, "app2: {docker", "lb1: {docker"))
	for text, want := range map[string]string{
		"app1": "host app1", "node/lb1": "node lb1", "host lb1": "host lb1", "edge": "peer edge",
		"lb1":  `"lb1" is a node and a host; write node/lb1`,
		"edeg": `there is no node, host or peer "edeg"; did you mean "edge"?`,
		"":     `there is no node, host or peer ""`,
	} {
		f, err := FindFailure(cfg, text)
		got := f.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
