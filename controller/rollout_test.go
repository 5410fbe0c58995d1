package controller

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// changed is pair with replacements, as a configuration.
func changed(t *testing.T, replace ...string) *config.Config {
	t.Helper()
	return load(t, strings.NewReplacer(replace...).Replace(pair))
}

// offered hands the loop a configuration as the source would, and waits.
func offered(t *testing.T, l *loop, cfg *config.Config) status.Config {
	t.Helper()
	l.send(t.Context(), event{cause: "configuration changed", fold: func() { l.offer(t.Context(), cfg, nil) }})
	synctest.Wait()
	return l.board.Report().Config
}

func approve(t *testing.T, l *loop, revision string) (status.Config, error) {
	t.Helper()
	name, err := l.approve(t.Context(), revision)
	synctest.Wait()
	if err == nil && (len(name) <= shortestRevision || !strings.HasPrefix(name, revision)) {
		t.Errorf("approved %q as %q", revision, name)
	}
	return l.board.Report().Config, err
}

const guarded = "\nguard: {max_removed: 30%}\n"

func TestGuardWaitsForApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := load(t, pair+guarded)
		l, engines := testLoop(t, newNode(t), old)
		defer start(t, l)()
		engines["app1"].snapshots <- snapshot("app1")
		engines["app2"].snapshots <- snapshot("app2")
		if _, err := approve(t, l, "abcd"); err == nil || !strings.Contains(err.Error(), "no revision waits") {
			t.Errorf("approved nothing: %v", err)
		}

		less := load(t, strings.Replace(pair, "  shop:\n    vip: public\n    http: {hosts: [shop.example.net]}\n    backend: {port: 80}\n", "", 1))
		c := offered(t, l, less)
		want := "it removes 1 of 3 services (shop), more than guard.max_removed: 30%"
		if c.Revision != old.Revision || c.Pending == nil || *c.Pending != less.Revision || c.Error == nil || *c.Error != want || c.PendingReason != status.Guarded {
			t.Fatalf("not held: %+v", c)
		}
		if r := l.board.Report(); !r.Ready {
			t.Error("a revision that waits makes the node unready")
		}
		if _, err := approve(t, l, "ffffffff"); err == nil || !strings.Contains(err.Error(), less.Revision+" does") {
			t.Errorf("another revision was approved: %v", err)
		}
		if _, err := approve(t, l, less.Revision[:3]); err == nil || !strings.Contains(err.Error(), "at least 4 characters of "+less.Revision) {
			t.Errorf("approved by three characters: %v", err)
		}
		if c, err := approve(t, l, less.Revision[:6]); err != nil || c.Revision != less.Revision || c.Pending != nil || c.Error != nil {
			t.Errorf("approved: %+v, %v", c, err)
		}
	})
}

// TestGuardForgets: what waited is forgotten when the source goes back.
func TestGuardForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peerless := load(t, pair+guarded)
		old := load(t, strings.Replace(pair, "peers: {", "peers: {core: {address: 10.77.0.2, asn: 65000}, ", 1)+guarded)
		l, _ := testLoop(t, newNode(t), old)
		defer start(t, l)()
		if c := offered(t, l, peerless); c.Error == nil || !strings.Contains(*c.Error, "1 of 2 peers (core)") {
			t.Fatalf("not held: %+v", c)
		}
		if c := offered(t, l, old); c.Pending != nil || c.Error != nil || c.Revision != old.Revision {
			t.Errorf("still waits: %+v", c)
		}
		if _, err := approve(t, l, peerless.Revision); err == nil {
			t.Error("approved what is not offered any more")
		}
	})
}

func TestARevisionThatEmptiesAServiceIsTakenBack(t *testing.T) {
	for name, replace := range map[string][]string{
		"selects nobody":      {"labels: {app: todo}", "labels: {app: nobody}"},
		"a port nobody opens": {"port: 8080", "port: 8081"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				old, bad := load(t, pair), changed(t, replace...)
				l, engines := testLoop(t, n, old)
				defer start(t, l)()
				engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"), web(2, "app", "todo"))
				engines["app2"].snapshots <- snapshot("app2")
				synctest.Wait()
				answered(t, l)

				if c := offered(t, l, bad); c.Revision != bad.Revision {
					t.Fatalf("not taken at first: %+v", c)
				}
				time.Sleep(grace)
				synctest.Wait()
				answered(t, l)
				c := l.board.Report().Config
				if c.Revision != old.Revision || c.Pending == nil || *c.Pending != bad.Revision || c.PendingReason != status.TakenBack ||
					!strings.HasPrefix(*c.Error, "it left service todo without a ready endpoint (it had 2)") {
					t.Fatalf("not taken back: %+v", c)
				}
				if _, state := n.server("todo"); state != haproxy.Ready {
					t.Errorf("todo has a server that is %q", state)
				}
				if c := offered(t, l, bad); c.Revision != old.Revision {
					t.Error("the same revision was tried again")
				}
				if again, err := newMemory(l.memory.dir, l.log).loadBad(); err != nil || again.Revision != bad.Revision {
					t.Errorf("a successor would try it again: %+v, %v", again, err)
				}
				if c, err := approve(t, l, bad.Revision); err != nil || c.Revision != bad.Revision {
					t.Errorf("approved: %+v, %v", c, err)
				}
			})
		})
	}
}

