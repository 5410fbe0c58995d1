package controller

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// tieredPair is the pair with a proxy on app1.
var tieredPair = strings.NewReplacer(
	`app1: {docker: "tcp://10.77.0.11:2375"}`, `app1: {docker: "tcp://10.77.0.11:2375", proxy: {port: 7080}}`,
	"balance: leastconn,", "sticky: {cookie: SRV},").Replace(pair)

// silent is a container that publishes nothing.
func silent(n int) discovery.Container {
	c := web(n, "app", "todo")
	c.Published = nil
	return c
}

// hostInput is what the proxy of app1 knows.
func hostInput(t testing.TB, s discovery.Snapshot) Input {
	t.Helper()
	cfg, err := atHost(load(t, tieredPair), "app1")
	if err != nil {
		t.Fatal(err)
	}
	return Input{Node: "app1", Tier: &Tier{Certificate: []byte("pem")}, Config: cfg,
		Hosts: map[string]discovery.Snapshot{"app1": s}, Answered: make(map[string]*Answers)}
}

// What a node asks for by name is what the host's proxy has: neither more nor
// under another name.
func TestNodeAndTierAgree(t *testing.T) {
	engine := snapshot("app1", silent(1), silent(2), web(3, "app", "todo"))
	other := silent(4)
	node := input(t, engine, snapshot("app2", other, web(5, "app", "todo")))
	node.Config = load(t, tieredPair)
	asked := answerAll(t, &node)
	host := hostInput(t, engine)
	has := answerAll(t, &host)

	var names []string
	for _, s := range backend(t, asked, "todo").Servers {
		if s.Via == "" {
			continue
		}
		names = append(names, s.Via)
		if s.Address != netip.MustParseAddrPort("10.77.0.11:7080") || s.Source != netip.MustParseAddr("10.77.0.21") {
			t.Errorf("server %+v", s)
		}
		if strings.Contains(s.Name, "web") {
			t.Errorf("a cookie would tell of %s", s.Name)
		}
	}
	var gate []string
	for _, s := range backend(t, has, haproxy.Gate).Servers {
		gate = append(gate, s.Name)
	}
	slices.Sort(names)
	if len(names) != 2 || !slices.Equal(names, gate) {
		t.Errorf("the node asks for %v, the gate has %v", names, gate)
	}
	if rejected := asked.Pools["todo"].Rejected; len(rejected) != 1 || rejected[0].Name != "app2/web-4" {
		t.Errorf("rejected %+v", rejected)
	}
	tier := has.HAProxy.Tier
	if tier.Bind != netip.MustParseAddrPort("10.77.0.11:7080") || len(tier.Nodes) != 2 || tier.Idle != time.Hour {
		t.Errorf("tier %+v", tier)
	}
	if len(has.HAProxy.Frontends) != 0 || len(has.VRRP.Instances) != 0 || len(has.Routing.Prefixes) != 0 || len(has.Anycast) != 0 {
		t.Errorf("a host has more than its tier: %+v", has)
	}
	if len(backend(t, has, "dns").Servers) != 0 {
		t.Error("a tier has static servers")
	}
}

// Where servers share a host's proxy, and end with it, a node tries more of
// them than HAProxy does by itself; what is declared counts all the same.
func TestTieredRetries(t *testing.T) {
	for _, c := range []struct {
		text string
		want *int
	}{
		{pair, nil},
		{tieredPair, new(tieredRetries)},
		{strings.Replace(tieredPair, "sticky: {cookie: SRV},", "retries: 2,", 1), new(2)},
	} {
		in := input(t, snapshot("app1", silent(1)), snapshot("app2"))
		in.Config = load(t, c.text)
		if diff := cmp.Diff(c.want, backend(t, answerAll(t, &in), "todo").Retries); diff != "" {
			t.Errorf("retries (-want +got):\n%s", diff)
		}
	}
}

// A container that stops leaves the gate and may finish behind it; one that
// has not answered is nowhere; a drained host is the nodes' business.
func TestTierDrain(t *testing.T) {
	stopping := silent(1)
	stopping.State = discovery.Stopping
	in := hostInput(t, snapshot("app1", stopping, silent(2)))
	if d := desire(t, in); len(backend(t, d, haproxy.Gate).Servers)+len(backend(t, d, "todo").Servers) != 0 {
		t.Error("a container that has not answered is a server")
	}
	d := answerAll(t, &in)
	state := make(map[haproxy.ServerState]int)
	for _, s := range backend(t, d, haproxy.Gate).Servers {
		state[s.State]++
	}
	for _, s := range backend(t, d, "todo").Servers {
		if s.State != haproxy.Ready || s.Weight != 0 {
			t.Errorf("behind the gate: %+v", s)
		}
	}
	if state[haproxy.Maint] != 1 || state[haproxy.Ready] != 1 {
		t.Errorf("at the gate: %v", state)
	}
	drained, err := config.Load(config.Tree{"v.yaml": []byte(strings.Replace(tieredPair, "proxy: {port: 7080}", "proxy: {port: 7080}, state: drain", 1))})
	if err != nil {
		t.Fatal(err)
	}
	if in.Config, err = atHost(drained, "app1"); err != nil {
		t.Fatal(err)
	}
	if s := backend(t, desire(t, in), haproxy.Gate).Servers; s[0].State == haproxy.Drain || s[1].State == haproxy.Drain {
		t.Errorf("the proxy of a drained host refuses sessions that remain: %+v", s)
	}
}

