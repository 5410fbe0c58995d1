package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// Whatever an operator, or an application, does to a running service, no
// request is lost: neither on kept connections nor on new ones. Reloads are as
// few as can be.
func TestNothingLost(t *testing.T) {
	f := start(t, todoService)
	binary := program{filepath.Join(f.LB1.BinDir(), "haproxy")}
	f.must(copyProgram("/usr/sbin/haproxy", binary.path))
	f.must(f.UpdateConfig(map[string]string{"flap.yaml": strings.Replace(site("flap"), "app: todo", "app: flap", 1)}))
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitContainers(2)
	for _, c := range []struct {
		name        string
		do          func(*fleet)
		least, most int // reloads
	}{
		{"HAProxy upgraded", binary.upgrade, 1, 1}, // first, so that the rest is proved of the new one
		{"endpoint churn", churn, 0, 0},
		{"rolling update", roll, 0, 0},
		{"service added and removed", addAndRemove, 2, 2},
		{"services added at once", addTogether, 1, 3}, // of five: one for all where the node is slow to read the first, three where the test is slow to write
		{"service flaps", flap, 0, 0},
		{"20 reloads in a row", reloadTwenty, 20, 20},
		{"reload foretold and told", tell, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &fleet{Lab: f.Lab, t: t, ctx: f.ctx}
			before := g.reloads(g.LB1)
			kept, closing := g.loads()
			c.do(g)
			g.steady(500 * time.Millisecond)
			g.lossless("keep-alive", kept)
			g.lossless("a connection each", closing)
			if n := g.reloads(g.LB1) - before; n < c.least || n > c.most {
				t.Errorf("it took %d reloads, want %d to %d", n, c.least, c.most)
			}
		})
	}
	f.awaitStatus(f.LB1, "no old worker is left", func(r status.Report) error {
		if n := r.Components.HAProxy.OldWorkers; n != 0 {
			return fmt.Errorf("%d old workers", n)
		}
		return nil
	})
}

// churn starts and stops containers as fast as the engines can.
func churn(f *fleet) {
	for i := range 12 {
		app := f.Apps()[i%2]
		name := fmt.Sprintf("churn-%d", i)
		f.todo(app, name)
		if i%3 > 0 {
			f.await(name+" is ready", f.endpointIs(app.Name+"/"+name, "ready"))
		}
		f.must(app.Stop(f.ctx, name))
	}
}

// roll replaces both containers, each when its successor is ready.
func roll(f *fleet) {
	for i, app := range f.Apps() {
		f.todo(app, fmt.Sprintf("next-%d", i+1))
		f.await("the next is ready", f.endpointIs(fmt.Sprintf("%s/next-%d", app.Name, i+1), "ready"))
		f.must(app.Stop(f.ctx, fmt.Sprintf("web-%d", i+1)))
	}
}

func (f *fleet) endpointIs(name, state string) func() error {
	return func() error {
		r, err := f.LB1.Status(f.ctx)
		if err != nil {
			return err
		}
		return inState(name, state)(r)
	}
}

// site is a service of its own on the containers of the usual one.
func site(name string) string {
	return strings.NewReplacer("todo:", name+":", "todo.example.net", name+".example.net").Replace(todoService)
}

// write changes one file of the repository and waits until it is applied.
func (f *fleet) write(name, content string) {
	f.t.Helper()
	before := f.ready(f.LB1).Config.Revision
	f.must(f.UpdateConfig(map[string]string{name: content}))
	f.awaitStatus(f.LB1, "the new revision", func(r status.Report) error {
		if !r.Ready || r.Config.Revision == before {
			return fmt.Errorf("revision %s, error %q", r.Config.Revision, lab.Text(r.Config.Error))
		}
		return nil
	})
}

