package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// One VIP carries two sites and a TCP service; the client finds it over BGP.
func TestFirstRequest(t *testing.T) {
	f := start(t, todoService+`  blog:
    vip: public
    http: {hosts: [blog.example.net, "*.blog.example.net"], port: 80}
    backend: {port: 8080}
  echo:
    vip: public
    tcp: {port: 5432}
    backend: {servers: ["10.77.0.11:9100"]}
`)
	todo := f.launch(f.App1, lab.Container{Name: "web-1", Labels: map[string]string{"app": "todo"}, Publish: 8080})
	blog := f.launch(f.App2, lab.Container{Name: "blog-1", Labels: map[string]string{"vipilot.service": "blog"}, Publish: 8080})
	f.startEcho(f.App1, 9100)
	f.boot()
	f.awaitMaster(f.LB1)

	for site, want := range map[string]string{"todo.example.net": todo, "blog.example.net": blog, "de.blog.example.net": blog} {
		f.await(site, func() error {
			a, err := f.get(lab.VIP, site, "/")
			if err == nil && a.Container != want {
				err = fmt.Errorf("answered by %s, want %s", a.Container, want)
			}
			return err
		})
	}
	if a, err := f.get(lab.VIP, "unknown.example.net", "/"); err == nil {
		t.Errorf("a site that nobody declared is answered by %s", a.Container)
	}
	f.await("echo over TCP", func() error { return f.echo(lab.VIP + ":5432") })

	f.awaitStatus(f.LB1, "the master's own word", func(r status.Report) error {
		if vip := r.VIPs["public"]; vip.Role != "master" || len(vip.Announced) != 1 || vip.Reason != "" {
			return fmt.Errorf("status of the VIP: %+v", vip)
		}
		if peer := r.Components.Speaker.Peers["edge"]; peer.State != "established" || peer.PrefixesAnnounced != 1 {
			return fmt.Errorf("status of the peer: %+v", peer)
		}
		return nil
	})
	f.awaitStatus(f.LB2, "the backup's own word", func(r status.Report) error {
		if vip := r.VIPs["public"]; vip.Role != "backup" || len(vip.Announced) != 0 || vip.Reason == "" {
			return fmt.Errorf("status of the VIP: %+v", vip)
		}
		return nil
	})
	out, err := f.LB1.Vipilot(f.ctx, "status")
	if err != nil || !strings.Contains(out, "todo") || !strings.Contains(out, "master") {
		t.Errorf("vipilot status: %v\n%s", err, out)
	}
}

// startEcho starts a TCP server on a host for the length of the test.
func (f *fleet) startEcho(app *lab.App, port uint16) {
	f.t.Helper()
	server, err := app.StartEcho(port)
	f.must(err)
	f.t.Cleanup(server.Kill)
}

// echo sends a line over TCP and wants it back.
func (f *fleet) echo(address string) error { return f.echoFrom(f.Client, address) }

