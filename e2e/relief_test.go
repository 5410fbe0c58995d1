package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// hears has the router speak to a node, or not.
func (f *fleet) hears(n *lab.Node, yes bool) {
	f.t.Helper()
	line := "neighbor " + n.Address + " shutdown"
	if yes {
		line = "no " + line
	}
	_, err := f.Router.Run(context.WithoutCancel(f.ctx), "vtysh", "-d", "bgpd", "-c", "configure terminal", "-c", fmt.Sprintf("router bgp %d", lab.RouterASN), "-c", line)
	f.must(err)
}

// A VIP that does not preempt leaves a node that no router hears, stays where it
// has gone, and is always held by one node where routers hear none.
func TestReliefWithoutPreemption(t *testing.T) {
	f := start(t, todoService)
	f.redeclare(todoService, "preempt_delay: 1s", "preempt: false")
	t.Cleanup(func() { f.hears(f.LB1, true); f.hears(f.LB2, true) })
	f.todo(f.App1, "web-1")
	f.must(f.LB1.StartVipilot(f.ctx))
	f.awaitMaster(f.LB1) // who comes second does not preempt
	f.must(f.LB2.StartVipilot(f.ctx))
	f.ready(f.LB2)
	role := func(n *lab.Node, want string) {
		t.Helper()
		f.awaitStatus(n, want, func(r status.Report) error {
			if got := r.VIPs["public"].Role; got != want {
				return fmt.Errorf("%s of public, want %s", got, want)
			}
			return nil
		})
	}
	f.hears(f.LB1, false)
	t.Logf("lb1 is heard no more: route to lb2 after %s", f.awaitMaster(f.LB2))
	role(f.LB1, "backup")
	f.hears(f.LB1, true)
	f.awaitStatus(f.LB1, "heard again", func(r status.Report) error {
		if r.Components.Speaker.Deaf || r.Components.Speaker.Peers["edge"].State != "established" {
			return fmt.Errorf("speaker %+v", r.Components.Speaker)
		}
		return nil
	})
	f.awaitMaster(f.LB2)

	f.hears(f.LB1, false)
	f.hears(f.LB2, false)
	for _, n := range f.Nodes() {
		f.awaitStatus(n, "deaf", func(r status.Report) error {
			if !r.Components.Speaker.Deaf {
				return fmt.Errorf("speaker %+v", r.Components.Speaker)
			}
			return nil
		})
	}
	f.await("for three seconds the same node, alone, holds the VIP while routers hear none", func() error {
		first, err := f.holder()
		for end := time.Now().Add(3 * time.Second); err == nil && time.Now().Before(end); f.steady(100 * time.Millisecond) {
			var now *lab.Node
			if now, err = f.holder(); err == nil && now != first {
				err = fmt.Errorf("it went from %s to %s", first.Name, now.Name)
			}
		}
		return err
	})
}

// holder is the only node that holds the public VIP.
func (f *fleet) holder() (holder *lab.Node, err error) {
	for _, n := range f.Nodes() {
		r, err := n.Status(f.ctx)
		switch {
		case err != nil:
			return nil, err
		case r.VIPs["public"].Role == "master" && holder != nil:
			return nil, errors.New("both nodes hold the VIP")
		case r.VIPs["public"].Role == "master":
			holder = n
		}
	}
	if holder == nil {
		return nil, errors.New("no node holds the VIP")
	}
	return holder, nil
}