func addAndRemove(f *fleet) {
	f.write("blog.yaml", site("blog"))
	if cause := f.ready(f.LB1).Components.HAProxy.ReloadCause; cause != "backend blog added" {
		f.t.Errorf("the reload's cause is %q", cause)
	}
	f.await("the new service", func() error {
		_, err := f.get(lab.VIP, "blog.example.net", "/")
		return err
	})
	f.write("blog.yaml", "")
}

// addTogether adds five services, in files written one after the
// other: the first is taken at once, the rest together.
func addTogether(f *fleet) {
	names := []string{"one", "two", "three", "four", "five"}
	f.steady(time.Second)
	f.must(f.UpdateConfig(map[string]string{"one.yaml": site("one")}))
	f.steady(100 * time.Millisecond)
	for _, name := range names[1:] {
		f.must(f.UpdateConfig(map[string]string{name + ".yaml": site(name)}))
	}
	for _, name := range names {
		f.await(name, func() error {
			_, err := f.get(lab.VIP, name+".example.net", "/")
			return err
		})
	}
}

// flap has the only container of a service start and die.
func flap(f *fleet) {
	for range 4 {
		f.launch(f.App1, lab.Container{Name: "flap", Labels: map[string]string{"app": "flap"}, Publish: 8080})
		f.must(f.App1.Remove(f.ctx, "flap"))
	}
}

// reloadTwenty changes what only a reload can change, twenty times.
func reloadTwenty(f *fleet) {
	for i := range 20 {
		algorithm := []string{"leastconn", "roundrobin"}[i%2]
		f.write("services.yaml", strings.Replace(todoService, "port: 8080\n", "port: 8080\n      balance: "+algorithm+"\n", 1))
	}
}

// tell changes a key that only a reload can change: plan names it beforehand,
// and so does the event.
func tell(f *fleet) {
	const cause = "backend todo: maxconn 0 became 50"
	limited := strings.Replace(todoService, "port: 8080\n", "port: 8080\n      balance: roundrobin\n      maxconn: 50\n", 1)
	next := f.t.TempDir()
	f.must(os.CopyFS(next, os.DirFS(f.RepoDir())))
	f.must(os.WriteFile(filepath.Join(next, "services.yaml"), []byte(limited), 0o600))
	plan, err := f.LB1.Vipilot(f.ctx, "plan", next)
	if err != nil || !strings.Contains(plan, cause) {
		f.t.Errorf("the plan does not say %q: %v\n%s", cause, err, plan)
	}
	f.write("services.yaml", limited)
	ctx, cancel := context.WithTimeout(f.ctx, lab.Patience)
	defer cancel()
	told := ""
	_ = f.LB1.Events(ctx, func(e status.Event) { // the kept ones first
		if e.Subject == "haproxy reloads" && strings.Contains(e.Cause, cause) {
			told = e.Cause
			cancel()
		}
	})
	if told == "" {
		f.t.Errorf("no event says %q", cause)
	}
	f.t.Logf("the event's cause: %s", told)
}

// program is a node's own copy of HAProxy's program file.
type program struct{ path string }

// copyProgram makes a program file as a package manager does: in one step.
func copyProgram(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to+".new", data, 0o755); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// upgrade puts another program file in its place: that of the HAProxy in PATH,
// which is the next version where the tests are run for it.
func (p program) upgrade(f *fleet) {
	next, err := exec.LookPath("haproxy")
	f.must(err)
	before := f.ready(f.LB1).Components.HAProxy
	f.must(copyProgram(next, p.path))
	after := f.awaitStatus(f.LB1, "the upgrade", func(r status.Report) error {
		if h := r.Components.HAProxy; h.Reloads == before.Reloads || !strings.Contains(h.ReloadCause, "program was replaced") {
			return fmt.Errorf("%+v", h)
		}
		return nil
	}).Components.HAProxy
	if after.PID != before.PID || next != "/usr/sbin/haproxy" && after.Version == before.Version {
		f.t.Errorf("before the upgrade %+v, after it %+v", before, after)
	}
	f.t.Logf("HAProxy %s became %s", before.Version, after.Version)
}
