package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

// tierRate is that of each load: a request may cost a TLS handshake on both sides
// of it, and a machine that has too many of those fails its checks as well.
const tierRate = 50

// calm has the usual service checked less often and with more patience: where a
// check is a TLS handshake, or where one that failed would upset what is counted.
func calm(service string) string {
	return strings.Replace(service, "interval: 500ms, rise: 1, fall: 2", "interval: 1s, rise: 1, fall: 3", 1)
}

// tiered starts two hosts whose containers publish nothing, each with a proxy.
func tiered(t *testing.T) *fleet {
	f := start(t, calm(todoService)+`  pinned:
    vip: public
    http: {hosts: [pinned.example.net], port: 80}
    backend:
      containers: {labels: {app: todo}}
      port: 8080
      sticky: {cookie: SRV}
  echo:
    vip: public
    tcp: {port: 5432}
    backend: {containers: {labels: {app: todo}}, port: 5432}
`)
	fleet := f.FleetConfig()
	for _, host := range []string{"10.77.0.11", "10.77.0.12"} {
		fleet["fleet.yaml"] = strings.Replace(fleet["fleet.yaml"], "docker: tcp://"+host+":2376", "docker: tcp://"+host+":2376\n    proxy: {port: 7080}", 1)
	}
	f.must(f.UpdateConfig(fleet))
	for _, app := range f.Apps() {
		for _, name := range []string{"web-1", "web-2"} {
			f.unpublished(app, name)
		}
		f.must(app.Tier().StartVipilot(f.ctx, "--docker", app.Socket()))
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("logs of the tier of %s:\n%s", app.Name, app.Tier().Logs(25))
			}
		})
	}
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitContainers(4)
	return f
}

// unpublished starts a container that listens on the ports of all others.
func (f *fleet) unpublished(app *lab.App, name string, env ...string) {
	f.t.Helper()
	f.launch(app, lab.Container{Name: name, Labels: map[string]string{"app": "todo"}, Env: append(env, "TCP_PORT=5432")})
}

// Containers that listen on one port and publish nothing are single servers
// behind their host's proxy: for balancing, cookies, TCP, and their clients.
func TestTier(t *testing.T) {
	f := tiered(t)
	f.await("echo through a tier", func() error { return f.echo(lab.VIP + ":5432") })

	var first, cookie string
	others := make(map[string]bool)
	f.await("all containers without a cookie", func() (err error) { // its servers have checks of their own
		if first, cookie, err = f.pinned(""); err != nil {
			return err
		}
		if others[first] = true; len(others) != 4 {
			return fmt.Errorf("%v answer", slices.Collect(maps.Keys(others)))
		}
		return nil
	})
	if cookie == "" || strings.Contains(cookie, "web") {
		t.Fatalf("cookie %q", cookie)
	}
	for range 20 {
		again, another, err := f.pinned(cookie)
		f.must(err)
		if again != first || another != "" {
			t.Fatalf("%s pins to %s, %q instead of %s", cookie, again, another, first)
		}
	}

	seen := f.forwarded("6.6.6.6")
	if want := []string{f.clientAddress()}; !slices.Equal(seen, want) {
		t.Errorf("X-Forwarded-For %v, want %v", seen, want)
	}
	report := f.awaitStatus(f.LB1, "endpoints through tiers", inState("app1/web-1", "ready"))
	if e, _ := endpoint(report, "app1/web-1"); e.Via != "10.77.0.11:7080" {
		t.Errorf("endpoint %+v", e)
	}
	if _, err := f.Client.Dial(f.ctx, "tcp", "10.77.0.11:7080"); err == nil {
		if err := f.knock("10.77.0.11:7080"); err == nil {
			t.Error("a tier listens to a machine that is no node")
		}
	}
	text, err := f.LB1.Vipilot(f.ctx, "explain", "app1/web-1")
	f.must(err)
	if !strings.Contains(text, "the host's proxy 10.77.0.11:7080") {
		t.Errorf("explain app1/web-1:\n%s", text)
	}
	text, err = f.App1.Tier().Vipilot(f.ctx, "explain", "app1/web-1")
	f.must(err)
	if !strings.Contains(text, "tier") {
		t.Errorf("explain app1/web-1 on its host:\n%s", text)
	}
}

// Containers come and go under load: neither a request nor a reload.
func TestTierScale(t *testing.T) {
	f := tiered(t)
	before := f.reloads(f.LB1) + f.reloads(f.App1.Tier()) + f.reloads(f.App2.Tier())
	kept, closing := f.load(tierRate, true), f.load(tierRate, false)
	f.unpublished(f.App1, "web-3", "START_DELAY=700ms")
	f.awaitContainers(5)
	f.must(f.App1.Stop(f.ctx, "web-1"))
	f.must(f.App2.Stop(f.ctx, "web-1"))
	f.awaitContainers(3)
	f.must(f.App1.Start(f.ctx, "web-1"))
	f.awaitContainers(4)
	f.lossless("keep-alive", kept)
	f.lossless("a connection each", closing)
	if after := f.reloads(f.LB1) + f.reloads(f.App1.Tier()) + f.reloads(f.App2.Tier()); after != before {
		t.Errorf("HAProxy was reloaded %d times for endpoints alone", after-before)
	}
}

