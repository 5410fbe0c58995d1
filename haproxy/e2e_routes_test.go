package haproxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// routed is one frontend that routes to backends of the same name as their app.
func routed(t *testing.T, port uint16, routes ...Route) Config {
	c := Config{MaxConn: 1000, Frontends: []Frontend{{Name: "front", Mode: HTTP, Binds: []Bind{{loopback, port}}, Routes: routes,
		Redirects: []Route{{Host: "old.example.net", Path: "/"}}, RedirectPort: 8443}}}
	for _, name := range []string{"any", "api", "exact", "v1", "wild"} {
		c.Backends = append(c.Backends, calmBackend(name, app(t, name)))
	}
	return c
}

func TestE2ERouting(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	want := routed(t, port,
		Route{Host: "a.example.net", Path: "/", Backend: "exact"},
		Route{Host: "a.example.net", Path: "/api", Backend: "api"},
		Route{Host: "*.example.net", Path: "/", Backend: "wild"},
		Route{Host: "*.example.net", Path: "/api/v1/", Backend: "v1"},
		Route{Path: "/any", Backend: "any"},
		Route{Host: "[::1]", Path: "/", Backend: "exact"})
	l.set(want)
	for _, test := range []struct{ host, uri, want string }{
		{"a.example.net", "/", "exact /"},
		{"A.Example.NET", "/x", "exact"},
		{fmt.Sprintf("a.example.net:%d", port), "/x", "exact"},
		{"a.example.net.", "/x", "exact"},
		{"a.example.net", "/api", "api"},
		{"a.example.net", "/api/", "api"},
		{"a.example.net", "/api/x?y=/z", "api /api/x?y=/z"},
		{"a.example.net", "/apix", "exact"},
		{"a.example.net", "/x?/api/", "exact"},
		{"a.example.net", "/api/v1", "v1"}, // the longest path, though the host is exact elsewhere
		{"a.example.net", "/api/v1/x", "v1"},
		{"a.example.net", "/api/v10", "api"},
		{"b.example.net", "/api", "wild"},
		{"b.example.net", "/any/x", "any"},
		{"a.b.example.net", "/", "404"}, // a wildcard is one label
		{"example.net", "/", "404"},
		{"xexample.net", "/", "404"},
		{"[::1]", "/", "exact"},
		{"[::1]:80", "/", "exact"},
		{"127.0.0.1", "/any", "any"},
		{"localhost", "/any", "any"},
		{"-", "/any", "400"}, // no Host header: routed, and refused by the Go application itself
		{"-", "/", "404"},
		{"nobody.test", "/", "404"},
		{"a.example.net", "//api", "exact"}, // paths are compared as they come
		{"a.example.net", "/%61pi", "exact"},
		{"a.example.net", "/a%20b", "exact"},
		{"old.example.net", "/p/q?z=1", "308 https://old.example.net:8443/p/q?z=1"},
		{"old.example.net:80", "//evil.test/", "308 https://old.example.net:8443//evil.test/"},
	} {
		status, body, header := fetch(port, test.host, test.uri)
		got := body
		if status != 200 {
			got = strings.TrimSpace(fmt.Sprint(status, " ", header.Get("Location")))
		}
		if got != test.want && !strings.HasPrefix(got, test.want+" ") {
			t.Errorf("%s%s = %q, want %s", test.host, test.uri, got, test.want)
		}
	}
	_, body, _ := fetch(port, "a.example.net", "/", "X-Forwarded-Proto: https", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil")
	if !strings.HasSuffix(body, "proto=http for=127.0.0.1 evil=") {
		t.Errorf("forwarded headers: %s", body)
	}

	// Routes come and go without a reload, and never lead to an error.
	worker := l.worker()
	front := want.Frontends[0]
	front.Routes = append(front.Routes[1:len(front.Routes):len(front.Routes)], Route{Host: "new.test", Path: "/", Backend: "api"})
	want.Frontends = []Frontend{front}
	if change := l.set(want); change.Kind != Runtime || l.worker() != worker {
		t.Errorf("routes: %+v", change)
	}
	if status, body, _ := fetch(port, "new.test", "/"); status != 200 || !strings.HasPrefix(body, "api") {
		t.Errorf("new route: %d %s", status, body)
	}
	if status, body, _ := fetch(port, "a.example.net", "/"); status != 200 || !strings.HasPrefix(body, "wild") {
		t.Errorf("removed route: %d %s", status, body)
	}
	front.Routes = front.Routes[:len(front.Routes)-1]
	want.Frontends = []Frontend{front}
	l.set(want)
	if status, _, _ := fetch(port, "new.test", "/"); status != 404 {
		t.Errorf("route removed again: %d", status)
	}
}

func TestE2ECertificateRenewal(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	want := simple(port, app(t, "a"))
	secure := func(names ...string) Config {
		front := want.Frontends[0]
		front.Certificates = []Certificate{{Name: "a", PEM: testPEM(t, names...)}, {Name: "b", PEM: testPEM(t, "b.example.net")}}
		c := want
		c.Frontends = []Frontend{front}
		return c
	}
	hello := func(name string) (*tls.ConnectionState, error) {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		state := conn.ConnectionState()
		return &state, nil
	}
	l.set(secure("a.example.net"))
	worker := l.worker()
	state, err := hello("b.example.net")
	if err != nil || state.PeerCertificates[0].DNSNames[0] != "b.example.net" || state.NegotiatedProtocol != "h2" {
		t.Fatalf("%+v, %v", state, err)
	}
	renewed := secure("a.example.net", "renewed.example.net")
	renewed.Frontends[0].Certificates[1] = l.applied.Frontends[0].Certificates[1]
	if change := l.set(renewed); change.Kind != Runtime || l.worker() != worker {
		t.Fatalf("renewal: %+v", change)
	}
	if state, err = hello("a.example.net"); err != nil || len(state.PeerCertificates[0].DNSNames) != 2 {
		t.Fatalf("after the renewal: %v, %v", state, err)
	}
	l.successor()
	if change := l.set(renewed); change.Kind != Adopted {
		t.Errorf("adoption after a renewal: %+v", change)
	}
	if _, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
}

func TestE2EServerNameRouting(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	want := Config{MaxConn: 1000, Frontends: []Frontend{{Name: "front", Mode: TCP, Binds: []Bind{{loopback, port}}, Routes: []Route{
		{Host: "a.example.net", Backend: "exact"}, {Host: "*.example.net", Backend: "wild"}}}}}
	for _, name := range []string{"exact", "wild"} {
		n := tls.NewListener(listenAnywhere(t), &tls.Config{Certificates: []tls.Certificate{keyPair(t, name)}})
		b := calmBackend(name, serve(t, n, name))
		b.Mode = TCP
		want.Backends = append(want.Backends, b)
	}
	l.set(want)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for name, backend := range map[string]string{"A.example.net": "exact", "b.example.net": "wild", "a.b.example.net": "", "other.test": ""} {
		conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		got := ""
		if err == nil {
			got = conn.ConnectionState().PeerCertificates[0].DNSNames[0]
			conn.Close()
		}
		if got != backend {
			t.Errorf("%s led to %q (%v), want %q", name, got, err, backend)
		}
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\n\r\n")
	if n, err := io.Copy(io.Discard, conn); n > 0 || (err != nil && strings.Contains(err.Error(), "timeout")) {
		t.Errorf("something that is not TLS: %d bytes, %v", n, err)
	}
}

func keyPair(t *testing.T, name string) tls.Certificate {
	bundle := testPEM(t, name)
	pair, err := tls.X509KeyPair(bundle, bundle)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Every keyword the file can have for a server, HAProxy takes at run time too.
func TestE2EKeywordsAtRunTime(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	want := simple(port, app(t, "a"))
	for name, change := range map[string]func(*Backend){
		"balance-random": func(b *Backend) { b.Balance = "random" },
		"balance-source": func(b *Backend) { b.Balance = "source" },
		"balance-uri":    func(b *Backend) { b.Balance = "uri" },
		"check":          func(b *Backend) { b.Check.Path = "/healthz?full=1" },
		"leastconn":      func(b *Backend) { b.Balance, b.MaxConn = "leastconn", 50 },
		"outlier":        func(b *Backend) { b.Outlier = Outlier{Errors: 3, Observe: "layer7"} },
		"outlier-tcp":    func(b *Backend) { b.Outlier, b.Mode = Outlier{Errors: 3, Observe: "layer4"}, TCP },
		"proxy-v1":       func(b *Backend) { b.ProxyProtocol = ProxyV1 },
		"slow":           func(b *Backend) { b.SlowStart = time.Second },
		"proxy":          func(b *Backend) { b.ProxyProtocol = ProxyV2 },
		"sticky":         func(b *Backend) { b.StickyCookie = "SRV" },
		"tls-verified": func(b *Backend) {
			b.TLS = &BackendTLS{Verify: true, ServerName: "app.example.net", CA: Bundle{"apps", testPEM(t)}, Cert: &Certificate{Name: "me", PEM: testPEM(t, "me")}}
		},
		"tls":     func(b *Backend) { b.TLS = new(BackendTLS) },
		"tls-tcp": func(b *Backend) { b.TLS, b.Mode = new(BackendTLS), TCP },
		"tls-system": func(b *Backend) {
			if realBinary() == "haproxy" { // another may see no CA certificates of the system
				b.TLS = &BackendTLS{Verify: true, ServerName: "app.example.net"}
			}
		},
	} {
		b := calmBackend(name)
		change(b)
		want.Backends = append(want.Backends, b)
	}
	sortBackends(want.Backends)
	l.set(want)
	worker := l.worker()
	full := want
	full.Backends = nil
	for _, b := range want.Backends {
		if len(b.Servers) == 0 {
			filled := *b
			backup, v6 := ready("backup", "127.0.0.1:1"), ready("v6", "[2001:db8::1]:1")
			backup.Backup, backup.State, v6.Weight = true, Drain, 0
			filled.Servers = []Server{backup, v6}
			b = &filled
		}
		full.Backends = append(full.Backends, b)
	}
	if change := l.set(full); change.Kind != Runtime || l.worker() != worker {
		t.Errorf("%+v", change)
	}
	if cause, changed, err := l.reconcile(t.Context(), full); cause != "" || changed || err != nil {
		t.Errorf("what HAProxy has differs from what was wanted: %q, %v, %v", cause, changed, err)
	}
}

// Ten thousand servers, of which one comes and goes.
func TestE2ETenThousandServers(t *testing.T) {
	l := newLab(t)
	l.run()
	want := fleet(1000, 10)
	want.MaxConn = 1000
	want.Frontends[0].Binds = []Bind{{loopback, freePort(t)}}
	for _, b := range want.Backends {
		b.Check.Interval = time.Minute
		for i := range b.Servers {
			b.Servers[i].Address = netip.AddrPortFrom(loopback, b.Servers[i].Address.Port())
		}
	}
	took := func(what string, kind ChangeKind) {
		began := time.Now()
		if change := l.set(want); change.Kind != kind {
			t.Errorf("%s: %+v, want %s", what, change, kind)
		}
		t.Logf("%s took %v", what, time.Since(began))
	}
	took("start", Started)
	want = clone(want)
	b := want.Backends[500]
	b.Servers = append(b.Servers, ready("s999", "127.0.0.1:9"))
	for i := range want.Backends {
		if i != 500 {
			want.Backends[i] = l.applied.Backends[i]
		}
	}
	took("one server added", Runtime)
	took("nothing", None)
	with, without := want, want
	without.Backends = slices.Clone(want.Backends)
	fewer := *want.Backends[500]
	fewer.Servers = fewer.Servers[:10]
	without.Backends[500] = &fewer
	for i := range 10 {
		want = []Config{without, with}[i%2]
		took("one server more or less", Runtime)
	}
	l.eventually("the file follows", func() bool { return strings.Contains(l.readFile(ConfigFile), "s999") })
	began := time.Now()
	if err := l.look(t.Context(), ""); err != nil || verdicts(l.Servers()) != 10_001 {
		t.Errorf("look: %d servers, %v", verdicts(l.Servers()), err)
	}
	t.Logf("a look at all servers took %v", time.Since(began))
	front := want.Frontends[0]
	front.ClientTimeout = time.Second
	want.Frontends = []Frontend{front}
	took("reload", Reload)
	l.successor()
	took("adoption", Adopted)
}

func verdicts(v Verdicts) (n int) {
	v.keys(func(ServerKey) { n++ })
	return n
}

// Frontends of exact hosts look up what the client wrote before they make it
// canonical; the answers are the same.
func TestE2EExactHosts(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	want := simple(port, app(t, "exact"))
	want.Backends = append(want.Backends, calmBackend("other", app(t, "other")))
	want.Frontends[0].Routes = []Route{
		{Host: "a.example.net", Path: "/", Backend: "app"},
		{Host: "a.example.net", Path: "/api", Backend: "other"},
		{Host: "[::1]", Path: "/", Backend: "app"},
	}
	l.set(want)
	for _, test := range []struct{ host, uri, want string }{
		{"a.example.net", "/", "exact /"},
		{"A.Example.NET", "/x", "exact"},
		{"A.Example.NET.", "/api", "other"},
		{fmt.Sprintf("a.example.net:%d", port), "/api/x?y=/z", "other /api/x?y=/z"},
		{"a.example.net.", "/x", "exact"},
		{"a.example.net", "/api", "other"},
		{"a.example.net", "/api/", "other"},
		{"a.example.net", "/apix", "exact"},
		{"a.example.net", "/x?/api/", "exact"},
		{"a.example.net", "http://a.example.net/api", "other"},
		{"[::1]", "/", "exact"},
		{"[::1]:80", "/", "exact"},
		{"xa.example.net", "/api", "404"},
		{"a.example.netx", "/api", "404"},
		{"-", "/api", "404"},
		{"nobody.test", "/", "404"},
	} {
		status, body, _ := fetch(port, test.host, test.uri)
		got := body
		if status != 200 {
			got = fmt.Sprint(status)
		}
		if got != test.want && !strings.HasPrefix(got, test.want+" ") {
			t.Errorf("%s%s = %q, want %s", test.host, test.uri, got, test.want)
		}
	}
}
