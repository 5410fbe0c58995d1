package controller

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// holds is a source that has this revision.
type holds struct {
	Source
	cfg *config.Config
}

func (h holds) Load(context.Context, *config.Config) (*config.Config, error) { return h.cfg, nil }
func (holds) Fault() error                                                   { return nil }

// successor is a loop on the node and the state directory of one that died,
// with a source of its own.
func successor(t *testing.T, n *node, died *loop, cfg *config.Config) (*loop, map[string]engine) {
	t.Helper()
	l, engines := testLoop(t, n, nil)
	l.opts.Source, l.memory = holds{cfg: cfg}, newMemory(died.memory.dir, l.log)
	if err := l.recall(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, engines
}

// A controller that starts beside a revision that a daemon refuses goes on
// with the last good one, and so it does with one that HAProxy takes.
func TestARevisionFoundAtTheStartIsOnTrial(t *testing.T) {
	for name, refused := range map[string]bool{"refused": true, "taken": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				good := load(t, pair)
				first, _ := testLoop(t, n, good)
				start(t, first)()

				other := load(t, strings.Replace(pair, "\nrouting:\n", extra, 1))
				want := other
				if refused {
					want, n.unwanted = good, addedFrontend(t, other, good)
				}
				second, _ := successor(t, n, first, other)
				defer start(t, second)()
				c := second.board.Report().Config
				if c.Revision != want.Revision {
					t.Fatalf("in force: %+v", c)
				}
				if refused && (c.PendingReason != status.Refused || *c.Pending != other.Revision || !strings.Contains(*c.Error, "haproxy says no")) {
					t.Errorf("not refused: %+v", c)
				}
			})
		})
	}
}

// addedFrontend is the name of the one that a revision adds.
func addedFrontend(t *testing.T, cfg, old *config.Config) string {
	t.Helper()
	names := func(cfg *config.Config) map[string]bool {
		want, err := Desire(Input{Node: "lb1", Config: cfg})
		if err != nil {
			t.Fatal(err)
		}
		all := make(map[string]bool)
		for _, f := range want.HAProxy.Frontends {
			all[f.Name] = true
		}
		return all
	}
	before := names(old)
	for name := range names(cfg) {
		if !before[name] {
			return name
		}
	}
	t.Fatal("no frontend was added")
	return ""
}

// A controller that is killed while it watches a revision is followed by one
// that watches on, and takes it back.
func TestProbationOutlivesTheController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		old, bad := load(t, pair), changed(t, "labels: {app: todo}", "labels: {app: nobody}")
		containers := snapshot("app1", web(1, "app", "todo"), web(2, "app", "todo"))
		first, engines := testLoop(t, n, old)
		kill := start(t, first)
		engines["app1"].snapshots <- containers
		engines["app2"].snapshots <- snapshot("app2")
		synctest.Wait()
		answered(t, first)
		if c := offered(t, first, bad); c.Revision != bad.Revision {
			t.Fatalf("not taken at first: %+v", c)
		}
		kill()

		second, engines := successor(t, n, first, bad)
		defer start(t, second)()
		engines["app1"].snapshots <- containers
		engines["app2"].snapshots <- snapshot("app2")
		synctest.Wait()
		if c := second.board.Report().Config; c.Revision != bad.Revision {
			t.Errorf("adopted with another revision: %+v", c)
		}
		time.Sleep(grace)
		synctest.Wait()
		answered(t, second)
		c := second.board.Report().Config
		if c.Revision != old.Revision || c.PendingReason != status.TakenBack || *c.Pending != bad.Revision {
			t.Fatalf("not taken back: %+v", c)
		}
		if _, state := n.server("todo"); state != haproxy.Ready {
			t.Errorf("todo has a server that is %q", state)
		}
		if p, err := second.loadTrial(bad); p != nil || err != nil {
			t.Errorf("still watched: %+v, %v", p, err)
		}
	})
}
