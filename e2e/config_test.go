package e2e

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// An invalid revision touches nothing and is explained; the next good one is taken.
func TestInvalidRevision(t *testing.T) {
	f := pair(t)
	before := f.ready(f.LB1)
	load := f.load(200, true)
	f.must(f.UpdateConfig(map[string]string{"services.yaml": strings.Replace(todoService, "vip: public", "vip: publik", 1)}))
	report := f.awaitStatus(f.LB1, "the fault in status", func(r status.Report) error {
		if r.Config.Error == nil {
			return errors.New("config.error is null")
		}
		return nil
	})
	fault := *report.Config.Error
	if !strings.Contains(fault, "services.yaml:3:") || !strings.Contains(fault, "publik") {
		t.Errorf("config.error names no place: %q", fault)
	}
	if report.Config.Revision != before.Config.Revision {
		t.Errorf("revision %s replaced %s", report.Config.Revision, before.Config.Revision)
	}
	f.awaitContainers(2)
	f.must(f.UpdateConfig(map[string]string{"services.yaml": strings.ReplaceAll(todoService, "todo.example.net", "todo.example.net, shop.example.net")}))
	f.awaitStatus(f.LB1, "the good revision", func(r status.Report) error {
		if r.Config.Error != nil || r.Config.Revision == before.Config.Revision {
			return fmt.Errorf("config %s, error %s", r.Config.Revision, lab.Text(r.Config.Error))
		}
		return nil
	})
	f.await("the new site", func() error {
		_, err := f.get(lab.VIP, "shop.example.net", "/")
		return err
	})
	f.steady(time.Second)
	f.lossless("bad revision, good revision", load)
	now := f.ready(f.LB1).Components
	if now.HAProxy.PID != before.Components.HAProxy.PID || now.Keepalived.PID != before.Components.Keepalived.PID {
		t.Errorf("daemons were replaced: %+v, then %+v", before.Components, now)
	}
}

// A new service needs one reload, which loses nothing.
func TestNewServiceUnderLoad(t *testing.T) {
	f := pair(t)
	before := f.ready(f.LB1).Components.HAProxy.Reloads
	f.launch(f.App1, lab.Container{Name: "blog-1", Labels: map[string]string{"app": "blog"}, Publish: 8080})
	kept, closing := f.load(200, true), f.load(200, false)
	f.must(f.UpdateConfig(map[string]string{"blog.yaml": `services:
  blog:
    vip: public
    http: {hosts: [blog.example.net], port: 8081}
    backend: {containers: {labels: {app: blog}}, port: 8080}
`}))
	f.await("the new service", func() error {
		_, err := f.get(lab.VIP+":8081", "blog.example.net", "/")
		return err
	})
	f.steady(time.Second)
	f.lossless("keep-alive", kept)
	f.lossless("a connection each", closing)
	after := f.awaitStatus(f.LB1, "the new service in status", func(r status.Report) error {
		if len(r.Services["blog"].Endpoints) != 1 {
			return fmt.Errorf("blog: %+v", r.Services["blog"])
		}
		return lab.Applied(r)
	})
	if n := after.Components.HAProxy.Reloads - before; n != 1 {
		t.Errorf("a new service took %d reloads, want 1", n)
	}
}

// A node that boots while the repository is broken and an engine is down
// serves what it served before.
func TestStartWithLastGood(t *testing.T) {
	f := pair(t)
	f.await("the endpoints on lb1's disk", func() error { // a second later than in its status, at most
		kept, err := os.ReadFile(filepath.Join(f.LB1.StateDir, "endpoints.json"))
		if !bytes.Contains(kept, []byte("web-1")) || !bytes.Contains(kept, []byte("web-2")) {
			return cmp.Or(err, fmt.Errorf("there is\n%s", kept))
		}
		return err
	})
	f.must(f.PowerOff(f.ctx, f.LB1))
	f.must(f.PowerOff(f.ctx, f.LB2))
	f.must(f.UpdateConfig(map[string]string{"services.yaml": "services: {todo: {vip: [}\n"}))
	f.App2.KillEngine()
	f.must(f.PowerOn(f.ctx, f.LB1))
	f.must(f.LB1.StartVipilot(f.ctx))
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
	f.awaitStatus(f.LB1, "the fault in status", func(r status.Report) error {
		if !strings.Contains(lab.Text(r.Config.Error), "services.yaml:1:") {
			return fmt.Errorf("config.error: %q", lab.Text(r.Config.Error))
		}
		return nil
	})
	f.awaitStatus(f.LB1, "the dead engine", lab.HostIs("app2", "unreachable"))
}

// An engine that was never reached keeps nobody from serving the rest.
func TestEngineDownAtStart(t *testing.T) {
	f := start(t, todoService)
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	f.must(f.Cut(f.ctx, f.App2.Host))
	for _, n := range f.Nodes() {
		f.must(n.StartVipilot(f.ctx))
	}
	f.awaitMaster(f.LB1)
	f.awaitContainers(1)
	f.awaitStatus(f.LB1, "the reason", func(r status.Report) error {
		if h := r.Hosts["app2"]; h.State != "unreachable" || lab.Text(h.Error) == "" {
			return fmt.Errorf("host app2: %+v", h)
		}
		return nil
	})
	f.must(f.Join(f.ctx, f.App2.Host))
	f.awaitContainers(2)
}

// A container that cannot be used is refused with a reason, and nothing else suffers.
func TestRejectedContainers(t *testing.T) {
	f := pair(t)
	for name, c := range map[string]lab.Container{
		"port_not_published":    {Labels: map[string]string{"app": "todo"}},
		"published_on_loopback": {Labels: map[string]string{"app": "todo"}, Publish: 8080, HostIP: "127.0.0.1"},
		"network_none":          {Labels: map[string]string{"app": "todo"}, Network: "none"},
		"disabled_by_label":     {Labels: map[string]string{"app": "todo", "vipilot.enable": "false"}, Publish: 8080},
		"invalid_label":         {Labels: map[string]string{"app": "todo", "vipilot.port": "80\n80"}, Publish: 8080},
	} {
		c.Name = name
		f.launch(f.App1, c)
	}
	f.awaitStatus(f.LB1, "five refusals", func(r status.Report) error {
		rejected := r.Services["todo"].Rejected
		if len(rejected) != 5 {
			return fmt.Errorf("rejected: %+v", rejected)
		}
		for _, c := range rejected {
			if c.Name != "app1/"+c.Reason || c.Detail == "" {
				return fmt.Errorf("rejected: %+v", c)
			}
		}
		return nil
	})
	f.awaitContainers(2)
}

// A container on the host's own network is reached at the host's address.
func TestHostNetwork(t *testing.T) {
	f := start(t, todoService)
	f.launch(f.App1, lab.Container{Name: "web-1", Labels: map[string]string{"app": "todo"}, Network: "host"})
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	f.awaitStatus(f.LB1, "the endpoint in status", func(r status.Report) error {
		e, err := endpoint(r, "app1/web-1")
		if err == nil && e.Address != "10.77.0.11:8080" {
			t.Errorf("endpoint %+v", e)
		}
		return err
	})
}