// TestDockerIsNotBlamedOnARevision: containers that stop, or fail their check,
// while a revision is young.
func TestDockerIsNotBlamedOnARevision(t *testing.T) {
	for name, happens := range map[string]func(*node, engine){
		"they stop": func(_ *node, e engine) { e.snapshots <- snapshot("app1") },
		"they fail": func(n *node, _ engine) {
			key, _ := n.server("todo")
			n.mu.Lock()
			n.health[key] = haproxy.Down
			n.mu.Unlock()
			n.pokes <- struct{}{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				fresh := changed(t, "shop.example.net", "store.example.net")
				l, engines := testLoop(t, n, load(t, pair))
				defer start(t, l)()
				engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
				synctest.Wait()
				answered(t, l)
				offered(t, l, fresh)
				happens(n, engines["app1"])
				time.Sleep(time.Minute)
				synctest.Wait()
				if c := l.board.Report().Config; c.Revision != fresh.Revision || c.Error != nil {
					t.Errorf("taken back: %+v", c)
				}
				if l.rollout.trial != nil {
					t.Error("the revision is watched for ever")
				}
			})
		})
	}
}

// canary answers for another node.
type canary struct {
	mu     sync.Mutex
	report status.Report
	err    error
}

func (c *canary) set(change func(*canary)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func (c *canary) ask(_ context.Context, url string) (*status.Report, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if url != "http://10.77.0.22:9890" {
		return nil, errors.New("asked at " + url)
	}
	r := c.report
	return &r, c.err
}

func TestCanaryGoesFirst(t *testing.T) {
	const soaking = "\nguard: {soak: 1m, wait: 10m}\n"
	canaried := strings.Replace(pair, "lb2: {address: 10.77.0.22,", "lb2: {canary: true, address: 10.77.0.22,", 1)
	for name, c := range map[string]struct {
		guard  string
		during func(*canary, string)
		taken  bool
		why    string // while it waits, or in the end
	}{
		"well all the time": {soaking, func(c *canary, rev string) { c.report.Config.Revision, c.report.Ready = rev, true }, true,
			"the canaries are well with it; it waits until they have been for 1m0s"},
		"does not take it": {soaking, func(c *canary, rev string) {
			no := "haproxy says no"
			c.report.Config.Pending, c.report.Config.Error = &rev, &no
		}, false, "it waits for canary lb2: it does not take the revision: haproxy says no"},
		"does not take it, where none is needed": {"\nguard: {soak: 1m, wait: 2m, on_timeout: continue}\n", func(c *canary, rev string) {
			no := "it left service todo without a ready endpoint"
			c.report.Config.Pending, c.report.Config.Error = &rev, &no
			time.AfterFunc(10*time.Second, func() { c.set(func(c *canary) { c.err = errors.New("nothing listens there") }) })
		}, false, "it left service todo without a ready endpoint; guard.wait (2m0s) is over, let it through with vipilot approve"},
		"not ready with it": {soaking, func(c *canary, rev string) { c.report.Config.Revision = rev }, false, "it waits for canary lb2: it is not ready"},
		"does not answer":   {soaking, func(c *canary, _ string) { c.err = errors.New("nothing listens there") }, false, "it waits for canary lb2: nothing listens there"},
		"does not answer and is not needed": {"\nguard: {soak: 1m, wait: 2m, on_timeout: continue}\n",
			func(c *canary, _ string) { c.err = errors.New("nothing listens there") }, true, "it waits for canary lb2: nothing listens there"},
		"does not answer and is": {"\nguard: {soak: 1m, wait: 2m}\n",
			func(c *canary, _ string) { c.err = errors.New("nothing listens there") }, false, "guard.wait (2m0s) is over, let it through with vipilot approve"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old := load(t, canaried+soaking)
				l, _ := testLoop(t, newNode(t), old)
				other := &canary{}
				l.askStatus = other.ask
				defer start(t, l)()
				fresh := load(t, strings.Replace(canaried, "shop.example.net", "store.example.net", 1)+c.guard)
				other.set(func(o *canary) { c.during(o, fresh.Revision) })
				if got := offered(t, l, fresh); got.Revision != old.Revision || got.Pending == nil || got.PendingReason != status.Soaking {
					t.Fatalf("taken at once: %+v", got)
				}
				time.Sleep(30 * time.Second)
				synctest.Wait()
				seen := *l.board.Report().Config.Error
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				got := l.board.Report().Config
				if taken := got.Revision == fresh.Revision; taken != c.taken {
					t.Errorf("taken: %v, want %v", taken, c.taken)
				}
				if got.Error != nil {
					seen += *got.Error
				}
				if !strings.Contains(seen, c.why) {
					t.Errorf("said %q, want %q", seen, c.why)
				}
				if !c.taken {
					if got, err := approve(t, l, fresh.Revision); err != nil || got.Revision != fresh.Revision {
						t.Errorf("approved: %+v, %v", got, err)
					}
				}
			})
		})
	}
}

func TestCanaryItselfDoesNotWait(t *testing.T) {
	cfg := load(t, strings.Replace(pair, "lb1: {address: 10.77.0.21,", "lb1: {canary: true, address: 10.77.0.21,", 1))
	if got := canariesOf(cfg, "lb1"); got != nil {
		t.Errorf("lb1 waits for %v", got)
	}
	if got := canariesOf(cfg, "lb2"); len(got) != 1 || got[0] != "lb1" {
		t.Errorf("lb2 waits for %v", got)
	}
}
