package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// imageOnce builds the image of this source once for all scenarios.
var imageOnce sync.Once

// fromImage is start, with an engine and the image on both nodes.
func fromImage(t *testing.T) *fleet {
	t.Helper()
	f := start(t, todoService)
	var cancel context.CancelFunc
	f.ctx, cancel = context.WithTimeout(context.Background(), 10*time.Minute) // the first build of a machine compiles everything
	t.Cleanup(cancel)
	imageOnce.Do(func() {
		began := time.Now()
		f.must(f.BuildImage(f.ctx))
		t.Logf("image built in %v", time.Since(began).Round(time.Second))
	})
	for _, n := range f.Nodes() {
		f.must(n.StartEngine(f.ctx))
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
	f.must(f.LB1.RunImage(f.ctx))
	f.must(f.LB2.RunImage(f.ctx, "SETUID", "SETGID", "SYS_CHROOT", "KILL", "SYS_ADMIN", "CHOWN", "DAC_OVERRIDE"))
	for _, n := range f.Nodes() {
		f.ready(n)
	}
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	f.looksRight()

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

	f.must(f.Declare(todoService + `  blog:
    vip: public
    http: {hosts: [blog.example.net], port: 80}
    backend: {servers: ["10.77.0.11:9100"]}
`))
	for _, n := range f.Nodes() { // with and without the jail, whose insides the controller must not see
		f.awaitStatus(n, "a reload for another service", func(r status.Report) error {
			if r.Services["blog"].VIP == "" || !r.Ready || r.Components.HAProxy.Reloads == 0 {
				return fmt.Errorf("ready %t, services %v, haproxy %+v (%s)", r.Ready, r.Services, r.Components.HAProxy, lab.Text(r.Components.HAProxy.Error))
			}
			return nil
		})
	}

	f.keepsAcross(f.LB1, "controller killed in its container", func() { f.killController(f.LB1) })
	f.await("healthy", func() error {
		out, err := f.LB1.Engine(f.ctx, "inspect", "--format", "{{.State.Health.Status}} {{.RestartCount}}", "vipilot")
		if err == nil && strings.TrimSpace(out) != "healthy 0" {
			err = fmt.Errorf("the container is %s", out)
		}
		return err
	})

	f.awaitStatus(f.LB2, "who stands by knows all", lab.EndpointsReady(3))
	load = f.load(100, false)
	_, err := f.LB1.Engine(f.ctx, "stop", "vipilot")
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
	f.outage("the master died", load)
	f.announcesByFRR(f.LB2)
}

// announcesByFRR has a node whose container may run FRR speak BGP and OSPF with
// that of the image.
func (f *fleet) announcesByFRR(n *lab.Node) {
	f.t.Helper()
	ospfd, err := f.Router.StartOSPF(f.ctx)
	f.must(err)
	f.t.Cleanup(ospfd.Kill)
	by := func(protocol string) {
		f.redeclare(todoService, "protocols: [bgp]", "protocols: ["+protocol+"]", "  bgp:\n", "  bgp:\n    speaker: frr\n",
			"routing:\n", "routing:\n  ospf: {interfaces: [eth0], hello_interval: 1s, dead_interval: 4s, network: broadcast}\n")
		f.t.Logf("route by %s of the container's FRR after %v", protocol, f.await("route", f.routedTo(protocol, n)))
	}
	by("ospf")
	by("bgp")
	seen := f.awaitStatus(n, "FRR announces", func(r status.Report) error {
		if frr := r.Components.FRR; !r.Ready || frr == nil || frr.Daemons["mgmtd"] == 0 || frr.Error != nil {
			return fmt.Errorf("ready %t, frr %+v", r.Ready, frr)
		}
		return lab.HearsRouter(r)
	})
	f.t.Logf("FRR in the container: %v", seen.Components.FRR.Daemons)
	f.awaitAnswer()
}

// looksRight checks what the image and its containers say about themselves.
func (f *fleet) looksRight() {
	f.t.Helper()
	inspect := func(n *lab.Node, args ...string) string {
		out, err := n.Engine(f.ctx, append([]string{"inspect", "--format"}, args...)...)
		f.must(err)
		return strings.TrimSpace(out)
	}
	label := func(name string) string {
		return inspect(f.LB1, `{{index .Config.Labels "org.opencontainers.image.`+name+`"}}`, lab.NodeImage)
	}
	if label("version") != "lab" || label("licenses") != "Apache-2.0" || label("title") != "vipilot" {
		f.t.Errorf("labels: version %q, licenses %q, title %q", label("version"), label("licenses"), label("title"))
	}
	// A base image from a registry would hold no downloaded packages.
	packages, err := f.LB1.Engine(f.ctx, "run", "--rm", "--network", "none", "debian:trixie-slim", "du", "-cbs", "/var/cache/apt", "/var/lib/apt")
	f.must(err)
	fields := strings.Fields(packages)
	extra, err := strconv.Atoi(fields[len(fields)-2])
	f.must(err)
	size, err := strconv.Atoi(inspect(f.LB1, "{{.Size}}", lab.NodeImage))
	f.must(err)
	f.t.Logf("image size: %d MB", (size-extra)/1e6)

	if out, err := f.LB1.Engine(f.ctx, "exec", "vipilot", "/usr/bin/vipilot", "validate", "/etc/vipilot"); err != nil || !strings.HasPrefix(out, "valid: ") {
		f.t.Errorf("validate by the daemons of the image: %v\n%s", err, out)
	}
	// Nothing but the three places of the contract can be written.
	out, err := f.LB1.Engine(f.ctx, "exec", "vipilot", "touch", "/etc/x")
	if err == nil || !strings.Contains(err.Error(), "Read-only") {
		f.t.Errorf("writing outside of the volumes: %v %s", err, out)
	}
	// HAProxy's worker is locked up where the capabilities for it are there.
	for n, locked := range map[*lab.Node]bool{f.LB1: false, f.LB2: true} {
		master := f.ready(n).Components.HAProxy.PID
		f.await("HAProxy's worker on "+n.Name, func() error {
			workers, err := n.Engine(f.ctx, "exec", "vipilot", "cat", fmt.Sprintf("/proc/%d/task/%[1]d/children", master))
			if err != nil {
				return err
			}
			out, err := n.Engine(f.ctx, "exec", "vipilot", "cat", "/proc/"+strings.Fields(workers + " none")[0]+"/status")
			if err == nil && strings.Contains(out, "\nUid:\t0\t") == locked {
				err = fmt.Errorf("locked up: %v is wanted of %s", locked, out)
			}
			return err
		})
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
	late := f.launch(f.App1, lab.Container{Name: "late-" + strconv.FormatInt(time.Now().UnixNano(), 36),
		Labels: map[string]string{"app": "todo"}, Publish: 8080})
	f.await("the new controller serves a new container", func() error {
		a, err := f.get(lab.VIP, "todo.example.net", "/")
		if err == nil && a.Container != late {
			err = fmt.Errorf("answered by %s", a.Container)
		}
		return err
	})
	is := f.ready(n).Components
	f.steady(time.Second)
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

// replaces upgrades some of a node's containers, and wants the others untouched.
func (f *fleet) replaces(n *lab.Node, names ...string) {
	f.t.Helper()
	was, err := n.Containers(f.ctx)
	f.must(err)
	f.must(n.RunCompose(f.ctx, lab.NextImage, names...))
	is, err := n.Containers(f.ctx)
	f.must(err)
	for _, service := range []string{"sentinel", "haproxy", "keepalived", "vipilot"} {
		if is[service] == "" || (is[service] != was[service]) != slices.Contains(names, service) {
			f.t.Errorf("%v upgraded: the container of %s was %.12s and is %.12s", names, service, was[service], is[service])
		}
	}
}

// TestSideCar: a node of the four containers of deploy/compose.yaml, run by
// Docker Compose, each of which is replaced alone.
func TestSideCar(t *testing.T) {
	f := fromImage(t)
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	for _, n := range f.Nodes() {
		f.must(n.RunCompose(f.ctx, lab.NodeImage))
		f.ready(n)
	}
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
	f.keepsAcross(f.LB1, "the controller's container replaced", func() { f.replaces(f.LB1, "vipilot") })

	proxy := f.ready(f.LB1).Components.HAProxy.PID
	f.must(f.LB1.Signal(f.ctx, "KILL", proxy)) // Docker starts it again
	f.await("another HAProxy", func() error {
		r, err := f.LB1.Status(f.ctx)
		if err == nil && (!r.Ready || r.Components.HAProxy.PID == proxy) {
			err = fmt.Errorf("haproxy %+v", r.Components.HAProxy)
		}
		return err
	})
	f.awaitMaster(f.LB1)
	f.awaitContainers(3)

	// Everything else is replaced on a drained node.
	f.awaitStatus(f.LB2, "who stands by knows all", lab.EndpointsReady(3))
	load := f.load(100, false)
	_, err := f.LB1.Inside(f.ctx, "vipilot", "/usr/bin/vipilot", "drain", "node", "--wait")
	f.must(err)
	f.awaitMaster(f.LB2)
	f.replaces(f.LB1, "sentinel", "haproxy", "keepalived")
	_, err = f.LB1.Inside(f.ctx, "vipilot", "/usr/bin/vipilot", "drain", "node", "--undo")
	f.must(err)
	f.ready(f.LB1)
	f.awaitMaster(f.LB1)
	f.awaitContainers(3)
	f.relieved("the daemons' containers replaced, one node drained", load)
}
