package controller

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// start runs the loop in the bubble and returns what ends it and waits.
func start(t *testing.T, l *loop) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _ = l.listenToParts(ctx) }()
	go l.memory.run(ctx)
	go func() {
		if err := l.run(ctx); err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait()
	return func() { cancel(); synctest.Wait() }
}

// answered tells the loop that every endpoint that waits has answered, as the
// prober would.
func answered(t *testing.T, l *loop) {
	done := make(chan struct{})
	l.send(t.Context(), event{fold: func() {
		for one := range wantProbes(l.applied.want) {
			l.answer(one)
		}
		close(done)
	}})
	<-done
	synctest.Wait()
}

func TestLoopServesThenAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l, engines := testLoop(t, n, load(t, pair))
		defer start(t, l)()
		if n.announced() != 0 {
			t.Fatal("announced before any endpoint is ready")
		}
		engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
		engines["app2"].snapshots <- snapshot("app2")
		synctest.Wait()
		answered(t, l)
		key, state := n.server("todo")
		if state != haproxy.Ready || n.announced() != 2 {
			t.Fatalf("server %q, %d prefixes; want ready and 2", state, n.announced())
		}
		r := l.board.Report()
		if !r.Ready || r.Services["todo"].Endpoints[0].State != "ready" || len(r.VIPs["public"].Announced) != 2 {
			t.Errorf("report %+v", r)
		}

		n.mu.Lock()
		n.health[key] = haproxy.Down
		n.mu.Unlock()
		n.pokes <- struct{}{}
		synctest.Wait()
		if n.announced() != 0 {
			t.Error("still announced though the last server is down")
		}
		if got := l.board.Report().VIPs["public"].Reason; got != "no ready endpoint in shop, todo" {
			t.Errorf("reason %q", got)
		}
	})
}

func TestLoopKeepsEndpointsOfALostEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l, engines := testLoop(t, n, load(t, pair))
		defer start(t, l)()
		s := snapshot("app1", web(1, "app", "todo"))
		engines["app1"].snapshots <- s
		synctest.Wait()
		answered(t, l)
		s.Connected, s.StaleSince, s.Err = false, time.Now(), errors.New("connection refused")
		engines["app1"].snapshots <- s
		synctest.Wait()
		if _, state := n.server("todo"); state != haproxy.Ready {
			t.Errorf("server %q, want ready", state)
		}
		r := l.board.Report()
		if h := r.Hosts["app1"]; h.State != "unreachable" || h.StaleSince == nil || h.Error == nil {
			t.Errorf("host %+v", h)
		}
		if e := r.Services["todo"].Endpoints[0]; e.State != "ready" || !strings.HasPrefix(e.Reason, "stale") {
			t.Errorf("endpoint %+v", e)
		}
	})
}

func TestLoopRefusesABrokenRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		good := load(t, pair)
		l, _ := testLoop(t, n, good)
		defer start(t, l)()
		before := len(n.frontends)

		n.broken = errors.New("haproxy says no")
		other := load(t, strings.Replace(pair, "\nrouting:\n", extra, 1))
		l.send(t.Context(), event{cause: "configuration changed", fold: func() { l.offer(t.Context(), other, nil) }})
		synctest.Wait()
		r := l.board.Report()
		if r.Config.Revision != good.Revision || r.Config.Error == nil || !strings.Contains(*r.Config.Error, "haproxy says no") || r.Ready {
			t.Errorf("config %+v, ready %v", r.Config, r.Ready)
		}
		if len(n.frontends) != before {
			t.Error("a refused revision changed the frontends")
		}

		n.broken = nil
		l.send(t.Context(), event{cause: "configuration changed", fold: func() { l.offer(t.Context(), other, nil) }})
		synctest.Wait()
		if r := l.board.Report(); r.Config.Revision != other.Revision || r.Config.Error != nil {
			t.Errorf("the mended revision: %+v", r.Config)
		}
	})
}

// afar is a source whose server cannot be reached.
type afar struct{ Source }

func (afar) Fault() error { return errors.New("the server cannot be reached") }

// A revision with faults is named, its faults are logged once, and a source
// out of reach is told of beside them.
func TestFaultsAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := testLoop(t, newNode(t), load(t, pair))
		l.opts.Source = afar{}
		log := new(strings.Builder)
		l.log = slog.New(slog.NewTextHandler(log, nil))
		defer start(t, l)()
		for range 3 {
			l.send(t.Context(), event{fold: func() { l.offer(t.Context(), &config.Config{Revision: "c0ffee"}, errors.New("fleet.yaml:1:1: no")) }})
			synctest.Wait()
		}
		c := l.board.Report().Config
		if c.Pending == nil || *c.Pending != "c0ffee" || c.PendingReason != status.Refused || c.Error == nil || *c.Error != "fleet.yaml:1:1: no\nthe server cannot be reached" {
			t.Errorf("pending %v, error %v", c.Pending, c.Error)
		}
		if n := strings.Count(log.String(), "revision refused"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
	})
}

// extra is one more service on a port of its own, put before routing.
const extra = `
  extra:
    vip: public
    tcp: {port: 9000}
    backend: {servers: ["10.77.0.40:9000"]}
routing:
`

