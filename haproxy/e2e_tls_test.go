package haproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// visitor is a client that speaks TLS to one port, whatever the host.
type visitor struct {
	port uint16
	tls.Config
	keepAlive bool
	noHTTP2   bool
}

func (v *visitor) client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: !v.keepAlive, TLSClientConfig: v.Config.Clone(), ForceAttemptHTTP2: !v.noHTTP2,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", v.port))
		},
	}}
}

// ask asks for host over a connection opened for name.
func (v *visitor) ask(name, host string, header ...string) (status int, h http.Header, err error) {
	client := v.client()
	defer client.CloseIdleConnections()
	req, _ := http.NewRequest(http.MethodGet, "https://"+name+"/", nil)
	req.Host = host
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	resp.Header.Set("Body", string(body))
	return resp.StatusCode, resp.Header, err
}

// securePort is one frontend with TLS, a backend a host.
func securePort(port uint16, certificates []Certificate, servers map[string]Server) Config {
	front := Frontend{Name: "front", Mode: HTTP, Binds: []Bind{{loopback, port}}, Certificates: certificates}
	want := Config{MaxConn: 1000}
	for host, server := range servers {
		front.Routes = append(front.Routes, Route{Host: host, Path: "/", Backend: host})
		want.Backends = append(want.Backends, calmBackend(host, server))
	}
	slices.SortFunc(front.Routes, func(a, b Route) int { return strings.Compare(a.Host, b.Host) })
	sortBackends(want.Backends)
	want.Frontends = []Frontend{front}
	return want
}

// Certificates are added, replaced and removed without a reload, and what HAProxy
// is told is what the next reload reads.
func TestE2ECertificatesAtRunTime(t *testing.T) {
	l := newLab(t)
	ca, a, b := newAuthority(t, "public"), app(t, "a"), app(t, "b")
	v := &visitor{port: freePort(t)} // after the applications have theirs
	v.RootCAs = ca.pool()
	want := securePort(v.port, []Certificate{{Name: "a", PEM: ca.issue("a.test")}}, map[string]Server{"a.test": a, "b.test": b})
	l.set(want)
	worker := l.worker()
	if _, _, err := v.ask("b.test", "b.test"); err == nil {
		t.Error("b.test is served without a certificate")
	}
	with := func(list ...Certificate) Config {
		next := want
		next.Frontends = slices.Clone(want.Frontends)
		next.Frontends[0].Certificates = list
		return next
	}
	first := want.Frontends[0].Certificates[0]
	steps := []struct {
		what string
		list []Certificate
		good map[string]bool
	}{
		{"added", []Certificate{first, {Name: "b", PEM: ca.issue("b.test")}}, map[string]bool{"a.test": true, "b.test": true}},
		{"both replaced", []Certificate{{Name: "a", PEM: ca.issue("a.test")}, {Name: "b", PEM: ca.issue("b.test", "c.test")}}, map[string]bool{"a.test": true, "b.test": true}},
		{"removed", []Certificate{{Name: "a", PEM: ca.issue("a.test")}}, map[string]bool{"a.test": true, "b.test": false}},
		{"added again", []Certificate{first, {Name: "b", PEM: ca.issue("b.test")}}, map[string]bool{"a.test": true, "b.test": true}},
	}
	for _, step := range steps {
		if change := l.set(with(step.list...)); change.Kind != Runtime || l.worker() != worker {
			t.Fatalf("%s: %+v", step.what, change)
		}
		for host, good := range step.good {
			if status, _, err := v.ask(host, host); good != (err == nil && status == 200) {
				t.Errorf("%s: %s answers %d, %v", step.what, host, status, err)
			}
		}
	}
	l.successor()
	if change := l.set(with(steps[3].list...)); change.Kind != Adopted {
		t.Errorf("the successor: %+v", change)
	}
	// One whose key belongs to another: refused, and the old one stays.
	one, other := string(ca.issue("b.test")), string(ca.issue("b.test"))
	_, key, _ := strings.Cut(other, "-----BEGIN PRIVATE")
	chain, _, _ := strings.Cut(one, "-----BEGIN PRIVATE")
	foreign := []byte(chain + "-----BEGIN PRIVATE" + key)
	if _, err := l.Set(t.Context(), with(first, Certificate{Name: "b", PEM: foreign})); err == nil {
		t.Error("a key of another certificate is taken")
	}
	if status, _, err := v.ask("b.test", "b.test"); status != 200 {
		t.Errorf("after the refusal: %d, %v", status, err)
	}
	if change := l.set(with(first, Certificate{Name: "b", PEM: ca.issue("b.test")})); change.Kind == None {
		t.Errorf("after the refusal: %+v", change)
	}
	for _, name := range []string{"certs/a.pem", "certs/b.pem"} {
		if info, err := os.Stat(l.opts.RunDir + "/" + name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// headerEcho is an application that says what it was told of the client.
func headerEcho(t *testing.T) Server {
	n := listenAnywhere(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Seen-DN", r.Header.Get("X-SSL-Client-DN"))
	})}
	go func() { _ = server.Serve(n) }()
	t.Cleanup(func() { server.Close() })
	return ready("echo", n.Addr().String())
}

// The servers are verified by CA and name, and are shown a certificate; one
// that was not there at the start as well.
func TestE2ETLSToServers(t *testing.T) {
	l := newLab(t)
	ca, own := newAuthority(t, "inner"), newAuthority(t, "balancers")
	listen := func(pair tls.Certificate) string {
		n := tls.NewListener(listenAnywhere(t), &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: own.pool()})
		serve(t, n, "app")
		return n.Addr().String()
	}
	good, otherName, otherCA := listen(ca.pair("app.test")), listen(ca.pair("web.test")), listen(newAuthority(t, "inner").pair("app.test"))
	port := freePort(t)
	backend := func(servers ...Server) Config {
		want := simple(port)
		b := *calmBackend("app", servers...)
		b.Check = frequent
		b.TLS = &BackendTLS{Verify: true, ServerName: "app.test", CA: Bundle{"inner", ca.pem}, Cert: &Certificate{Name: "me", PEM: own.issue("lb1")}}
		want.Backends = []*Backend{&b}
		return want
	}
	l.set(backend())
	for _, c := range []struct {
		what, address string
		want          int
	}{{"good", good, 200}, {"other name", otherName, 503}, {"other CA", otherCA, 503}} {
		if change := l.set(backend(ready(strings.ReplaceAll(c.what, " ", "-"), c.address))); change.Kind != Runtime {
			t.Fatalf("%s: %+v", c.what, change)
		}
		l.eventually(c.what, func() bool { status, _, _ := fetch(port, "app", "/"); return status == c.want })
		l.eventually(c.what+" checked", func() bool {
			results, err := l.CheckResults(t.Context(), "app")
			return err == nil && len(results) > 0
		})
	}
	// Renewed on both sides, at run time.
	ca2 := newAuthority(t, "inner 2")
	renewed := backend(ready("renewed", listen(ca2.pair("app.test"))))
	renewed.Backends[0].TLS.CA.PEM = ca2.pem
	if change := l.set(renewed); change.Kind != Runtime {
		t.Fatalf("%+v", change)
	}
	l.eventually("renewed", func() bool { status, _, _ := fetch(port, "app", "/"); return status == 200 })
}