func (f *fleet) echoFrom(from *lab.Host, address string) error {
	ctx, cancel := context.WithTimeout(f.ctx, 5*time.Second)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintln(conn, "hello"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && line != "hello\n" {
		err = fmt.Errorf("echo of hello: %q", line)
	}
	return err
}

func TestIPv6(t *testing.T) {
	f := start(t, todoService)
	fleet := f.FleetConfig()
	fleet["fleet.yaml"] = strings.ReplaceAll(fleet["fleet.yaml"], "[203.0.113.10]", `[203.0.113.10, "2001:db8::10"]`)
	fleet["fleet.yaml"] += `      edge6: {address: "2001:db8:77::1", asn: 65000, password_file: secrets/bgp, ttl_security: true}` + "\n"
	f.must(f.UpdateConfig(fleet))
	f.todo(f.App1, "web-1")
	f.boot()
	f.awaitAnswer()
	f.await("answer over IPv6", func() error {
		_, err := f.get("["+lab.VIP6+"]", "todo.example.net", "/")
		return err
	})
}

// Replicas come and go on both hosts; HAProxy is never reloaded for it.
func TestScale(t *testing.T) {
	f := start(t, todoService)
	f.todo(f.App1, "web-1")
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	before := f.reloads(f.LB1)
	load := f.load(200, true)
	f.todo(f.App1, "web-2")
	f.todo(f.App2, "web-3")
	f.todo(f.App2, "web-4", "START_DELAY=1s") // runs, but does not listen yet
	f.awaitContainers(4)
	f.must(f.App1.Stop(f.ctx, "web-1"))
	f.must(f.App2.Stop(f.ctx, "web-3"))
	f.awaitContainers(2)
	f.lossless("scale 1, 4, 2", load)
	if after := f.reloads(f.LB1); after != before {
		t.Errorf("HAProxy was reloaded %d times for endpoints alone", after-before)
	}
	f.awaitStatus(f.LB1, "stopped containers gone", func(r status.Report) error {
		if all := r.Services["todo"].Endpoints; len(all) != 2 {
			return fmt.Errorf("endpoints %+v", all)
		}
		return nil
	})
}

// Every container is replaced while the public asks, and no request fails.
func TestRollingReplacement(t *testing.T) {
	f := start(t, todoService)
	apps := []*lab.App{f.App1, f.App2, f.App1, f.App2}
	for i, app := range apps {
		f.todo(app, fmt.Sprintf("old-%d", i))
	}
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitContainers(4)
	kept, closing := f.load(250, true), f.load(250, false)
	for i, app := range apps {
		name := fmt.Sprintf("new-%d", i)
		f.todo(app, name, "VERSION=2")
		f.awaitStatus(f.LB1, "new container ready", inState(app.Name+"/"+name, "ready"))
		f.must(app.Stop(f.ctx, fmt.Sprintf("old-%d", i)))
	}
	f.lossless("keep-alive", kept)
	f.lossless("a connection each", closing)
	if a, err := f.get(lab.VIP, "todo.example.net", "/"); err != nil || a.Version != "2" {
		t.Errorf("after the replacement: %+v, %v", a, err)
	}
}

// A request under way when its container is told to stop is answered.
func TestDrainKeepsRequests(t *testing.T) {
	f := start(t, todoService)
	f.todo(f.App1, "web-1", "GRACE=2s")
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	f.todo(f.App2, "web-2")
	f.awaitContainers(2)
	slow := make(chan error, 10)
	for range cap(slow) {
		go func() { slow <- f.slow(1500) }()
	}
	f.steady(200 * time.Millisecond) // all have reached a container
	f.must(f.App1.Stop(f.ctx, "web-1"))
	for range cap(slow) {
		if err := <-slow; err != nil {
			t.Errorf("a slow request during the drain: %v", err)
		}
	}
}

func (f *fleet) slow(ms int) error {
	client := f.Client.HTTPClient(20*time.Second, false)
	req, err := newRequest(f.ctx, fmt.Sprintf("http://%s/slow?ms=%d", lab.VIP, ms))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return errors.New(resp.Status)
	}
	return nil
}

// Without a ready endpoint the prefix goes, with a reason, and comes back with the first.
func TestVIPWithoutEndpoints(t *testing.T) {
	f := start(t, todoService)
	f.todo(f.App1, "web-1")
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	f.must(f.App1.Kill(f.ctx, "web-1", "SIGKILL"))
	gone := f.await("withdrawal", func() error { return f.routed(lab.VIP + "/32") })
	f.awaitStatus(f.LB1, "a reason", func(r status.Report) error {
		if vip := r.VIPs["public"]; vip.Reason == "" || len(vip.Announced) != 0 || vip.Role != "master" {
			return fmt.Errorf("status of the VIP: %+v", vip)
		}
		return nil
	})
	f.must(f.App1.Start(f.ctx, "web-1"))
	back := f.awaitMaster(f.LB1)
	f.awaitAnswer()
	t.Logf("withdrawn %v after the kill returned, back %v after the start", gone.Round(time.Millisecond), back.Round(time.Millisecond))
}

// Both nodes announce an anycast VIP and the router uses both.
func TestAnycast(t *testing.T) {
	f := start(t, strings.Replace(todoService, "vip: public", "vip: any", 1))
	fleet := f.FleetConfig()
	fleet["anycast.yaml"] = `vips:
  any: {addresses: [203.0.113.53], ha: anycast, announce: {protocols: [bgp]}}
`
	f.must(f.UpdateConfig(fleet))
	f.todo(f.App1, "web-1")
	f.todo(f.App2, "web-2")
	f.boot()
	f.await("two equal routes", func() error {
		return f.routed("203.0.113.53/32", f.LB1.Address, f.LB2.Address)
	})
	f.await("answer", func() error {
		_, err := f.get("203.0.113.53", "todo.example.net", "/")
		return err
	})
	f.must(f.PowerOff(f.ctx, f.LB1))
	f.await("one route after a node died", func() error {
		return f.routed("203.0.113.53/32", f.LB2.Address)
	})
	f.await("an answer of the other", func() error {
		_, err := f.get("203.0.113.53", "todo.example.net", "/")
		return err
	})
}
