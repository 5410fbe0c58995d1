package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

const intra = "10.77.0.101" // the VIP of the examples' private network

var overSSH = regexp.MustCompile(`docker: "ssh://vipilot@(10\.77\.0\.1[12])"`)

// adapted is a configuration of the examples or the documentation, with the
// lab's engines. Further changes are pairs of old and new text, which must be there.
func adapted(t *testing.T, text string, changes ...string) string {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("there is no %q to adapt in\n%s", changes[i], text)
		}
	}
	text = strings.NewReplacer(changes...).Replace(text)
	return overSSH.ReplaceAllString(text, `docker: "tcp://$1:2376", tls: {ca_file: docker/ca.pem, cert_file: docker/cert.pem, key_file: docker/key.pem}`)
}

// example starts a scenario on one of the examples.
func example(t *testing.T, name string, changes ...string) *fleet {
	f := start(t, "services: {}\n")
	files, err := filepath.Glob(filepath.Join(lab.Source(), "examples", name, "*.yaml"))
	f.must(err)
	written := make(map[string]string)
	var all bytes.Buffer
	for _, file := range files {
		data, err := os.ReadFile(file)
		f.must(err)
		all.Write(data)
		written[filepath.Base(file)] = string(data)
	}
	adapted(t, all.String(), changes...) // every change applies somewhere
	for name, text := range written {
		var here []string
		for i := 0; i < len(changes); i += 2 {
			if strings.Contains(text, changes[i]) {
				here = append(here, changes[i], changes[i+1])
			}
		}
		written[name] = adapted(t, text, here...)
	}
	f.must(f.WriteConfig(written))
	return f
}

// labelled starts a container that publishes 8080 and wears these labels.
func (f *fleet) labelled(app *lab.App, name string, labels ...string) (id string) {
	f.t.Helper()
	wears := make(map[string]string)
	for i := 0; i < len(labels); i += 2 {
		wears[labels[i]] = labels[i+1]
	}
	return f.launch(app, lab.Container{Name: name, Labels: wears, Publish: 8080})
}

// answeredBy waits until a site is answered by all these containers, and by no other.
func (f *fleet) answeredBy(from *lab.Host, address, site, path string, ids ...string) {
	f.t.Helper()
	f.await(fmt.Sprintf("%s%s at %s answered by %v", site, path, address, ids), func() error {
		seen := make(map[string]bool)
		for range 4 * len(ids) {
			a, err := f.getFrom(from, address, site, path)
			if err != nil {
				return err
			}
			seen[a.Container] = true
		}
		for _, id := range ids {
			if !seen[id] {
				return fmt.Errorf("%s does not answer, %v do", id, seen)
			}
			delete(seen, id)
		}
		if len(seen) > 0 {
			return fmt.Errorf("%v answer as well", seen)
		}
		return nil
	})
}

// examples/pair: services by name on a private VIP, a database beside them;
// either application host and either balancer dies.
func TestExamplePair(t *testing.T) {
	f := example(t, "pair", `image: "ghost:*"`, `name: "blog-*"`, "sticky: {cookie: SRV}", "slow_start: 1s",
		"10.77.0.40:5432", "10.77.0.11:9100", "10.77.0.41:5432", "10.77.0.12:9100")
	todo1, todo2 := f.labelled(f.App1, "todo-1", "app", "todo"), f.labelled(f.App2, "todo-1", "app", "todo")
	blog := f.labelled(f.App2, "blog-1")
	f.startEcho(f.App1, 9100)
	f.startEcho(f.App2, 9100)
	f.boot()
	f.answeredBy(f.Client, intra, "todo.example.net", "/", todo1, todo2)
	f.answeredBy(f.Client, intra, "de.blog.example.net", "/", blog)
	f.await("the database from the private network", func() error { return f.echoFrom(f.Router.Host, intra+":5432") })
	if err := f.echo(intra + ":5432"); err == nil {
		t.Error("the database answers a client that is not allowed")
	}

	f.must(f.Cut(f.ctx, f.App1.Host))
	f.answeredBy(f.Client, intra, "todo.example.net", "/", todo2)
	f.await("the standby of the database", func() error { return f.echoFrom(f.Router.Host, intra+":5432") })
	f.must(f.Join(f.ctx, f.App1.Host))
	f.answeredBy(f.Client, intra, "todo.example.net", "/", todo1, todo2)

	f.holdsIntra(f.LB1)
	f.must(f.PowerOff(f.ctx, f.LB1))
	took := f.await("an answer through lb2", func() error {
		_, err := f.get(intra, "todo.example.net", "/")
		return err
	})
	t.Logf("served again %v after the master died", took.Round(10*time.Millisecond))
	f.answeredBy(f.Client, intra, "todo.example.net", "/", todo1, todo2)
}

