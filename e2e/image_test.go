package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

// imageOnce is the image of this source, built once for all scenarios.
var imageOnce = struct {
	sync.Mutex
	file string
}{}

// fromImage is start, with an engine and the image on both nodes.
func fromImage(t *testing.T) *fleet {
	t.Helper()
	f := start(t, todoService)
	var cancel context.CancelFunc
	f.ctx, cancel = context.WithTimeout(context.Background(), 6*time.Minute) // the first build of a machine compiles everything
	t.Cleanup(cancel)
	for _, n := range f.Nodes() {
		f.must(n.StartEngine(f.ctx))
	}
	imageOnce.Lock()
	defer imageOnce.Unlock()
	if imageOnce.file == "" {
		began := time.Now()
		file, err := f.LB1.BuildImage(f.ctx)
		f.must(err)
		imageOnce.file = file
		t.Logf("image built in %v", time.Since(began).Round(time.Second))
	}
	for _, n := range f.Nodes() {
		f.must(n.LoadImage(f.ctx, imageOnce.file))
	}
	return f
}

// killController ends every `vipilot run` of a node with SIGKILL.
func (f *fleet) killController(n *lab.Node) {
	f.t.Helper()
	out, err := n.Run(f.ctx, "pgrep", "-f", "^/usr/bin/vipilot run")
	f.must(err)
	for word := range strings.FieldsSeq(out) {
		pid, err := strconv.Atoi(word)
		f.must(err)
		f.must(n.Signal(f.ctx, "KILL", pid))
	}
}

// TestImage: the main scenario with each node in one container.
func TestImage(t *testing.T) {
	f := fromImage(t)
	f.todo(f.App1, "web-1")
	for _, n := range f.Nodes() {
		f.must(n.RunImage(f.ctx))
		f.ready(n)
	}
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	size, err := f.LB1.Engine(f.ctx, "image", "inspect", "--format", "{{.Size}}", lab.NodeImage)
	f.must(err)
	bare, err := f.LB1.Engine(f.ctx, "image", "inspect", "--format", "{{.Size}}", "debian:trixie-slim")
	f.must(err)
	t.Logf("image: %s bytes, of which Debian with the downloaded packages %s", strings.TrimSpace(size), strings.TrimSpace(bare))

	before := f.reloads(f.LB1)
	load := f.load(200, true)
	f.todo(f.App2, "web-2")
	f.todo(f.App2, "web-3")
	f.awaitContainers(3)
	f.must(f.App1.Stop(f.ctx, "web-1"))
	f.awaitContainers(2)
	f.lossless("scale 1, 3, 2", load)
	if after := f.reloads(f.LB1); after != before {
		t.Errorf("HAProxy was reloaded %d times for endpoints alone", after-before)
	}

	f.keepsAcross(f.LB1, "controller killed in its container", func() { f.killController(f.LB1) })
	f.await("healthy", 20*time.Second, func() error {
		out, err := f.LB1.Engine(f.ctx, "inspect", "--format", "{{.State.Health.Status}} {{.RestartCount}}", "vipilot")
		if err == nil && strings.TrimSpace(out) != "healthy 0" {
			err = fmt.Errorf("the container is %s", out)
		}
		return err
	})

	load = f.load(100, false)
	_, err = f.LB1.Engine(f.ctx, "stop", "vipilot")
	f.must(err)
	f.awaitMaster(f.LB2)
	f.relieved("docker stop: the node leaves in order", load)
	_, err = f.LB1.Engine(f.ctx, "start", "vipilot")
	f.must(err)
	f.awaitMaster(f.LB1)
	load = f.load(100, false)
	f.must(f.PowerOff(f.ctx, f.LB1))
	f.awaitMaster(f.LB2)
	f.awaitAnswer()
	if seen := load.Stop(); seen.Trouble() > 5*time.Second {
		t.Errorf("requests were in trouble for %v after the master died", seen.Trouble())
	}
}

// keepsAcross proves that no request, no route and no daemon is lost while the
// controller of a node is replaced.
func (f *fleet) keepsAcross(n *lab.Node, what string, replace func()) {
	f.t.Helper()
	was := f.ready(n).Components
	session, err := f.Router.Session(f.ctx, n.Address)
	f.must(err)
	kept, closing := f.load(200, true), f.load(200, false)
	replace()
	f.todo(f.App1, "late-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	f.awaitContainers(3)
	is := f.ready(n).Components
	f.lossless(what+", keep-alive", kept)
	f.lossless(what+", a connection each", closing)
	if is.HAProxy.PID != was.HAProxy.PID || is.Keepalived.PID != was.Keepalived.PID || is.Speaker.PID != was.Speaker.PID {
		f.t.Errorf("%s: daemons were replaced: %+v, then %+v", what, was, is)
	}
	still, err := f.Router.Session(f.ctx, n.Address)
	f.must(err)
	if still.State != "Established" || still.Established != session.Established {
		f.t.Errorf("%s: the BGP session was %+v and is %+v", what, session, still)
	}
	f.must(f.routed(lab.VIP+"/32", n.Address))
}

// TestSideCar: a node of four containers, each of which is replaced alone.
func TestSideCar(t *testing.T) {
	f := fromImage(t)
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	for _, n := range f.Nodes() {
		f.must(n.RunCompose(f.ctx))
		f.ready(n)
	}
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
	f.keepsAcross(f.LB1, "the controller's container replaced", func() { f.must(f.LB1.RunCompose(f.ctx, "vipilot")) })

	proxy := f.ready(f.LB1).Components.HAProxy.PID
	f.must(f.LB1.Signal(f.ctx, "KILL", proxy)) // Docker starts it again
	f.await("another HAProxy", 20*time.Second, func() error {
		r, err := f.LB1.Status(f.ctx)
		if err == nil && (!r.Ready || r.Components.HAProxy.PID == proxy) {
			err = fmt.Errorf("haproxy %+v", r.Components.HAProxy)
		}
		return err
	})
	f.awaitMaster(f.LB1)

	// Everything else is replaced on a drained node.
	load := f.load(100, false)
	_, err := f.LB1.Engine(f.ctx, "exec", "vipilot", "/usr/bin/vipilot", "drain", "node", "--wait")
	f.must(err)
	f.awaitMaster(f.LB2)
	f.must(f.LB1.RunCompose(f.ctx, "sentinel", "haproxy", "keepalived"))
	_, err = f.LB1.Engine(f.ctx, "exec", "vipilot", "/usr/bin/vipilot", "drain", "node", "--undo")
	f.must(err)
	f.ready(f.LB1)
	f.awaitMaster(f.LB1)
	f.awaitContainers(3)
	f.relieved("the daemons' containers replaced, one node drained", load)
}
