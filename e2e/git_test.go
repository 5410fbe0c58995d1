package e2e

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/internal/collector"
	"github.com/vipilot/vipilot/internal/planted"
	"github.com/vipilot/vipilot/status"
)

// forged is the fleet on a Git source, with a secret wherever one can be.
type forged struct {
	*fleet
	*lab.Forge
	secrets     planted.Secrets
	hook, token string // of the nodes
	collector   collector.Collector
	files       map[string]string
}

// gitServices are the services of the scenario; %s are the hosts of todo.
const gitServices = `services:
  todo:
    vip: public
    http: {hosts: [todo.example.net%s], tls: {certificate_file: secrets/todo.pem}}
    backend: {containers: {labels: {app: todo}}, port: 8080, check: {path: /healthz, interval: 500ms, rise: 1, fall: 2}}
  staff:
    vip: public
    http: {hosts: [staff.example.net], basic_auth: {users_file: secrets/users}}
    backend: {servers: [10.77.0.40:80]}
`

// Two nodes follow a repository over HTTPS, with a login, signed commits and
// the webhooks of two forges; whatever happens to the server, the last good
// revision stays. Every round is traced, and nothing that is said has a secret.
func TestGitSource(t *testing.T) {
	f := follow(t)
	load := f.load(100, true)

	f.files["site/services.yaml"] = fmt.Sprintf(gitServices, ", shop.example.net")
	f.taken("a commit", f.pushed(true))
	if _, err := f.get(lab.VIP, "shop.example.net", "/"); err != nil {
		t.Errorf("the commit is in force, but %v", err)
	}
	_, err := f.Git(f.ctx, "reset", "-q", "--hard", "HEAD~1")
	f.must(err)
	f.files["site/services.yaml"] = fmt.Sprintf(gitServices, ", blog.example.net")
	f.taken("a push by force", f.pushed(true))
	if _, err := f.get(lab.VIP, "shop.example.net", "/"); err == nil {
		t.Error("what a push by force took back is still served")
	}
	if _, err := f.get(lab.VIP, "blog.example.net", "/"); err != nil {
		t.Errorf("the new commit is in force, but %v", err)
	}
	good := f.status(f.LB1).Config.Revision

	f.pushed(false)
	f.refused("an unsigned commit", good, "not signed")
	_, err = f.Git(f.ctx, "reset", "-q", "--hard", "HEAD~1")
	f.must(err)
	f.must(f.DeleteBranch(f.ctx))
	f.refused("a deleted branch", good, "there is no branch or tag")
	f.pushed(true)
	f.files["site/services.yaml"] += "  more: {vip: publik}\n"
	f.pushed(true)
	f.refused("a fault", good, "publik")
	f.spoil()
	f.Fail(true)
	f.refused("a server that does not answer", good, "fetch git+https://")
	f.sent(f.LB2, tracedSteps...) // what it has not sent yet goes with it
	f.LB2.KillController()
	f.must(f.LB2.StartVipilot(f.ctx, f.flags()...))
	f.awaitStatus(f.LB2, "the last good revision after a start without the server", func(r status.Report) error {
		if r.Config.Revision != good || r.Config.Error == nil {
			return fmt.Errorf("revision %s, want %s; error %s", r.Config.Revision, good, lab.Text(r.Config.Error))
		}
		return nil
	})
	f.Fail(false)
	f.files["site/services.yaml"] = fmt.Sprintf(gitServices, "")
	f.taken("the server again", f.pushed(true))
	f.lossless("all the while", load)

	f.saysNoSecret()
	f.traced()
}

// follow starts both nodes on a repository with one commit.
func follow(t *testing.T) *forged {
	f := &forged{fleet: start(t, "services: {}\n")}
	f.hook, f.token = f.secrets.Plant("webhook secret", rand.Text()), f.secrets.Plant("token", rand.Text())
	var err error
	f.Forge, err = f.Client.StartForge(lab.ClientAddress, filepath.Join(f.Dir, "forge"), f.secrets.Plant("Git token", rand.Text()))
	f.must(err)
	t.Cleanup(func() {
		if err := f.Forge.Close(); err != nil {
			t.Error(err)
		}
	})
	f.must(errors.Join(os.WriteFile(f.secret("hook"), []byte(f.hook), 0o600), os.WriteFile(f.secret("status"), []byte(f.token), 0o600)))
	f.collect()
	f.fill()
	first := f.pushed(true)
	f.todo(f.App1, "web-1")
	f.boot(f.flags()...)
	f.settled()
	f.awaitContainers(1)
	for _, n := range f.Nodes() {
		if got := f.status(n).Config.Revision; got != first {
			t.Errorf("%s runs %s, want %s", n.Name, got, first)
		}
	}
	return f
}

