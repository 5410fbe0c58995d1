package haproxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/vipilot/vipilot/internal/command"
)

// HTTP/3 where HAProxy has QUIC, for the host that TLS began with, and after a
// reload; where it has none, a refusal that says so and touches nothing.
func TestE2EHTTP3(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	ca := newAuthority(t, "test")
	plain := securePort(port, []Certificate{{Name: "todo", PEM: ca.issue("todo.example.net")}}, map[string]Server{"todo.example.net": app(t, "todo")})
	l.set(plain)
	want := plain
	want.Frontends = []Frontend{plain.Frontends[0]}
	want.Frontends[0].QUIC = true
	b := *plain.Backends[0]
	b.Guard.HTTP3 = port
	want.Backends = []*Backend{&b}

	says, err := command.Run(t.Context(), l.opts.Binary, "-vv")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(says, " +QUIC ") {
		_, err := l.Set(t.Context(), want)
		if err == nil || !strings.Contains(err.Error(), "http3 needs a HAProxy with QUIC") || !strings.Contains(err.Error(), "HAProxy 2.") {
			t.Errorf("without QUIC: %v", err)
		}
		v := &visitor{port: port, Config: tls.Config{RootCAs: ca.pool()}}
		if status, _, err := v.ask("todo.example.net", "todo.example.net"); status != 200 {
			t.Errorf("after the refusal: %d, %v", status, err)
		}
		return
	}
	l.set(want)
	v := &visitor{port: port, Config: tls.Config{RootCAs: ca.pool()}}
	_, header, err := v.ask("todo.example.net", "todo.example.net")
	if offer := fmt.Sprintf(`h3=":%d"; ma=900`, port); err != nil || header.Get("Alt-Svc") != offer {
		t.Errorf("told of %q, want %q (%v)", header.Get("Alt-Svc"), offer, err)
	}
	overHTTP3(t, ca, port)
	want.Backends = []*Backend{{Name: "todo.example.net", Mode: HTTP, Guard: b.Guard, Retries: new(int), Servers: b.Servers}}
	if change := l.set(want); change.Kind != Reload {
		t.Errorf("expected a reload: %v", change)
	}
	overHTTP3(t, ca, port)
}

// overHTTP3 asks over QUIC and nothing else.
func overHTTP3(t *testing.T, ca *authority, port uint16) {
	t.Helper()
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca.pool()},
		Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, fmt.Sprintf("127.0.0.1:%d", port), c, q)
		},
	}
	defer transport.Close()
	client := &http.Client{Transport: transport, Timeout: patience}
	resp, err := client.Get("https://todo.example.net/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || resp.Proto != "HTTP/3.0" || !strings.Contains(string(body), "todo /x proto=https") {
		t.Errorf("over HTTP/3: %s %d %q %v", resp.Proto, resp.StatusCode, body, err)
	}
}