// examples/stages: the same services twice on one port of two VIPs; a container of
// one stage is never served under the other, whatever it wears.
func TestExampleStages(t *testing.T) {
	const staging = "10.77.0.102"
	f := example(t, "stages", "port: 9000", "port: 8080")
	inside := f.Router.Host // staging is open to private networks
	shop := f.labelled(f.App1, "shop-1", "app", "shop", "stage", "production")
	api := f.labelled(f.App2, "api-1", "app", "api", "stage", "production")
	next := f.labelled(f.App1, "shop-next", "app", "shop", "stage", "staging", "vipilot.service", "shop")
	nextAPI := f.labelled(f.App2, "api-next", "app", "api", "stage", "staging")
	f.labelled(f.App1, "stray", "app", "shop", "vipilot.service", "shop")
	f.labelled(f.App2, "typo", "app", "shop", "stage", "prodution")
	f.boot()
	f.answeredBy(f.Client, intra, "shop.example.net", "/", shop)
	f.answeredBy(f.Client, intra, "shop.example.net", "/api/orders", api)
	f.answeredBy(inside, staging, "shop.example.net", "/", next)
	f.answeredBy(inside, staging, "shop.staging.example.net", "/api/orders", nextAPI)
	if a, err := f.get(staging, "shop.staging.example.net", "/"); err == nil {
		t.Errorf("the public gets %+v from staging", a)
	}
	if a, err := f.get(intra, "shop.staging.example.net", "/"); err == nil {
		t.Errorf("production answers for staging's name: %+v", a)
	}
	for _, name := range []string{"stray", "typo"} {
		if a := f.ask(f.LB1, name); !strings.HasPrefix(a.Reason, "not_selected") {
			t.Errorf("%s: %s, want not_selected", name, a.Reason)
		}
	}
	f.must(f.App1.Stop(f.ctx, "shop-1")) // then nobody serves it, and nobody takes its place
	f.await("production without an endpoint", func() error {
		if a, err := f.get(intra, "shop.example.net", "/"); err == nil {
			return fmt.Errorf("answered by %+v", a)
		}
		return nil
	})
	f.steady(time.Second)
	if a, err := f.get(intra, "shop.example.net", "/"); err == nil {
		t.Errorf("production is answered by %+v", a)
	}
	f.answeredBy(inside, staging, "shop.example.net", "/", next)
}