func (f *forged) secret(name string) string { return filepath.Join(f.Dir, "forge", "node-"+name) }

// flags are those of every node. A poll is too far off to help.
func (f *forged) flags() []string {
	return []string{"--config", f.URL + "?ref=main&path=site&allowed_signers=" + f.SignersFile, "--git-token-file", f.TokenFile, "--git-ca-file", f.CAFile,
		"--sync-interval", "1h", "--webhook-secret-file", f.secret("hook"), "--token-file", f.secret("status"), "--otlp-endpoint", "http://" + lab.ClientAddress + ":4318"}
}

// collect takes traces on the client.
func (f *forged) collect() {
	listener, err := f.Client.Listen(net.JoinHostPort(lab.ClientAddress, "4318"))
	f.must(err)
	server := &http.Server{Handler: &f.collector, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	f.t.Cleanup(func() { _ = server.Close() })
}

// fill makes the configuration, with secrets of every kind.
func (f *forged) fill() {
	site, key, err := f.secrets.Pair("key of a site", "todo.example.net", "shop.example.net", "blog.example.net")
	f.must(err)
	f.files = map[string]string{
		"site/services.yaml": fmt.Sprintf(gitServices, ""), "site/secrets/todo.pem": string(site) + string(key),
		"site/secrets/vrrp":  f.secrets.Plant("VRRP password", rand.Text()[:8]) + "\n",
		"site/secrets/users": "ann:$6$abcdefgh$" + f.secrets.Plant("htpasswd hash", (rand.Text() + rand.Text() + rand.Text() + rand.Text())[:86]) + "\n",
	}
	for name, text := range f.FleetConfig() {
		text = strings.Replace(text, "{advert_interval: 200ms, preempt_delay: 1s}", "{advert_interval: 1s, password_file: secrets/vrrp}", 1)
		f.files["site/"+name] = text
	}
	f.secrets.Plant("BGP password", strings.TrimSpace(f.files["site/secrets/bgp"]))
	for name, text := range f.dockerFiles() {
		f.files["site/"+name] = string(f.secrets.PlantKey("key for Docker", []byte(text)))
	}
}

// pushed commits the files and pushes them, signed or not.
func (f *forged) pushed(sign bool) (commit string) {
	f.t.Helper()
	commit, err := f.Push(f.ctx, f.files, sign)
	f.must(err)
	return commit
}

// hooked sends a webhook to every node, and first one that somebody forged.
func (f *forged) hooked() {
	f.t.Helper()
	const body = `{"ref":"refs/heads/main"}`
	github := func(secret string) http.Header {
		sum := hmac.New(sha256.New, []byte(secret))
		io.WriteString(sum, body)
		return http.Header{"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(sum.Sum(nil))}}
	}
	gitlab := func(secret string) http.Header { return http.Header{"X-Gitlab-Token": {secret}} }
	for n, sign := range map[*lab.Node]func(string) http.Header{f.LB1: github, f.LB2: gitlab} {
		for secret, want := range map[string]int{"somebody else's": http.StatusUnauthorized, f.hook: http.StatusAccepted} {
			request, err := http.NewRequestWithContext(f.ctx, http.MethodPost, "http://"+lab.StatusAddress+"/v1/sync", strings.NewReader(body))
			f.must(err)
			request.Header = sign(secret)
			f.await("room for a webhook", func() error { // they are rate limited
				answer, err := n.HTTPClient(lab.Patience, false).Do(request.Clone(f.ctx)) // a second try would be a second look
				if err != nil {
					return err
				}
				defer answer.Body.Close()
				if answer.StatusCode == http.StatusTooManyRequests {
					return errors.New(answer.Status)
				}
				if answer.StatusCode != want {
					f.t.Errorf("%s answers a webhook with %s, want %d", n.Name, answer.Status, want)
				}
				return nil
			})
		}
	}
}

// taken sends webhooks and waits until both nodes run the commit.
func (f *forged) taken(what, commit string) {
	f.t.Helper()
	f.hooked()
	for _, n := range f.Nodes() {
		f.awaitStatus(n, what, func(r status.Report) error {
			if r.Config.Revision != commit || r.Config.Error != nil || !r.Ready {
				return fmt.Errorf("revision %s, want %s; error %s", r.Config.Revision, commit, lab.Text(r.Config.Error))
			}
			return nil
		})
	}
}

// refused sends webhooks and waits until both nodes say why they stay.
func (f *forged) refused(what, good, why string) {
	f.t.Helper()
	f.hooked()
	for _, n := range f.Nodes() {
		f.awaitStatus(n, what, func(r status.Report) error {
			if !strings.Contains(lab.Text(r.Config.Error), why) {
				return fmt.Errorf("error %q, want %q", lab.Text(r.Config.Error), why)
			}
			if r.Config.Revision != good {
				f.t.Errorf("%s: %s runs %s, want %s", what, n.Name, r.Config.Revision, good)
			}
			return nil
		})
	}
}

// spoil pushes a commit in which every file with a secret is broken.
func (f *forged) spoil() {
	f.t.Helper()
	whole := maps.Clone(f.files)
	for name, text := range f.files {
		if strings.Contains(name, "secrets/") || strings.HasSuffix(name, "key.pem") {
			f.files[name] = "password = " + text[:len(text)-len(text)/3] + " " + text
		}
	}
	f.pushed(true)
	f.refused("broken secrets", f.status(f.LB1).Config.Revision, "certificate_file")
	maps.Copy(f.files, whole)
}

// saysNoSecret reads all that the nodes, their daemons and their commands say.
func (f *forged) saysNoSecret() {
	f.t.Helper()
	draft := filepath.Join(f.Work, "site")
	f.must(os.WriteFile(filepath.Join(draft, "secrets/vrrp"), []byte(f.secrets.Plant("new VRRP password", rand.Text()[:8])), 0o600))
	for _, n := range f.Nodes() {
		said := map[string]string{"logs": n.Logs(1 << 20)}
		for _, path := range []string{"/v1/status", "/v1/node", "/", "/services/todo", "/services/staff", "/metrics", "/metrics/haproxy?scope=server", "/v1/traffic?service=todo",
			"/v1/explain?subject=todo", "/v1/explain?subject=http://staff.example.net/", "/v1/explain?subject=public", "/v1/explain?subject=app1/web-1", "/readyz", "/v1/events"} {
			said[path] = f.read(n, path)
		}
		for _, command := range [][]string{{"status"}, {"status", "--json"}, {"explain", "staff"}, {"plan", draft, "--diff"}, {"plan", draft, "--diff", "--json"}} {
			out, err := n.Vipilot(f.ctx, command...)
			f.must(err)
			said["vipilot "+strings.Join(command, " ")] = out
		}
		for what, text := range said {
			if len(text) < 3 {
				f.t.Errorf("%s: %s says nothing", n.Name, what)
			}
			for _, leak := range f.secrets.In(text) {
				f.t.Errorf("%s: %s tells the %s", n.Name, what, leak)
			}
		}
	}
}

// read is the answer to GET; of events, which have no end, the beginning.
func (f *forged) read(n *lab.Node, path string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, lab.Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lab.StatusAddress+path, nil)
	f.must(err)
	request.Header.Set("Last-Event-ID", "1")
	var said []byte
	f.await(n.Name+": GET "+path, func() error { // who is asked for much at a time says so
		answer, err := n.HTTPClient(0, false).Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		text := bufio.NewReader(answer.Body)
		if path == "/v1/events" && answer.StatusCode == http.StatusOK {
			if _, err := text.Peek(100); err != nil { // an event, and what the stream begins with
				return err
			}
			defer time.AfterFunc(time.Second, cancel).Stop()
		}
		said, _ = io.ReadAll(text)
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %s", answer.Status, said)
		}
		return nil
	})
	return string(said)
}

