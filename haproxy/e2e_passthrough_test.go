package haproxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// tlsApp is an application that ends TLS itself and says its name.
func tlsApp(t *testing.T, ca *authority, name string, hosts ...string) Server {
	t.Helper()
	n := tls.NewListener(listenAnywhere(t), &tls.Config{Certificates: []tls.Certificate{ca.pair(hosts...)}})
	return serve(t, n, name)
}

// caller asks over TLS from an address of its own.
type caller struct {
	port uint16
	tls.Config
}

// ask opens a connection for name and asks for host; it returns what the
// application said, and the protocol.
func (c *caller) ask(from, name string) (status int, body, proto string, err error) {
	transport := &http.Transport{TLSClientConfig: c.Config.Clone(), ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			return d.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", c.port))
		}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Timeout: patience, Transport: transport}).Get("https://" + name + "/")
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), resp.Proto, err
}

// mixedPort is a port where TLS for a.test, closed.test and in.wild.test is
// ended and TLS for db.test and *.wild.test is passed through.
func mixedPort(t *testing.T, port uint16, public, staff, inner *authority) Config {
	a := app(t, "a")
	want := securePort(port, []Certificate{
		{Name: "a", PEM: public.issue("a.test", "in.wild.test"), Hosts: []string{"a.test", "in.wild.test"}},
		{Name: "closed", PEM: public.issue("closed.test"), Hosts: []string{"closed.test"}, Client: &ClientCheck{CA: Bundle{"staff", staff.pem}, Required: true}},
	}, map[string]Server{"a.test": a, "closed.test": a, "in.wild.test": a})
	for _, b := range want.Backends {
		b.Rules.Deny = []netip.Prefix{netip.MustParsePrefix("127.4.0.0/16")}
		if b.Name == "closed.test" {
			b.Guard.Client = CertRequired
		}
	}
	want.Frontends[0].Passthrough = []Route{{Host: "db.test", Backend: "db"}, {Host: "*.wild.test", Backend: "wild"}}
	for name, hosts := range map[string][]string{"db": {"db.test", "db2.test"}, "wild": {"*.wild.test"}} {
		b := calmBackend(name, tlsApp(t, inner, name, hosts...))
		b.Mode = TCP
		b.Rules.Deny = []netip.Prefix{netip.MustParsePrefix("127.5.0.0/16")}
		want.Backends = append(want.Backends, b)
	}
	sortBackends(want.Backends)
	return want
}

// TLS is ended and passed through on one port: each name finds its way, and
// the applications see the client as on a port of their own.
func TestE2EPassthroughBesideTLS(t *testing.T) {
	l := newLab(t)
	public, staff, inner := newAuthority(t, "public"), newAuthority(t, "staff"), newAuthority(t, "inner")
	outside, within := &caller{}, &caller{}
	outside.RootCAs, within.RootCAs = public.pool(), inner.pool()
	outside.Certificates = []tls.Certificate{staff.pair("alice")}
	port := freePort(t)
	outside.port, within.port = port, port
	want := mixedPort(t, port, public, staff, inner)
	l.set(want)
	worker := l.worker()

	for _, c := range []struct {
		by         *caller
		from, name string
		status     int // 0 = no TLS
		body       string
	}{
		{outside, "127.3.0.1", "a.test", 200, "a / proto=https for=127.3.0.1 evil="},
		{outside, "127.3.0.1", "in.wild.test", 200, "a / proto=https for=127.3.0.1 evil="},
		{outside, "127.3.0.1", "closed.test", 200, "a / proto=https for=127.3.0.1 evil="},
		{outside, "127.4.0.1", "a.test", 403, "you may not come from where you are\n"},
		{outside, "127.3.0.1", "db.test", 0, ""}, // another authority's: the application's own
		{within, "127.3.0.1", "db.test", 200, "db / proto= for= evil="},
		{within, "127.3.0.1", "x.wild.test", 200, "wild / proto= for= evil="},
		{within, "127.5.0.1", "db.test", 0, ""}, // turned away
		{within, "127.3.0.1", "a.test", 0, ""},
	} {
		status, body, proto, err := c.by.ask(c.from, c.name)
		if status != c.status || body != c.body || (err == nil) != (c.status != 0) {
			t.Errorf("%s from %s: %d %q, %v", c.name, c.from, status, body, err)
		}
		if status == 200 && c.by == outside && proto != "HTTP/2.0" {
			t.Errorf("%s: %s, want HTTP/2", c.name, proto)
		}
	}
	if _, _, _, err := (&caller{port: port, Config: tls.Config{RootCAs: public.pool()}}).ask("127.3.0.1", "closed.test"); err == nil {
		t.Error("closed.test is open without a certificate of staff")
	}
	if info, err := os.Stat(l.paths.socket("front.tls")); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("the socket in between: %v, %v", info, err)
	}

	// Certificates and names change at run time.
	next := clone(want)
	next.Frontends[0].Certificates = slices.Clone(want.Frontends[0].Certificates)
	other := newAuthority(t, "other")
	next.Frontends[0].Certificates[0].PEM = other.issue("a.test", "in.wild.test")
	next.Frontends[0].Passthrough = append(slices.Clone(want.Frontends[0].Passthrough), Route{Host: "db2.test", Backend: "db"})
	if change := l.set(next); change.Kind != Runtime || l.worker() != worker {
		t.Fatalf("another certificate and a name more: %+v", change)
	}
	outside.RootCAs = other.pool()
	if status, _, _, err := outside.ask("127.3.0.1", "a.test"); status != 200 {
		t.Errorf("a.test with the new certificate: %d, %v", status, err)
	}
	if status, _, _, err := within.ask("127.3.0.1", "db2.test"); status != 200 {
		t.Errorf("db2.test: %d, %v", status, err)
	}
	l.successor()
	if change := l.set(next); change.Kind != Adopted {
		t.Errorf("the successor: %+v", change)
	}
	reloadsUnderTLS(t, l, next, outside, within)

	// Alone, either kind has the port for itself again.
	alone := clone(next)
	alone.Frontends[0].Passthrough = nil
	if change := l.set(alone); change.Kind != Reload {
		t.Fatalf("without passthrough: %+v", change)
	}
	if status, _, _, err := outside.ask("127.3.0.1", "a.test"); status != 200 {
		t.Errorf("a.test alone: %d, %v", status, err)
	}
}

// reloadsUnderTLS reloads five times while both kinds of connections come.
func reloadsUnderTLS(t *testing.T, l *lab, want Config, callers ...*caller) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{}, len(callers))
	var asked atomic.Int64
	for i, name := range []string{"a.test", "db.test"} {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, _, _, err := callers[i].ask("127.3.0.1", name); status != 200 {
					t.Errorf("%s during a reload: %d, %v", name, status, err)
					return
				}
				asked.Add(1)
			}
		}()
	}
	for i := range 5 {
		want = clone(want)
		want.Frontends[0].ClientTimeout = time.Duration(50+i) * time.Second
		before := asked.Load()
		if change := l.set(want); change.Kind != Reload {
			t.Errorf("reload %d: %+v", i, change)
		}
		l.eventually("requests after the reload", func() bool { return asked.Load() > before+4 || t.Failed() })
	}
	close(stop)
	for range callers {
		<-done
	}
}
