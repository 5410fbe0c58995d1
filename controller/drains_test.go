package controller

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// standing lists the members of a service with their reasons, and what of
// them is a server.
func standing(t *testing.T, d Desired, service string) string {
	var all []string
	for _, m := range d.Pools[service].Members {
		is := "server"
		if !slices.ContainsFunc(backend(t, d, service).Servers, func(s haproxy.Server) bool { return s.Name == m.Server }) {
			is = "gone"
		}
		all = append(all, fmt.Sprintf("%s %s %s", m.Name, cmp.Or(string(m.Reason), "serves"), is))
	}
	return strings.Join(all, ", ")
}

func TestDrainByHand(t *testing.T) {
	in := input(t, snapshot("app1", web(1, "app", "todo"), web(2, "app", "todo")), snapshot("app2", web(3, "app", "todo")))
	answerAll(t, &in)
	p := new(planner)
	for _, c := range []struct {
		kind, name string
		undo       bool
		want       string
	}{
		{status.DrainEndpoint, "app1/web-2", false, "app1/web-1 serves server, app1/web-2 drained_by_hand gone, app2/web-3 serves server"},
		{status.DrainHost, "app2", false, "app1/web-1 serves server, app1/web-2 drained_by_hand gone, app2/web-3 host_drained gone"},
		{status.DrainEndpoint, "app1/web-2", true, "app1/web-1 serves server, app1/web-2 serves server, app2/web-3 host_drained gone"},
		{status.DrainHost, "app2", true, "app1/web-1 serves server, app1/web-2 serves server, app2/web-3 serves server"},
	} {
		var changed bool
		in.Drains, changed = in.Drains.with(status.DrainRequest{Kind: c.kind, Name: c.name, Undo: c.undo}, time.Unix(1, 0))
		if !changed {
			t.Errorf("%s %s: nothing changed", c.kind, c.name)
		}
		if _, again := in.Drains.with(status.DrainRequest{Kind: c.kind, Name: c.name, Undo: c.undo}, time.Unix(1, 0)); again {
			t.Errorf("%s %s: twice is a change", c.kind, c.name)
		}
		d, err := p.desire(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := standing(t, d, "todo"); got != c.want {
			t.Errorf("%s %s: %s\nwant %s", c.kind, c.name, got, c.want)
		}
		if fresh := desire(t, in); !reflect.DeepEqual(fresh.HAProxy, d.HAProxy) {
			t.Errorf("%s %s: the planner's memory makes a difference", c.kind, c.name)
		}
	}
}

// A drained host that is a node of a Swarm takes its tasks along.
func TestDrainedMachines(t *testing.T) {
	d, _ := (*Drains)(nil).with(status.DrainRequest{Kind: status.DrainHost, Name: "app1"}, time.Unix(1, 0))
	in := Input{Hosts: map[string]discovery.Snapshot{"app1": {Node: "n1"}, "app2": {Node: "n2"}}}
	got := d.machines(in, []*discovery.Swarm{{Nodes: []*discovery.SwarmNode{{ID: "n1", Name: "worker1"}, {ID: "n2", Name: "worker2"}, {Name: "unknown"}}}})
	if want := map[string]bool{"app1": true, "worker1": true}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What the API answers, and that a successor remembers.
func TestLoopDrainsByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l, engines := testLoop(t, n, load(t, pair))
		stop := start(t, l)
		engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
		engines["app2"].snapshots <- snapshot("app2")
		synctest.Wait()
		answered(t, l)
		post := func(body string) (int, string) {
			w := httptest.NewRecorder()
			l.serveDrain(w, httptest.NewRequest(http.MethodPost, "/v1/drain", strings.NewReader(body)).WithContext(t.Context()))
			synctest.Wait()
			return w.Code, strings.TrimSpace(w.Body.String())
		}
		for _, c := range []struct {
			body string
			code int
			says string
		}{
			{`{"kind":"endpoint","name":"app1/wbe-1"}`, 404, `there is no endpoint "app1/wbe-1"; did you mean "app1/web-1"?`},
			{`{"kind":"host","name":"ap1"}`, 404, `there is no host "ap1"; did you mean "app1"?`},
			{`{"kind":"vip","name":"public"}`, 400, `kind "vip" is none of node, host and endpoint`},
			{`{"kind":"endpoint","nmae":"x"}`, 400, `wanted JSON such as`},
			{`{"kind":"endpoint","name":"app1/web-1","look":true}`, 200, `"drained":false,"changed":false`},
			{`{"kind":"endpoint","name":"app1/web-1"}`, 200, `"drained":true,"changed":true,"endpoints":[{"service":"todo","name":"app1/web-1","address":"10.77.0.11:32001","sessions":0}],"empty":["todo"]`},
			{`{"kind":"endpoint","name":"app1/web-1"}`, 200, `"drained":true,"changed":false`},
			{`{"kind":"host","name":"app1"}`, 200, `"drained":true,"changed":true`},
			{`{"kind":"node","name":"lb2"}`, 404, `this is the controller of node lb1; give the command for "lb2" on that node`},
			{`{"kind":"node"}`, 200, `"kind":"node","name":"lb1","drained":true,"changed":true,"stage":"withdrawing"`},
			{`{"kind":"node","name":"lb1","undo":true}`, 200, `"drained":false,"changed":true,"stage":"in service"`},
		} {
			if code, says := post(c.body); code != c.code || !strings.Contains(says, c.says) {
				t.Errorf("%s: %d %s\nwant %d %s", c.body, code, says, c.code, c.says)
			}
		}
		if _, state := n.server("todo"); state != "" {
			t.Errorf("the drained endpoint is still a %s server", state)
		}
		r := l.board.Report()
		if e := r.Services["todo"].Endpoints[0]; e.State != "drain" || e.Reason != "drained_by_hand" {
			t.Errorf("endpoint %+v", e)
		}
		if want := (&status.Drained{Hosts: []string{"app1"}, Endpoints: []string{"app1/web-1"}}); !reflect.DeepEqual(r.Drained, want) {
			t.Errorf("drained %+v", r.Drained)
		}
		stop()

		var next Input
		if err := l.memory.loadDrains(&next); err != nil || !reflect.DeepEqual(next.Drains, l.in.Drains) {
			t.Errorf("a successor remembers %+v, %v", next.Drains, err)
		}
	})
}
