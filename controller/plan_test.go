package controller

import (
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/status"
)

// planOf is the plan for lb1 from pair, with two containers of todo and one
// that wears another label, to pair with the replacements made.
func planOf(t *testing.T, replace ...string) (status.Plan, status.NodePlan) {
	t.Helper()
	old := load(t, pair)
	fresh := load(t, strings.NewReplacer(replace...).Replace(pair))
	in := input(t, snapshot("app1", web(1, "app", "todo"), web(2, "app", "todo"), web(3, "app", "other")))
	plan, err := MakePlan(old, fresh, View{Hosts: in.Hosts}, PlanOptions{RunDir: "/run/vipilot"})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(plan.Nodes, func(n status.NodePlan) bool { return n.Node == "lb1" })
	return plan, plan.Nodes[i]
}

func actions(n status.NodePlan) string {
	var words []string
	for _, c := range n.Components {
		words = append(words, c.Action)
	}
	return strings.Join(words, ", ")
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name    string
		replace []string
		actions string   // haproxy, keepalived, speaker
		clients []string // each is said
		words   string   // of the sets
	}{
		{name: "nothing", actions: "none, none, none"},
		{name: "other containers", replace: []string{"labels: {app: todo}", "labels: {app: other}"}, actions: "runtime update, none, none",
			clients: []string{"app1/web-1 and app1/web-2 get no new sessions of todo and finish theirs, for 30s at most"},
			words:   "todo: app1/web-3 added, app1/web-1 removed, app1/web-2 removed"},
		{name: "a balance", replace: []string{"leastconn", "random"}, actions: "reload, none, none",
			clients: []string{"HAProxy reloads: no connection is lost, long ones stay with the old worker"}},
		{name: "a host name goes to another service", replace: []string{"[todo.example.net, ", "[", "shop.example.net", "todo.example.net"}, actions: "reload, none, none",
			clients: []string{"todo.example.net/ (public_80) is answered by shop instead of todo", "shop.example.net/ (public_80) is not answered any more by shop"}},
		{name: "the nodes' order", replace: []string{"vrrp: {id: 51", "nodes: [lb2, lb1]\n    vrrp: {id: 51"}, actions: "none, reload, none",
			clients: []string{"VIP public moves from lb1 to lb2: connections through it end"}},
		{name: "an address", replace: []string{"203.0.113.10", "203.0.113.11"}, actions: "reload, reload, runtime update",
			clients: []string{"203.0.113.10 stops answering"}, words: "public: 203.0.113.11 added, 203.0.113.10 removed"},
		{name: "a peer", replace: []string{"asn: 65000", "asn: 65001"}, actions: "none, none, runtime update",
			clients: []string{"the session with edge is set up anew: what it hears from this node is gone for a moment"}},
		{name: "no container is selected", replace: []string{"labels: {app: todo}", "labels: {app: nobody}"}, actions: "runtime update, none, runtime update",
			clients: []string{"service todo has no endpoint left: its clients get an error"},
			words:   "todo: app1/web-1 removed, app1/web-2 removed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, lb1 := planOf(t, c.replace...)
			if plan.Changed != (len(c.replace) > 0) {
				t.Errorf("changed: %v", plan.Changed)
			}
			if got := actions(lb1); got != c.actions {
				t.Errorf("%s, want %s", got, c.actions)
			}
			for _, want := range c.clients {
				if !slices.Contains(lb1.Clients, want) {
					t.Errorf("clients are not told %q, but %q", want, lb1.Clients)
				}
			}
			if len(c.clients) == 0 && len(lb1.Clients) > 0 {
				t.Errorf("clients are told %q", lb1.Clients)
			}
			var words []string
			for _, set := range append(lb1.Endpoints, lb1.VIPs...) {
				words = append(words, set.Name+": "+strings.Join(set.Words(), ", "))
			}
			if got := strings.Join(words, "; "); got != c.words {
				t.Errorf("sets: %q, want %q", got, c.words)
			}
		})
	}
}

// TestPlanNodesAndHosts adds and removes machines.
func TestPlanNodesAndHosts(t *testing.T) {
	plan, _ := planOf(t, "  lb2: {address: 10.77.0.22", "  lb3: {address: 10.77.0.23", "nodes: [lb2]", "nodes: [lb3]",
		"  app2: {docker: \"tcp://10.77.0.12", "  app3: {docker: \"tcp://10.77.0.13")
	got := ""
	for _, n := range plan.Nodes {
		got += n.Node + " " + n.Action + ": " + actions(n) + "\n"
	}
	want := "lb1 : none, reload, none\nlb3 added: start, start, runtime update\nlb2 removed: stop, stop, runtime update\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !slices.Contains(plan.Notes, "host app3 is new: what runs there is not known before its engine is asked") {
		t.Errorf("notes: %q", plan.Notes)
	}
	var things []string
	for _, c := range plan.Changes {
		things = append(things, c.Action+" "+c.Kind+" "+c.Name)
	}
	if got := strings.Join(things, ", "); got != "removed host app2, added host app3, removed node lb2, added node lb3, changed vip any" {
		t.Errorf("changes: %s", got)
	}
}
