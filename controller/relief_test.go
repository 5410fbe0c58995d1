package controller

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/routing/handover"
	"github.com/vipilot/vipilot/status"
)

// other is another node as it reports itself.
func other(name, role string) *status.Report {
	r := &status.Report{Node: name, Stage: "in service", VIPs: map[string]status.VIP{"public": {Role: role}}}
	r.Components.HAProxy.State = "running"
	return r
}

// relieved starts lb2 or lb1 with a neighbor that says what the test says.
func relieved(t *testing.T, self, text string) (n *node, l *loop, say func(*status.Report), stop func()) {
	n = newNode(t)
	l, engines := testLoop(t, n, load(t, text))
	l.opts.Node, l.in.Node = self, self
	l.newest.Store(l.in.Config)
	words := make(chan *status.Report, 1)
	words <- nil
	l.askWord = func(context.Context, config.Node) (handover.Word, error) {
		r := <-words
		words <- r
		if r == nil {
			return handover.Word{}, errors.New("no answer")
		}
		return handover.Word{Node: r.Node, Fit: slices.Collect(maps.Keys(fitVIPs(r)))}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	end := start(t, l)
	go func() { _ = l.watchFit(ctx) }()
	engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
	engines["app2"].snapshots <- snapshot("app2")
	synctest.Wait()
	return n, l, func(r *status.Report) { <-words; words <- r }, func() { cancel(); end() }
}

// pass lets time go by, and everything happen that was due.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// The clients of a VIP that a preferred node is about to take back are asked to
// reconnect beforehand, and not for ever.
func TestTakeBackIsExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, say, stop := relieved(t, "lb2", pair)
		defer stop()
		closing := func(want bool, when string) {
			t.Helper()
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.closing != want {
				t.Errorf("%s: clients are asked to reconnect: %t", when, n.closing)
			}
		}
		pass(2 * fitInterval)
		closing(false, "the preferred node does not answer")
		drained := other("lb1", "backup")
		drained.Stage = "drained"
		say(drained)
		pass(3 * fitInterval)
		closing(false, "it is drained")
		say(other("lb1", "backup"))
		pass(3 * fitInterval)
		closing(true, "it is in service")
		pass(time.Minute)
		closing(false, "it never took the VIP")
		say(nil)
		pass(3 * fitInterval)
		say(other("lb1", "backup"))
		pass(3 * fitInterval)
		closing(true, "it is back once more")
	})
	synctest.Test(t, func(t *testing.T) {
		n, _, say, stop := relieved(t, "lb1", pair)
		defer stop()
		say(other("lb2", "backup"))
		if pass(3 * fitInterval); n.closing {
			t.Error("the preferred node has its clients reconnect")
		}
	})
}

// A VIP that does not preempt is given up for the time of an election, when no
// router hears its node and one hears another.
func TestReliefOfADeafNode(t *testing.T) {
	config := strings.Replace(pair, "{id: 51", "{preempt: false, id: 51", 1)
	synctest.Test(t, func(t *testing.T) {
		n, l, say, stop := relieved(t, "lb1", config)
		defer stop()
		given := func(want bool, when string) {
			t.Helper()
			n.mu.Lock()
			defer n.mu.Unlock()
			if slices.Contains(n.relieved, "public") != want {
				t.Errorf("%s: given up: %v", when, n.relieved)
			}
		}
		say(other("lb2", "backup"))
		pass(3 * fitInterval)
		given(false, "routers hear this node")
		n.mu.Lock()
		n.deaf = true
		n.mu.Unlock()
		deaf := other("lb2", "backup")
		deaf.Components.Speaker.Deaf = true
		say(deaf)
		n.routed <- struct{}{}
		pass(4 * fitInterval)
		given(false, "they hear none")
		say(other("lb2", "backup"))
		pass(3 * fitInterval)
		given(true, "they hear the other one")
		pass(5 * time.Second)
		given(false, "nobody took it")
		pass(30 * time.Second)
		given(false, "it is not tried all the time")
		pass(time.Minute)
		if l.relief.since["public"].IsZero() {
			t.Error("it was not tried again")
		}
	})
}
