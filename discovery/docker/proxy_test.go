package docker

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readOnly are the calls that a proxy in front of an engine has to let
// through; docs/security.md lists the same.
var readOnly = regexp.MustCompile(`^(/v1\.[0-9]+)?/(_ping|info|events|networks|swarm|services|nodes|tasks|containers/json|containers/[a-zA-Z0-9_.-]+/json)$`)

// TestReadOnlyProxy: everything works through a proxy that lets only these
// through, with GET and HEAD, and nothing else is even tried.
func TestReadOnlyProxy(t *testing.T) {
	f := newFake(t)
	f.do("start web")
	engine := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "engine"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", f.socket)
		}},
	}
	socket := filepath.Join(t.TempDir(), "p.sock")
	front, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead || !readOnly.MatchString(r.URL.Path) {
			t.Errorf("vipilot asks for %s %s", r.Method, r.URL.Path)
			http.Error(w, `{"message":"forbidden"}`, http.StatusForbidden)
			return
		}
		engine.ServeHTTP(w, r)
	})}
	go func() { _ = proxy.Serve(front) }()
	t.Cleanup(func() { proxy.Close() })
	opts := calm(f)
	opts.URL = "unix://" + socket
	w := watch(t, opts)
	w.until("web:running.2")
	f.do("start db")
	w.until("db:running.3 web:running.2")
	f.do("kill web")
	w.until("db:running.3 web:stopping.2")
}

// TestReadOnlyPage: docs/security.md tells the operator of a proxy the same calls.
func TestReadOnlyPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), strings.TrimSuffix(strings.TrimPrefix(readOnly.String(), "^"), "$")) {
		t.Errorf("docs/security.md does not have the pattern %s", readOnly)
	}
}
