package controller

import (
	"strings"
	"testing"
	"testing/synctest"
)

// A sentinel of another version is replaced when no route goes with it, once,
// and not one that this controller has started itself.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.build, n.stays, n.adopted = "old", "its sessions would end", true
		l, engines := testLoop(t, n, load(t, pair))
		l.opts.Version = "new"
		defer start(t, l)()
		engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
		engines["app2"].snapshots <- snapshot("app2")
		synctest.Wait()
		if why := l.board.Report().Components.Speaker.Outdated; n.replaced != 0 || !strings.Contains(why, "version old: its sessions would end") {
			t.Errorf("replaced %d times, the report says %q", n.replaced, why)
		}
		n.mu.Lock()
		n.stays = ""
		n.mu.Unlock()
		n.routed <- struct{}{}
		synctest.Wait()
		if why := l.board.Report().Components.Speaker.Outdated; n.replaced != 1 || why != "" {
			t.Errorf("replaced %d times, the report says %q", n.replaced, why)
		}
		n.mu.Lock()
		n.build = "newer" // its program was exchanged: the next controller's business
		n.mu.Unlock()
		n.routed <- struct{}{}
		synctest.Wait()
		if n.replaced != 1 {
			t.Errorf("a sentinel of this controller was replaced")
		}
	})
}

// One that cannot hand over is asked once, and the report says why it stays.
func TestRenewRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.build, n.adopted, n.stubborn = "old", true, "this sentinel is too old to hand over"
		l, engines := testLoop(t, n, load(t, pair))
		l.opts.Version = "new"
		defer start(t, l)()
		engines["app1"].snapshots <- snapshot("app1", web(1, "app", "todo"))
		engines["app2"].snapshots <- snapshot("app2")
		synctest.Wait()
		n.routed <- struct{}{}
		synctest.Wait()
		if why := l.board.Report().Components.Speaker.Outdated; n.replaced != 1 || !strings.HasSuffix(why, n.stubborn) {
			t.Errorf("asked %d times, the report says %q", n.replaced, why)
		}
	})
}