func TestLoopFoldsWhatArrivesTogether(t *testing.T) {
	l := &loop{inbox: make(chan event, inboxSize)}
	var order []int
	for i := range 6 {
		l.inbox <- event{cause: "event", fold: func() { order = append(order, i) }}
	}
	cause := l.take(<-l.inbox)
	if !slices.Equal(order, []int{0, 1, 2, 3, 4, 5}) || cause != "event; event; event; and 3 more" {
		t.Errorf("folded %v, cause %q", order, cause)
	}
}

func TestLeaveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l, engines := testLoop(t, n, load(t, pair))
		stop := start(t, l)
		engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
		synctest.Wait()
		answered(t, l)
		stop()
		if err := l.leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(n.closed, []string{"keepalived", "addresses", "haproxy", "sentinel"}) {
			t.Errorf("closed in order %v", n.closed)
		}
	})
}

func TestMemorySurvives(t *testing.T) {
	l, _ := testLoop(t, newNode(t), load(t, pair))
	in := input(t, snapshot("app1", web(1, "app", "todo")))
	answerAll(t, &in)
	l.memory.keepConfig(in.Config)
	l.memory.keepEndpoints(in.Hosts, desire(t, in).Pools)
	l.memory.writeEndpoints(<-l.memory.endpoints)

	again := newMemory(l.memory.dir, l.log)
	cfg, err := again.loadConfig()
	if err != nil || cfg.Revision != in.Config.Revision {
		t.Fatalf("configuration %v, %v", cfg, err)
	}
	back := Input{Node: "lb1", Config: cfg, Hosts: make(map[string]discovery.Snapshot), Answered: make(map[string]*Answers)}
	if err := again.loadEndpoints(&back); err != nil {
		t.Fatal(err)
	}
	if s := backend(t, desire(t, back), "todo").Servers; len(s) != 1 {
		t.Errorf("remembered servers %v", s)
	}
	if !back.Hosts["app1"].StaleSince.After(time.Time{}) || back.Hosts["app1"].Connected {
		t.Error("remembered endpoints are not marked stale")
	}
}

func TestASuccessorKeepsWhatServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l, engines := testLoop(t, n, load(t, pair))
		s := snapshot("app1", web(1, "app", "todo"))
		member := desire(t, input(t, s)).Pools["todo"].Members[0]
		l.inherited = map[haproxy.ServerKey]haproxy.Health{{Backend: "todo", Server: member.Server}: haproxy.Up}
		l.waiting = map[string]bool{"app1": true, "app2": true}
		defer start(t, l)()
		engines["app2"].snapshots <- snapshot("app2")
		synctest.Wait()
		if n.started {
			t.Fatal("acted before app1 had its say")
		}
		engines["app1"].snapshots <- s
		synctest.Wait()
		if _, state := n.server("todo"); state != haproxy.Ready || n.announced() != 2 {
			t.Errorf("server %q, %d prefixes; want ready and 2 from the first round on", state, n.announced())
		}
	})
}

func TestATakenPortStopsOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.taken = "public_9000"
		l, engines := testLoop(t, n, load(t, strings.Replace(pair, "\nrouting:\n", extra, 1)))
		defer start(t, l)()
		engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
		synctest.Wait()
		answered(t, l)
		if _, state := n.server("todo"); state != haproxy.Ready || n.announced() != 2 {
			t.Errorf("server %q, %d prefixes; want the others served and announced", state, n.announced())
		}
		r := l.board.Report()
		if e := r.Components.HAProxy.Error; r.Ready || e == nil || !strings.Contains(*e, "frontend public_9000 cannot listen") {
			t.Errorf("ready %v, error %v", r.Ready, e)
		}
	})
}

// A change that comes too soon after a reload is made when its time has come,
// though nothing else happens.
func TestLoopWaitsForReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l, engines := testLoop(t, n, load(t, pair))
		defer start(t, l)()
		engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
		engines["app2"].snapshots <- snapshot("app2")
		synctest.Wait()
		n.mu.Lock()
		n.spacing, n.reloaded = time.Second, time.Now()
		n.mu.Unlock()
		for i := range 20 {
			before := n.reloadCount()
			yaml := pair
			if i%2 == 0 {
				yaml = strings.Replace(pair, "\nrouting:\n", extra, 1)
			}
			other := load(t, yaml)
			l.send(t.Context(), event{cause: "configuration changed", fold: func() { l.offer(t.Context(), other, nil) }})
			synctest.Wait()
			if n.reloadCount() != before || l.board.Report().Ready {
				t.Fatalf("change %d: %d reloads more, ready %v; want it to wait", i, n.reloadCount()-before, l.board.Report().Ready)
			}
			time.Sleep(time.Second) // the bubble's clock
			synctest.Wait()
			if n.reloadCount() != before+1 || !l.board.Report().Ready {
				t.Fatalf("change %d: %d reloads more after a second, ready %v", i, n.reloadCount()-before, l.board.Report().Ready)
			}
		}
	})
}

func (n *node) reloadCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reloads
}
