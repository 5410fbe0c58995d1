package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

func newRequest(ctx context.Context, url string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err == nil {
		req.Host = "todo.example.net"
	}
	return req, err
}

// pair is the usual start: a container on each host, lb1 the master.
func pair(t *testing.T) *fleet {
	t.Helper()
	f := start(t, todoService)
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	f.boot()
	f.settled()
	f.awaitContainers(2)
	for _, n := range f.Nodes() { // the VIP may move at once
		f.awaitStatus(n, "two endpoints", lab.EndpointsReady(2))
	}
	return f
}

// settled waits until lb1 has come into service and has the VIP, by its own word,
// by that of lb2 and by the router: lb2 may have been first, and then it moves.
func (f *fleet) settled() {
	f.t.Helper()
	for n, role := range map[*lab.Node]string{f.LB1: "master", f.LB2: "backup"} {
		f.awaitStatus(n, "who has the VIP", func(r status.Report) error {
			if r.Stage != "in service" || r.VIPs["public"].Role != role {
				return fmt.Errorf("%s is %s, %s; want in service, %s", n.Name, r.Stage, r.VIPs["public"].Role, role)
			}
			return nil
		})
	}
	f.awaitMaster(f.LB1)
}

// A host that vanishes keeps its endpoints, stale; HAProxy's checks take them out.
func TestHostUnreachable(t *testing.T) {
	f := pair(t)
	f.must(f.Cut(f.ctx, f.App2.Host))
	f.awaitStatus(f.LB1, "endpoint down by its check", inState("app2/web-2", "down"))
	f.awaitStatus(f.LB1, "host stale", lab.HostIs("app2", "unreachable"))
	load := f.load(200, false)
	f.steady(time.Second)
	f.lossless("one host left", load)
	f.must(f.Join(f.ctx, f.App2.Host))
	f.awaitContainers(2)
	f.awaitStatus(f.LB1, "host back", lab.HostIs("app2", "connected"))
}

// An engine that dies takes no container with it: all go on serving.
func TestEngineKilled(t *testing.T) {
	f := pair(t)
	load := f.load(200, true)
	f.App2.KillEngine()
	f.awaitStatus(f.LB1, "host stale", lab.HostIs("app2", "unreachable"))
	f.awaitStatus(f.LB1, "endpoint kept", inState("app2/web-2", "ready"))
	f.awaitContainers(2)
	f.steady(time.Second)
	f.lossless("engine dead, containers alive", load)
	f.must(f.App2.StartEngine(f.ctx)) // which ends the containers it finds
	f.awaitStatus(f.LB1, "host back", lab.HostIs("app2", "connected"))
	f.todo(f.App2, "web-3")
	f.awaitContainers(2)
}

// The master vanishes; the other node takes over, and gives back when it returns.
func TestNodeDeath(t *testing.T) {
	f := pair(t)
	load := f.load(100, false)
	f.must(f.PowerOff(f.ctx, f.LB1))
	f.awaitMaster(f.LB2)
	f.awaitAnswer()
	f.steady(500 * time.Millisecond)
	f.outage("master powered off", load)
	f.must(f.PowerOn(f.ctx, f.LB1))
	load = f.load(100, false)
	f.must(f.LB1.StartVipilot(f.ctx))
	f.awaitMaster(f.LB1)
	f.steady(500 * time.Millisecond)
	f.outage("it comes back", load)
}

// HAProxy dies and nobody is there to start it: the node gives up VIP and route by itself.
func TestHAProxyDeathWithoutController(t *testing.T) {
	f := pair(t)
	proxy := f.ready(f.LB1).Components.HAProxy.PID
	f.LB1.KillController()
	load := f.load(100, false)
	f.must(f.LB1.Signal(f.ctx, "KILL", proxy))
	moved := f.awaitMaster(f.LB2)
	f.awaitAnswer()
	f.outage(fmt.Sprintf("HAProxy killed, its controller dead, route moved after %v", moved.Round(time.Millisecond)), load)
	f.must(f.LB1.StartVipilot(f.ctx))
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
}

// HAProxy dies under a living controller, which starts it again.
func TestHAProxyDeath(t *testing.T) {
	f := pair(t)
	proxy := f.ready(f.LB1).Components.HAProxy.PID
	load := f.load(100, false)
	f.must(f.LB1.Signal(f.ctx, "KILL", proxy))
	f.awaitStatus(f.LB1, "another HAProxy", lab.AnotherHAProxy(proxy))
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
	f.outage("HAProxy killed", load)
}

// keepalived dies: the controller starts it again and one node holds the VIP.
func TestKeepalivedDeath(t *testing.T) {
	f := pair(t)
	daemon := f.ready(f.LB1).Components.Keepalived.PID
	f.must(f.LB1.Signal(f.ctx, "KILL", daemon))
	f.awaitStatus(f.LB1, "another keepalived", lab.AnotherKeepalived(daemon))
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
}

// The controller dies under load; nothing else does, and the next one adopts what runs.
func TestControllerKill(t *testing.T) {
	f := pair(t)
	before := f.ready(f.LB1)
	session, err := f.Router.Session(f.ctx, f.LB1.Address)
	f.must(err)
	kept, closing := f.load(200, true), f.load(200, false)
	f.LB1.KillController()
	f.steady(time.Second)
	f.todo(f.App1, "web-3") // nobody sees it yet
	f.must(f.LB1.StartVipilot(f.ctx))
	after := f.ready(f.LB1)
	f.awaitContainers(3)
	f.steady(500 * time.Millisecond)
	f.lossless("keep-alive", kept)
	f.lossless("a connection each", closing)

	was, is := before.Components, after.Components
	if is.HAProxy.PID != was.HAProxy.PID || is.Keepalived.PID != was.Keepalived.PID || is.Speaker.PID != was.Speaker.PID {
		t.Errorf("daemons were replaced: %+v, then %+v", was, is)
	}
	if now := f.reloads(f.LB1); now != 0 && now != was.HAProxy.Reloads {
		t.Errorf("HAProxy was reloaded: %d before, %d now", was.HAProxy.Reloads, now)
	}
	still, err := f.Router.Session(f.ctx, f.LB1.Address)
	f.must(err)
	if still.State != "Established" || still.Established != session.Established || still.Up < session.Up {
		t.Errorf("the BGP session was %+v and is %+v", session, still)
	}
	f.awaitMaster(f.LB1)
}
