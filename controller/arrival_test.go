package controller

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipilot/vipilot/routing/handover"
	"github.com/vipilot/vipilot/vrrp"
)

// noConnections takes everything.
type noConnections struct{}

func (noConnections) Reset() error                              { return nil }
func (noConnections) Hold([]netip.Addr, time.Duration) error    { return nil }
func (noConnections) Release([]netip.Addr) error                { return nil }
func (noConnections) Pass([]handover.Move, time.Duration) error { return nil }
func (noConnections) Close() error                              { return nil }

// TestComesBackWhenOthersAreReady: after a drain a node waits until those that
// have its traffic say so, but not for one that says nothing, and not for ever.
func TestComesBackWhenOthersAreReady(t *testing.T) {
	for name, c := range map[string]struct {
		says  func(asked int) (bool, error)
		after time.Duration // until it is in service
	}{
		"ready at once":      {func(int) (bool, error) { return true, nil }, 0},
		"ready in a while":   {func(n int) (bool, error) { return n > 4, nil }, 4 * welcomeAgain},
		"nobody there":       {func(int) (bool, error) { return false, errors.New("no answer") }, 0},
		"it dies meanwhile":  {func(n int) (bool, error) { return false, errWhen(n > 2) }, 3 * welcomeAgain},
		"it is never ready":  {func(int) (bool, error) { return false, nil }, patienceBack},
		"one answer is late": {func(n int) (bool, error) { return n > 3, errWhen(n == 2) }, 3 * welcomeAgain},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t)
				n.relief = true
				active, drained := load(t, anycasting), load(t, strings.Replace(anycasting, "lb1: {", "lb1: {state: drain, ", 1))
				l, engines := testLoop(t, n, drained)
				l.handing = handing{connections: noConnections{}, roles: make(map[string]vrrp.Role)}
				l.handing.at = netip.MustParseAddrPort("10.77.0.21:10025") // nothing listens in this test
				asked := 0
				l.askComes = func(_ context.Context, from netip.Addr, to netip.AddrPort, d time.Duration) (bool, error) {
					if from.String() != "10.77.0.21" || to.String() != "10.77.0.22:10025" || d != comingTime {
						t.Errorf("%s asked %s: within %s", from, to, d)
					}
					asked++
					return c.says(asked)
				}
				defer start(t, l)()
				engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
				engines["app2"].snapshots <- snapshot("app2")
				synctest.Wait()
				answered(t, l)
				stage := func(want string, announced int) {
					t.Helper()
					synctest.Wait()
					n.mu.Lock()
					defer n.mu.Unlock()
					if got := l.board.Report().Stage; got != want || len(n.want.Routing.Prefixes) != announced || n.closing != (want == "drained") {
						t.Errorf("stage %q, %d prefixes wanted, closing %v; want %q, %d", got, len(n.want.Routing.Prefixes), n.closing, want, announced)
					}
					if n.yields != (want != "in service") {
						t.Errorf("%s: yields %v", want, n.yields)
					}
				}
				time.Sleep(active.Routing.Converge + reconnectTime)
				stage("drained", 2)
				offered(t, l, active)
				if c.after > 0 {
					time.Sleep(c.after - time.Millisecond)
					stage("returning", 2)
				}
				time.Sleep(20 * time.Millisecond)
				stage("in service", 3)
			})
		})
	}
}

func errWhen(failed bool) error {
	if failed {
		return errors.New("no answer")
	}
	return nil
}

// TestOthersMakeReady: a node that carries what another one comes for has its
// clients reconnect, and says that it is ready half a second after that.
func TestOthersMakeReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, l, _, stop := relieved(t, "lb2", pair)
		defer stop()
		lb1 := netip.MustParseAddr("10.77.0.21")
		comes := func(want bool, when string) {
			t.Helper()
			ready, err := l.Comes(lb1, time.Hour)
			if ready != want || err != nil {
				t.Errorf("%s: ready %t, %v", when, ready, err)
			}
			synctest.Wait()
		}
		closing := func(want bool, when string) {
			t.Helper()
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.closing != want {
				t.Errorf("%s: clients are asked to reconnect: %t", when, n.closing)
			}
		}
		if _, err := l.Comes(netip.MustParseAddr("10.77.0.99"), time.Second); err == nil {
			t.Error("a stranger comes")
		}
		closing(false, "before")
		comes(false, "at first")
		closing(true, "it comes")
		pass(reconnectTime - time.Millisecond)
		comes(false, "just asked")
		pass(time.Millisecond)
		comes(true, "half a second later")
		if word, err := l.Word(lb1); err != nil || word.Node != "lb2" || len(word.Fit) > 0 {
			t.Errorf("the master says %+v, %v", word, err)
		}
		pass(time.Minute)
		closing(false, "it never came")
	})
	synctest.Test(t, func(t *testing.T) { // a backup has nothing to make ready
		n, l, _, stop := relieved(t, "lb1", pair)
		defer stop()
		lb2 := netip.MustParseAddr("10.77.0.22")
		_, _ = l.Comes(lb2, time.Second)
		synctest.Wait()
		if ready, err := l.Comes(lb2, time.Second); !ready || err != nil || n.closing {
			t.Errorf("ready %t, %v, closing %t", ready, err, n.closing)
		}
	})
}
