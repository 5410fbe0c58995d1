package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// shared is the one lab of all scenarios; each begins with a Reset of it.
var shared *lab.Lab

func TestMain(m *testing.M) {
	os.Exit(lab.Main(lab.Options{BGPPassword: "lab-secret", TTLSecurity: true}, func(l *lab.Lab) { shared = l }, m.Run))
}

// fleet is the lab during one scenario.
type fleet struct {
	*lab.Lab
	t   *testing.T
	ctx context.Context
}

const todoService = lab.TodoService

// start resets the lab and writes its configuration with these services;
// controllers are not started yet.
func start(t *testing.T, services string) *fleet {
	t.Helper()
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run on real daemons (make test does)")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	f := &fleet{Lab: shared, t: t, ctx: ctx}
	t.Cleanup(func() {
		if races := f.Races(); races != "" {
			t.Errorf("races in vipilot:\n%s", races)
		}
		if t.Failed() {
			f.Explain(t.Logf)
		}
		cancel()
	})
	f.must(f.Reset(ctx))
	f.must(f.Declare(services))
	return f
}

// boot starts the controller of both nodes and waits until all is applied.
func (f *fleet) boot(flags ...string) {
	f.t.Helper()
	f.must(f.StartVipilot(f.ctx, flags...))
	for _, n := range f.Nodes() {
		f.ready(n)
	}
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// await polls check until it returns nil; past lab.Patience the test ends.
func (f *fleet) await(what string, check func() error) time.Duration {
	f.t.Helper()
	began := time.Now()
	if err := lab.Poll(f.ctx, lab.Patience, func(context.Context) error { return check() }); err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
	return time.Since(began)
}

// awaitStatus waits for a state of a node's report.
func (f *fleet) awaitStatus(n *lab.Node, what string, check lab.Check) status.Report {
	f.t.Helper()
	seen, err := n.Await(f.ctx, lab.Patience, check)
	if err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
	return seen
}

func (f *fleet) ready(n *lab.Node) status.Report {
	f.t.Helper()
	return f.awaitStatus(n, "everything applied", lab.Applied)
}

// awaitMaster waits until a node holds the public VIP and the router's only route leads to it.
func (f *fleet) awaitMaster(n *lab.Node) time.Duration {
	f.t.Helper()
	return f.await("route to "+n.Name, func() error { return f.routed(lab.VIP+"/32", n.Address) })
}

// routed checks where the router sends a prefix; without next hops, nowhere.
func (f *fleet) routed(prefix string, nextHops ...string) error {
	got, err := f.Router.NextHops(f.ctx, prefix)
	if err != nil {
		return err
	}
	var want []netip.Addr
	for _, hop := range nextHops {
		want = append(want, netip.MustParseAddr(hop))
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the router sends %s to %v, want %v", prefix, got, want)
	}
	return nil
}

// todo starts a container of the usual service.
func (f *fleet) todo(app *lab.App, name string, env ...string) {
	f.t.Helper()
	f.launch(app, lab.Container{Name: name, Labels: map[string]string{"app": "todo"}, Publish: 8080, Env: env})
}

func (f *fleet) launch(app *lab.App, c lab.Container) (id string) {
	f.t.Helper()
	id, err := app.Launch(f.ctx, c)
	f.must(err)
	return id[:12]
}

// patient is how long a client waits for an answer.
const patient = 10 * time.Second

// answer is what the application says about itself.
type answer struct{ Container, Version, Host, Path string }

// get asks for a page of a named site at an address, over a connection of its own.
func (f *fleet) get(address, site, path string) (answer, error) {
	return f.getFrom(f.Client, address, site, path)
}

// getFrom is get, asked from another machine than the client.
func (f *fleet) getFrom(from *lab.Host, address, site, path string) (answer, error) {
	var a answer
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return a, err
	}
	req.Host = site
	resp, err := from.HTTPClient(patient, false).Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("%s%s: %s", site, path, resp.Status)
	}
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

// awaitAnswer waits until the usual service answers a client.
func (f *fleet) awaitAnswer() time.Duration {
	f.t.Helper()
	return f.await("first answer to the client", func() error {
		_, err := f.get(lab.VIP, "todo.example.net", "/")
		return err
	})
}

// awaitContainers waits until exactly n containers answer the usual service.
func (f *fleet) awaitContainers(n int) {
	f.t.Helper()
	f.await(fmt.Sprintf("answers from %d containers", n), func() error {
		seen := make(map[string]bool)
		for range 4 * n {
			a, err := f.get(lab.VIP, "todo.example.net", "/")
			if err != nil {
				return err
			}
			seen[a.Container] = true
		}
		if len(seen) != n {
			return fmt.Errorf("answers come from %v", slices.Sorted(maps.Keys(seen)))
		}
		return nil
	})
}

