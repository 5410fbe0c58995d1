package controller

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// anycasting is pair with the anycast VIP on lb1 as well.
var anycasting = strings.Replace(pair, "nodes: [lb2]", "nodes: [lb1, lb2]", 1)

// TestDrainInOrder: first clients are asked to reconnect, then what others
// announce too goes, then, after the routers had their time, VIPs are handed over;
// a VRRP VIP is announced for as long as this node has it.
func TestDrainInOrder(t *testing.T) {
	for name, relief := range map[string]bool{"another node takes over": true, "nobody takes over": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.relief = relief
				active, drained := load(t, anycasting), load(t, strings.Replace(anycasting, "lb1: {", "lb1: {state: drain, ", 1))
				l, engines := testLoop(t, n, active)
				defer start(t, l)()
				engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
				engines["app2"].snapshots <- snapshot("app2")
				synctest.Wait()
				answered(t, l)
				check := func(stage string, announced int, closing, yields bool) {
					t.Helper()
					n.mu.Lock()
					defer n.mu.Unlock()
					if got := l.board.Report().Stage; got != stage {
						t.Errorf("stage %q, want %q", got, stage)
					}
					if len(n.want.Routing.Prefixes) != announced || n.closing != closing || n.yields != yields {
						t.Errorf("%s: %d prefixes wanted, closing %v, yields %v; want %d, %v, %v",
							stage, len(n.want.Routing.Prefixes), n.closing, n.yields, announced, closing, yields)
					}
				}
				check("in service", 3, false, false)
				offered(t, l, drained)
				check("reconnecting", 3, true, false)
				time.Sleep(reconnectTime)
				synctest.Wait()
				check("withdrawing", 2, true, false)
				time.Sleep(active.Routing.Converge - time.Millisecond)
				synctest.Wait()
				check("withdrawing", 2, true, false)
				time.Sleep(time.Millisecond)
				synctest.Wait()
				last, told := "yielding", []string{"in service", "reconnecting", "withdrawing", "yielding"} // alone, it goes on serving
				if relief {
					last, told = "drained", append(told, "drained") // another node was there within the round, and yielding is told all the same
				}
				check(last, 2, true, true)
				if got := stagesTold(l); !slices.Equal(got, told) {
					t.Errorf("told of %v, want %v", got, told)
				}
				offered(t, l, active)
				check("in service", 3, false, false)
			})
		})
	}
}

// stagesTold are the stages that the kept events tell of.
func stagesTold(l *loop) (stages []string) {
	for _, e := range l.board.Events(0) {
		if e.Kind == "stage" {
			stages = append(stages, e.To)
		}
	}
	return stages
}

// TestStartsDrained: a node that starts drained has nothing to wait for.
func TestStartsDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l, engines := testLoop(t, n, load(t, strings.Replace(anycasting, "lb1: {", "lb1: {state: drain, ", 1)))
		l.election = fakeElection{n}
		n.yields, n.relief = true, true // as its predecessor left keepalived
		defer start(t, l)()
		engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
		synctest.Wait()
		if r := l.board.Report(); r.Stage != "drained" || n.announced() != 0 {
			t.Errorf("stage %q, %d announced", r.Stage, n.announced())
		}
	})
}

// TestLeaveWaits: the end of the controller goes the same way, and does not
// wait for ever for a node that is not there.
func TestLeaveWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l, engines := testLoop(t, n, load(t, pair))
		stop := start(t, l)
		engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
		synctest.Wait()
		answered(t, l)
		stop()
		began := time.Now()
		if err := l.leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		// Converge, then three adverts and a skew, 5s of preempt delay, and a little.
		if took := time.Since(began); took < 2*time.Second || took > 15*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestLeaveAfterTheLoop: a round that the loop had asked for went with the
// loop, and leaving does not count on it. Several times, because of a dead
// context and a free inbox one is taken by chance.
func TestLeaveAfterTheLoop(t *testing.T) {
	for range 8 {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t)
			n.relief = true
			cfg := load(t, pair)
			l, engines := testLoop(t, n, cfg)
			stop := start(t, l)
			engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
			synctest.Wait()
			answered(t, l)
			stop()
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			l.again(ended, time.Second)
			began := time.Now()
			if err := l.leave(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != cfg.Routing.Converge || !n.yields {
				t.Errorf("took %v, yields %v; want %v for the routers, and to be relieved", took, n.yields, cfg.Routing.Converge)
			}
		})
	}
}