// The controller of a tier may die: clients do not notice, and the next one
// takes over what runs.
func TestTierControllerKill(t *testing.T) {
	f := tiered(t)
	tier := f.App1.Tier()
	before := f.ready(tier).Components.HAProxy
	load := f.load(tierRate, false)
	tier.KillController()
	f.steady(time.Second)
	f.awaitContainers(4)
	f.unpublished(f.App1, "web-3") // nobody on its host knows it: no client may meet that
	f.steady(time.Second)
	f.must(tier.StartVipilot(f.ctx, "--docker", f.App1.Socket()))
	f.awaitContainers(5)
	f.lossless("while the controller was dead", load)
	if after := f.ready(tier).Components.HAProxy; after.PID != before.PID || after.Reloads != 0 {
		t.Errorf("HAProxy was replaced or reloaded: %+v, then %+v", before, after)
	}
}

// A tier whose HAProxy dies, and a host that is lost, cost their containers alone.
func TestTierDies(t *testing.T) {
	f := tiered(t)
	tier := f.App1.Tier()
	pid := f.ready(tier).Components.HAProxy.PID
	load := f.load(tierRate, false)
	f.steady(500 * time.Millisecond)
	f.must(tier.Signal(f.ctx, "KILL", pid))
	f.await("another HAProxy", func() error {
		r, err := tier.Status(f.ctx)
		if err == nil && (r.Components.HAProxy.PID == pid || r.Components.HAProxy.State != "running") {
			err = errors.New("not yet")
		}
		return err
	})
	f.awaitContainers(4)
	f.steady(time.Second)
	seen := load.Stop()
	t.Logf("HAProxy of a tier killed: %v", seen)
	if seen.Failed > max(20, seen.Connections) { // what was under way at that moment
		t.Errorf("%d of %d requests failed, on at most %d connections at once: %v", seen.Failed, seen.OK+seen.Failed, seen.Connections, seen.Errors)
	}
	f.must(f.Cut(f.ctx, f.App1.Host))
	f.awaitContainers(2)
	f.must(f.Join(f.ctx, f.App1.Host))
	f.awaitContainers(4)

	load = f.load(tierRate, false)
	f.steady(500 * time.Millisecond)
	f.must(tier.StopController()) // in order: HAProxy ends too
	f.awaitContainers(2)
	f.steady(time.Second)
	f.lossless("a tier that leaves", load)
	f.must(tier.StartVipilot(f.ctx, "--docker", f.App1.Socket()))
	f.awaitContainers(4)
}

// pinned asks the sticky service and gives who answered and the cookie that
// came with it.
func (f *fleet) pinned(cookie string) (name, fresh string, err error) {
	req, err := newRequest(f.ctx, "http://"+lab.VIP+"/")
	if err != nil {
		return "", "", err
	}
	req.Host = "pinned.example.net"
	if cookie != "" {
		req.AddCookie(&http.Cookie{Name: "SRV", Value: cookie})
	}
	resp, err := f.Client.HTTPClient(patient, false).Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", "", errors.New(resp.Status)
	}
	for _, c := range resp.Cookies() {
		fresh = c.Value
	}
	return resp.Header.Get("X-Container"), fresh, nil
}

// forwarded is what an application is told of a client that lies about itself.
func (f *fleet) forwarded(claim string) []string {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, "http://"+lab.VIP+"/", nil)
	f.must(err)
	req.Host = "todo.example.net"
	req.Header.Set("X-Forwarded-For", claim)
	resp, err := f.Client.HTTPClient(patient, false).Do(req)
	f.must(err)
	defer resp.Body.Close()
	var said struct{ Forwarded []string }
	f.must(json.NewDecoder(resp.Body).Decode(&said))
	return said.Forwarded
}

// clientAddress is the client's own, as a node sees it.
func (f *fleet) clientAddress() string {
	f.t.Helper()
	out, err := f.Client.Run(f.ctx, "ip", "-4", "route", "get", lab.VIP)
	f.must(err)
	_, rest, _ := strings.Cut(out, " src ")
	return strings.Fields(rest + " ?")[0]
}

// knock speaks to an address until the other side closes; nil means it did not.
func (f *fleet) knock(address string) error {
	conn, err := f.Client.Dial(f.ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, err = conn.Read(make([]byte, 1))
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("closed")
	}
	return err
}