// tracedSteps are those of a round, as far as a scenario takes them.
var tracedSteps = []string{"round", "round/event", "round/fold", "round/desire", "round/keepalived/keepalived render", "round/keepalived/keepalived check",
	"round/keepalived/keepalived start", "round/speaker", "round/haproxy/haproxy render", "round/haproxy/haproxy check", "round/haproxy/haproxy update"}

// sent waits until a node's traces have these steps.
func (f *forged) sent(n *lab.Node, steps ...string) {
	f.t.Helper()
	f.await("traces of "+n.Name, func() error {
		missing := make(map[string]bool)
		for _, name := range steps {
			missing[name] = true
		}
		for _, trace := range f.collector.Traces() {
			if trace[0].About["service.instance.id"] != n.Name {
				continue
			}
			for i, name := range collector.Names(trace) {
				delete(missing, name)
				if s := trace[i]; s.Start.Before(trace[0].Start) || s.End.Before(s.Start) || name != "round" && s.End.After(trace[0].End.Add(time.Millisecond)) {
					f.t.Errorf("%s from %s to %s does not lie in its round, from %s to %s", name, s.Start, s.End, trace[0].Start, trace[0].End)
				}
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("missing: %q", slices.Sorted(maps.Keys(missing)))
		}
		return nil
	})
}

// traced wants to see every step of a round in the traces of each node.
func (f *forged) traced() {
	f.t.Helper()
	for _, n := range f.Nodes() {
		f.sent(n, tracedSteps...)
	}
	for _, trace := range f.collector.Traces() {
		for _, s := range trace {
			for _, leak := range f.secrets.In(fmt.Sprint(s)) {
				f.t.Errorf("a trace tells the %s", leak)
			}
		}
	}
}