// examples/home: one machine is node and host, nothing is published, and
// certificates come from an authority through the address it has anyway.
func TestExampleHome(t *testing.T) {
	const home = "10.77.0.11"
	f := example(t, "home")
	authority, err := f.StartAuthority(f.ctx, home)
	f.must(err)
	defer func() { f.must(authority.Stop()) }()
	written, err := os.ReadFile(filepath.Join(lab.Source(), "examples/home/vipilot.yaml"))
	f.must(err)
	f.must(f.WriteConfig(map[string]string{"vipilot.yaml": adapted(t, string(written),
		"10.77.0.5", home, "  home: {", "  app1: {", "unix:///var/run/docker.sock", f.App1.Socket(),
		"letsencrypt: {email", fmt.Sprintf("letsencrypt: {directory: %q, ca_file: %s, email", authority.Directory, authority.CAFile))}))
	git := f.launch(f.App1, lab.Container{Name: "gitea", Labels: map[string]string{"vipilot.service": "git"}, Env: []string{"PORT=3000"}})
	f.launch(f.App1, lab.Container{Name: "blog-web-1", Labels: map[string]string{"com.docker.compose.project": "blog", "com.docker.compose.service": "web"}})
	f.launch(f.App1, lab.Container{Name: "files-1", Env: []string{"PORT=80"}, Publish: 80, HostIP: "127.0.0.1"}) // its own machine's HAProxy may
	f.launch(f.App1, lab.Container{Name: "files-2", Network: "none"})
	node := f.App1.Home()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs:\n%s", node.Logs(30))
		}
		if err := node.End(); err != nil {
			t.Error(err)
		}
	})
	f.must(node.StartVipilot(f.ctx))
	for _, site := range []string{"git.example.net", "blog.example.net", "www.example.net", "files.example.net"} {
		took := f.await("a certificate for "+site, func() error {
			leaf, err := f.shownAt(home, site)
			if err == nil && !strings.Contains(leaf.Issuer.CommonName, "Pebble") {
				err = fmt.Errorf("issued by %s", leaf.Issuer)
			}
			return err
		})
		t.Logf("%s has a certificate after another %v", site, took.Round(10*time.Millisecond))
		f.await(site, func() error { return f.securedAt(home, site) })
	}
	if a := f.ask(node, "files-2"); !strings.HasPrefix(a.Reason, "network_none") {
		t.Errorf("files-2: %s", a.Reason)
	}
	if to, err := f.redirected(home, "example.net"); err != nil || to != "http://blog.example.net/" {
		t.Errorf("example.net leads to %q, %v", to, err)
	}

	before := f.ready(node).Components.HAProxy.Reloads
	was := f.bridged(f.App1, "gitea")
	f.servedAt(node, "git", was+":3000")
	f.must(f.App1.Stop(f.ctx, "gitea"))
	f.await("gitea's address to be free", func() error { // docker stop may return before that
		if at := f.bridged(f.App1, "gitea"); at != "" {
			return errors.New("it has " + at)
		}
		return nil
	})
	f.launch(f.App1, lab.Container{Name: "squatter", Env: []string{"PORT=3000"}}) // takes its address
	f.must(f.App1.Start(f.ctx, git))
	is := f.bridged(f.App1, "gitea")
	if is == was {
		t.Errorf("gitea is still at %s, the scenario proves nothing", is)
	}
	after := f.servedAt(node, "git", is+":3000")
	f.await("git.example.net at its new address", func() error { return f.securedAt(home, "git.example.net") })
	if n := after.Components.HAProxy.Reloads - before; n != 0 {
		t.Errorf("%d reloads for a container that moved", n)
	}
}

// bridged is a container's address on the engine's own network, "" for none.
func (f *fleet) bridged(app *lab.App, name string) string {
	f.t.Helper()
	seen, err := app.Docker.ContainerInspect(f.ctx, name)
	f.must(err)
	return seen.NetworkSettings.IPAddress
}

// servedAt waits until a service has one endpoint, ready at an address.
func (f *fleet) servedAt(n *lab.Node, service, address string) status.Report {
	f.t.Helper()
	return f.awaitStatus(n, service+" at "+address, func(r status.Report) error {
		if e := r.Services[service].Endpoints; len(e) != 1 || e[0].State != "ready" || e[0].Address != address {
			return fmt.Errorf("%s: %+v", service, r.Services[service])
		}
		return lab.Applied(r)
	})
}

// redirected is where plain HTTP to a site leads.
func (f *fleet) redirected(address, site string) (string, error) {
	client := f.Client.HTTPClient(5*time.Second, false)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return "", err
	}
	req.Host = site
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	return resp.Header.Get("Location"), resp.Body.Close()
}

// examples/private: what its owner bound to 127.0.0.1 stays private, also where
// the host's own proxy could reach it; the rest is served.
func TestExamplePrivate(t *testing.T) {
	f := example(t, "private", "port: 9001", "port: 8080")
	for _, app := range f.Apps() {
		f.launch(app, lab.Container{Name: "console", Labels: map[string]string{"app": "console"}, Publish: 8080, HostIP: "127.0.0.1"})
	}
	shop1 := f.labelled(f.App1, "shop-1", "app", "shop")
	shop2 := f.launch(f.App2, lab.Container{Name: "shop-1", Labels: map[string]string{"app": "shop"}})
	f.must(f.App2.Tier().StartVipilot(f.ctx, "--docker", f.App2.Socket()))
	f.boot()
	f.answeredBy(f.Client, intra, "shop.example.net", "/", shop1, shop2)
	f.awaitStatus(f.LB1, "two refusals", func(r status.Report) error {
		s := r.Services["console"]
		if len(s.Endpoints) != 0 || len(s.Rejected) != 2 {
			return fmt.Errorf("console: %+v", s)
		}
		for _, c := range s.Rejected {
			if c.Reason != "published_on_loopback" || c.Detail == "" {
				return fmt.Errorf("console: %+v", c)
			}
		}
		return nil
	})
	if a, err := f.get(intra, "console.example.net", "/"); err == nil {
		t.Errorf("a private port is served: %+v", a)
	}
	if a := f.ask(f.LB1, "app2/console"); !strings.HasPrefix(a.Reason, "published_on_loopback") || a.Next == "" {
		t.Errorf("app2/console: %s → %s", a.Reason, a.Next)
	}
}