// Certificates change under load, and no request is lost.
func TestE2ECertificateChangeLosesNothing(t *testing.T) {
	l := newLab(t)
	ca, port := newAuthority(t, "public"), freePort(t)
	issue := func() []Certificate {
		return []Certificate{{Name: "a", PEM: ca.issue("a.test")}, {Name: "b", PEM: ca.issue("b.test")}}
	}
	servers := map[string]Server{"a.test": app(t, "a"), "b.test": app(t, "b")}
	want := securePort(port, issue(), servers)
	l.set(want)
	reloads := l.Status().Reloads
	ctx, stop := context.WithCancel(t.Context())
	var sent, lost atomic.Int64
	done := make(chan error, 4)
	for _, keep := range []bool{true, true, false, false} {
		v := &visitor{port: port, keepAlive: keep}
		v.RootCAs = ca.pool()
		client := v.client()
		go func() {
			var first error
			for ctx.Err() == nil {
				resp, err := client.Get("https://a.test/")
				sent.Add(1)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode != 200 {
						err = errors.New(resp.Status)
					}
				}
				if err != nil {
					lost.Add(1)
					first = errors.Join(first, err)
				}
			}
			client.CloseIdleConnections()
			done <- first
		}()
	}
	for range 20 {
		before := sent.Load()
		want.Frontends = slices.Clone(want.Frontends)
		want.Frontends[0].Certificates = issue()
		l.set(want)
		l.eventually("more requests", func() bool { return sent.Load() > before+20 })
	}
	stop()
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d requests, %d lost, over 20 changes of two certificates", sent.Load(), lost.Load())
	if now := l.Status().Reloads; now != reloads {
		t.Errorf("%d reloads", now-reloads)
	}
}

// Each profile is one that HAProxy takes, and keeps out what it is to keep out.
func TestE2EProfiles(t *testing.T) {
	for profile, refused := range map[Profile]uint16{Modern: tls.VersionTLS12, Intermediate: tls.VersionTLS11, Old: 0} {
		t.Run(string(profile), func(t *testing.T) {
			l := newLab(t)
			ca, a := newAuthority(t, "public"), app(t, "a")
			v := &visitor{port: freePort(t)}
			want := securePort(v.port, []Certificate{{Name: "a", PEM: ca.issue("a.test")}}, map[string]Server{"a.test": a})
			want.Frontends[0].Profile = profile
			l.set(want)
			v.RootCAs = ca.pool()
			if status, _, err := v.ask("a.test", "a.test"); status != 200 {
				t.Errorf("%d, %v", status, err)
			}
			v.MinVersion, v.MaxVersion = tls.VersionTLS10, max(refused, tls.VersionTLS10)
			if status, _, err := v.ask("a.test", "a.test"); (status == 200) != (refused == 0) {
				t.Errorf("TLS up to %x: %d, %v", v.MaxVersion, status, err)
			}
		})
	}
}