// load is the public asking the usual service. Its clients have more patience
// than is good for the service: what they wait for in vain is lost, and not
// what a busy machine answers late.
func (f *fleet) load(rate int, keepAlive bool) *lab.Running {
	return lab.Load{From: f.Client, URL: "http://" + lab.VIP + "/", Name: "todo.example.net", Method: http.MethodPost,
		Rate: rate, KeepAlive: keepAlive, Timeout: patient}.Start(f.ctx)
}

// What counts as a loss, although each request was answered in the end: so long
// a time without any answer, and so long a wait of one request in a hundred.
const (
	unserved = 3 * time.Second
	belated  = 5 * time.Second
)

// lossless ends a load and fails the test when a request failed, or when so
// many waited for long that a part of the service was away.
func (f *fleet) lossless(what string, r *lab.Running) {
	f.t.Helper()
	seen := r.Stop()
	f.t.Logf("%s: %v", what, seen)
	if seen.Failed > 0 {
		f.t.Errorf("%s: %d of %d requests failed: %v", what, seen.Failed, seen.OK+seen.Failed, seen.Errors)
	}
	if slow := seen.Percentile(99); seen.LongestGap > unserved || slow > belated {
		f.t.Errorf("%s: for %v nobody was answered, and one in a hundred waited for %v", what, seen.LongestGap, slow)
	}
	if seen.OK == 0 {
		f.t.Errorf("%s: no request was answered", what)
	}
}

// outage ends a load under which a node or its HAProxy died, and fails the test
// when requests were in trouble for much longer than the hold time, 3 s, after
// which a router finds out by itself. What clients notice is measured in e2e/faults.
func (f *fleet) outage(what string, r *lab.Running) {
	f.t.Helper()
	seen := r.Stop()
	f.t.Logf("%s: %v", what, seen)
	if long := seen.Outage(time.Second); long > 10*time.Second {
		f.t.Errorf("%s: requests were in trouble for %v", what, long)
	}
	if seen.OK == 0 {
		f.t.Errorf("%s: no request was answered", what)
	}
}

// relieved ends a load under which a VIP on the nodes' own network moved from one
// node to another in order. The connections of that very moment are the old
// node's, and the new one refuses them: each may cost one request, and nothing
// else may.
func (f *fleet) relieved(what string, r *lab.Running) {
	f.t.Helper()
	seen := r.Stop()
	f.t.Logf("%s: %v", what, seen)
	if seen.Failed > seen.Connections || seen.Failed > seen.Errors["reset"] {
		f.t.Errorf("%s: %d of %d requests failed, on at most %d connections at once: %v", what, seen.Failed, seen.OK+seen.Failed, seen.Connections, seen.Errors)
	}
	if seen.OK == 0 {
		f.t.Errorf("%s: no request was answered", what)
	}
}

// steady lets a load run for a while: long enough that a late fault shows.
func (f *fleet) steady(d time.Duration) {
	select {
	case <-time.After(d):
	case <-f.ctx.Done():
		f.t.Fatal(f.ctx.Err())
	}
}

// status is what a node reports now.
func (f *fleet) status(n *lab.Node) status.Report {
	f.t.Helper()
	r, err := n.Status(f.ctx)
	f.must(err)
	return r
}

// reloads is how often a node's HAProxy was reloaded.
func (f *fleet) reloads(n *lab.Node) int {
	f.t.Helper()
	return f.status(n).Components.HAProxy.Reloads
}

// dockerFiles are the lab's files for the engines, for a repository elsewhere.
func (f *fleet) dockerFiles() map[string]string {
	f.t.Helper()
	files := make(map[string]string)
	for _, name := range []string{"docker/ca.pem", "docker/cert.pem", "docker/key.pem"} {
		data, err := os.ReadFile(filepath.Join(f.RepoDir(), name))
		f.must(err)
		files[name] = string(data)
	}
	return files
}

// endpoint finds an endpoint of the usual service by name.
func endpoint(r status.Report, name string) (status.Endpoint, error) {
	for _, e := range r.Services["todo"].Endpoints {
		if e.Name == name {
			return e, nil
		}
	}
	return status.Endpoint{}, fmt.Errorf("no endpoint %s in %+v", name, r.Services["todo"])
}

// inState checks an endpoint's state.
func inState(name, state string) func(status.Report) error {
	return func(r status.Report) error {
		e, err := endpoint(r, name)
		if err == nil && e.State != state {
			return fmt.Errorf("endpoint %s is %s (%s), want %s", name, e.State, e.Reason, state)
		}
		return err
	}
}