// docs/getting-started.md, step by step.
func TestGettingStarted(t *testing.T) {
	f := start(t, "services: {}\n")
	page, err := os.ReadFile(filepath.Join(lab.Source(), "docs/getting-started.md"))
	f.must(err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d YAML blocks, want the configuration and its change", len(blocks))
	}
	first := adapted(t, blocks[0][1])
	f.must(f.WriteConfig(map[string]string{"vipilot.yaml": first}))
	do := func(command string, args ...string) string {
		t.Helper()
		if !strings.Contains(string(page), "vipilot "+command) {
			t.Errorf("the page does not say vipilot %s", command)
		}
		out, err := f.LB1.Run(f.ctx, f.Binary(), append(strings.Fields(command), args...)...)
		if err != nil {
			t.Errorf("vipilot %s: %v\n%s", command, err, out)
		}
		return out
	}
	if out := do("validate", f.RepoDir()); !strings.Contains(out, "2 nodes, 2 hosts, 1 VIP, 1 service") {
		t.Error(out)
	}
	do("render", f.RepoDir(), "--node", "lb1", "-o", t.TempDir())
	f.boot()
	web1, web2 := f.labelled(f.App1, "web-1", "app", "todo"), f.labelled(f.App2, "web-1", "app", "todo")
	f.answeredBy(f.Client, intra, "todo.example.net", "/", web1, web2)
	at := []string{"--run-dir", f.LB1.RunDir}
	f.holdsIntra(f.LB1) // lb2 may have been first, and keeps the VIP for a while
	f.awaitStatus(f.LB1, "who has the VIP knows both", lab.EndpointsReady(2))
	if out := do("status", at...); !strings.Contains(out, "master") {
		t.Error(out)
	}
	for _, subject := range []string{"explain http://todo.example.net/", "explain web-1"} {
		do(subject, at...)
	}
	if out := do("simulate", append([]string{f.RepoDir(), "--all"}, at...)...); !strings.Contains(out, "0 of 4 single failures lose a service") {
		t.Error(out)
	}

	next := t.TempDir()
	more := "services:\n" + strings.SplitN(blocks[1][1], "services:\n", 2)[1]
	f.must(errors.Join(os.CopyFS(next, os.DirFS(f.RepoDir())), os.WriteFile(filepath.Join(next, "blog.yaml"), []byte(more), 0o600)))
	if out := do("plan", append([]string{next}, at...)...); !strings.Contains(out, "+ service blog") || !strings.Contains(out, "reload") {
		t.Error(out)
	}
	f.must(f.UpdateConfig(map[string]string{"blog.yaml": more}))
	blog := f.labelled(f.App1, "blog-1", "app", "blog")
	f.answeredBy(f.Client, intra, "blog.example.net", "/", blog)

	f.awaitStatus(f.LB2, "who stands by knows both", lab.EndpointsReady(2))
	load := lab.Load{From: f.Client, URL: "http://" + intra + "/", Name: "todo.example.net", Method: http.MethodPost, Rate: 100, KeepAlive: true, Timeout: 10 * time.Second}.Start(f.ctx)
	do("drain node --wait", at...)
	f.holdsIntra(f.LB2)
	f.relieved("drain", load)
	do("drain node --undo", at...)
	f.holdsIntra(f.LB1)
}

// holdsIntra waits until a node says that it holds the examples' private VIP.
func (f *fleet) holdsIntra(n *lab.Node) {
	f.t.Helper()
	f.awaitStatus(n, n.Name+" holds the VIP", func(r status.Report) error {
		if role := r.VIPs["intra"].Role; role != "master" {
			return fmt.Errorf("it is %s", role)
		}
		return nil
	})
}
