package controller

import (
	"context"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
)

// neighbor is another node's real status listener; end ends it.
func neighbor(t *testing.T, r *status.Report) (url string, end func()) {
	t.Helper()
	board := status.NewBoard()
	board.Publish(r)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- status.NewServer(status.ServerOptions{Board: board, Patience: time.Minute}).Serve(ctx, l, false)
	}()
	end = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return "http://" + l.Addr().String(), end
}

func TestOtherNodesAreHeard(t *testing.T) {
	well := &status.Report{Node: "lb2", Ready: true, Stage: "in service", Config: status.Config{Revision: "r1"}, VIPs: map[string]status.VIP{"public": {Role: "master"}}}
	ill := &status.Report{Node: "lb3", Config: status.Config{Revision: "r2"}, VIPs: map[string]status.VIP{}}
	wellURL, endWell := neighbor(t, well)
	illURL, endIll := neighbor(t, ill)
	defer endIll()
	strangerURL, endStranger := neighbor(t, &status.Report{Node: "somebody"})
	defer endStranger()
	nodes := []config.Node{{Name: "lb2", Status: wellURL}, {Name: "lb3", Status: illURL}, {Name: "lb4", Status: strangerURL}, {Name: "lb5", Status: "http://127.0.0.1:1"}}
	l, _ := testLoop(t, newNode(t), load(t, pair))
	heard := l.hearNodes(t.Context(), nodes, nil)
	want := map[string]status.Node{
		"lb2": {State: "ready", Stage: "in service", Revision: "r1", VIPs: map[string]string{"public": "master"}},
		"lb3": {State: "not ready", Revision: "r2", VIPs: map[string]string{}},
		"lb4": {State: "unknown"}, // who answers is another one
		"lb5": {State: "unknown"}, // it never answered: its listener is on loopback, as by default
	}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Error(diff)
	}
	endWell()
	for _, before := range []map[string]status.Node{heard, {"lb2": {State: "unreachable"}}} {
		if got := l.hearNodes(t.Context(), nodes[:1], before)["lb2"]; got.State != "unreachable" {
			t.Errorf("a node that answered before is %q, want unreachable", got.State)
		}
	}
	if got := l.hearNodes(t.Context(), nil, heard); got != nil {
		t.Errorf("nobody was asked, and %v answered", got)
	}
}

func TestNodesInTheReport(t *testing.T) {
	l, _ := testLoop(t, newNode(t), load(t, pair))
	l.report.nodes = map[string]status.Node{"lb2": {State: "ready", Revision: "r2", VIPs: map[string]string{"public": "backup", "gone": "master"}}}
	r := &status.Report{Ready: true, Config: status.Config{Revision: "r1"}, VIPs: map[string]status.VIP{"public": {Role: "master"}}}
	got := l.reportNodes(r)
	want := map[string]status.Node{
		"lb1": {Here: true, Address: "10.77.0.21", State: "ready", Revision: "r1", VIPs: map[string]string{"public": "master"}},
		"lb2": {Address: "10.77.0.22", State: "ready", Revision: "r2", VIPs: map[string]string{"public": "backup", "any": ""}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(l.report.nodes["lb2"].VIPs) != 2 || !maps.Equal(l.report.nodes["lb2"].VIPs, map[string]string{"public": "backup", "gone": "master"}) {
		t.Error("what was heard was changed")
	}
	l.report.nodes, r.Ready = nil, false
	got = l.reportNodes(r)
	if got["lb2"].State != "unknown" || got["lb1"].State != "not ready" {
		t.Errorf("%+v", got)
	}
	l.in.Tier = &Tier{}
	if got := l.reportNodes(r); got != nil {
		t.Errorf("a host's proxy reports nodes: %v", got)
	}
	l.opts.Host = "app1"
	if err := l.watchNodes(t.Context()); err != nil {
		t.Error(err)
	}
}