// The planner remembers; what it says must be what it would say anew.
func TestTierPlannerRemembers(t *testing.T) {
	in := hostInput(t, snapshot("app1", silent(1)))
	plan := new(planner)
	before, err := plan.desire(in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := plan.desire(in)
	if err != nil || !slices.Equal(before.HAProxy.Backends, again.HAProxy.Backends) {
		t.Errorf("nothing changed, and the backends are others: %v", err)
	}
	answerAll(t, &in)
	after, err := plan.desire(in)
	if err != nil {
		t.Fatal(err)
	}
	if kind, causes := haproxy.Compare(before.HAProxy, after.HAProxy); kind != haproxy.Runtime {
		t.Errorf("a container that answers: %s %v", kind, causes)
	}
}

func TestHostWithoutProxy(t *testing.T) {
	for host, want := range map[string]string{"app2": "has no proxy", "app9": "not declared (declared: app1, app2)"} {
		if _, err := atHost(load(t, tieredPair), host); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// What is rendered for a host is taken by the checks of its HAProxy's room,
// with containers that are named by hand.
func TestRenderTier(t *testing.T) {
	given := Given{"todo": {{Name: "app1/web-1", Address: netip.MustParseAddrPort("172.17.0.2:8080")}}}
	files, err := RenderTier(load(t, tieredPair), "app1", given, "/run/vipilot")
	if err != nil {
		t.Fatal(err)
	}
	text := string(files[haproxy.ConfigFile])
	for _, line := range []string{"bind 10.77.0.11:7080 transparent", "reject unless { src 10.77.0.21 10.77.0.22 }", "addr 172.17.0.2 port 8080 weight 0", " 172.17.0.2:8080 weight 0"} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is not in\n%s", line, text)
		}
	}
	if _, err := tls.X509KeyPair(files["certs/tier.pem"], files["certs/tier.pem"]); err != nil {
		t.Error(err)
	}
}

// The certificate is made once.
func TestTierCertificate(t *testing.T) {
	dir := t.TempDir()
	read := func() string {
		l := &loop{opts: Options{StateDir: dir, Host: "app1"}, log: slog.New(slog.DiscardHandler)}
		l.becomeTier()
		if err := l.readCertificate(); err != nil {
			t.Fatal(err)
		}
		return string(l.in.Tier.Certificate)
	}
	first := read()
	if first != read() {
		t.Error("another certificate at the second start")
	}
	if err := WriteFiles(dir, map[string][]byte{"tier.pem": []byte("torn")}); err != nil {
		t.Fatal(err)
	}
	if again := read(); again == "torn" || again == first {
		t.Errorf("a torn certificate is used: %q", filepath.Join(dir, "tier.pem"))
	}
}

// A node dials through a tier: the PROXY header first, then TLS by name.
func TestProbeVia(t *testing.T) {
	certificate, err := newCertificate("app1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, certificate)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const known = "0123456789abcdef.todo.web"
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			header := make([]byte, len(localHeader))
			if _, err := io.ReadFull(conn, header); err != nil || string(header) != localHeader {
				t.Errorf("header %q, %v", header, err)
			}
			inner := tls.Server(conn, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				if hello.ServerName != known {
					return nil, io.EOF
				}
				return &pair, nil
			}})
			if _, err := http.ReadRequest(bufio.NewReader(inner)); err == nil {
				_, _ = io.WriteString(inner, "HTTP/1.1 204 No Content\r\n\r\n")
			}
			inner.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at := probe{address: listener.Addr().String(), source: netip.MustParseAddr("127.0.0.1"), via: known}
	if err := ask(ctx, at); err != nil {
		t.Errorf("a container that the tier knows: %v", err)
	}
	at.path = "/healthz"
	if err := ask(ctx, at); err != nil {
		t.Errorf("its check: %v", err)
	}
	at.via = "fedcba9876543210.todo.web"
	if err := ask(ctx, at); err == nil {
		t.Error("a container that the tier does not know has answered")
	}
}

// Both ends explain one container.
func TestExplainTier(t *testing.T) {
	in := hostInput(t, snapshot("app1", silent(1), web(2, "app", "todo")))
	want := answerAll(t, &in)
	report := &status.Report{Hosts: map[string]status.Host{"app1": {State: "connected", Containers: 2}}}
	report.Components.HAProxy.State = "running"
	checks := func(backend string) (map[string]haproxy.CheckResult, error) {
		if backend != haproxy.Gate {
			t.Errorf("HAProxy is asked for %s", backend)
		}
		return nil, nil
	}
	f := &facts{in: in, want: want, report: report, at: time.Now()}
	for subject, word := range map[string]string{"web-1": "this is the proxy of app1", "web-2": "without this host's proxy", "todo": "todo", "10.77.0.11": "app1", "172.17.0.1": "todo", "http://todo.example.net/": ""} {
		answer := explain(f, status.Question{Subject: subject}, checks)
		text := ""
		for _, step := range answer.Steps {
			text += step.Text + "\n"
		}
		if !strings.Contains(text, word) {
			t.Errorf("%s: %q is not in\n%s", subject, word, text)
		}
	}
}
