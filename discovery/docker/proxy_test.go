package docker

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	neturl "net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vipilot/vipilot/discovery"
)

// readOnly are the calls that a proxy in front of an engine has to let
// through; docs/security.md lists the same.
var readOnly = regexp.MustCompile(`^(/v1\.[0-9]+)?/(_ping|info|events|networks|swarm|services|nodes|tasks|containers/json|containers/[a-zA-Z0-9_.-]+/json)$`)

// readOnlyProxy is a proxy before an engine that lets only these through, with
// GET and HEAD. It gives its URL, and what was asked for: paths without versions
// and ids.
func readOnlyProxy(t *testing.T, f *fakeEngine) (url string, asked func() []string) {
	t.Helper()
	engine := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&neturl.URL{Scheme: "http", Host: "engine"}) },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", f.socket)
		}},
	}
	socket := filepath.Join(t.TempDir(), "p.sock")
	front, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := make(map[string]bool)
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead || !readOnly.MatchString(r.URL.Path) {
			t.Errorf("vipilot asks for %s %s", r.Method, r.URL.Path)
			http.Error(w, `{"message":"forbidden"}`, http.StatusForbidden)
			return
		}
		mu.Lock()
		seen[idInPath.ReplaceAllString(versionPrefix.ReplaceAllString(r.URL.Path, ""), "/containers/ID/json")] = true
		mu.Unlock()
		engine.ServeHTTP(w, r)
	})}
	go func() { _ = proxy.Serve(front) }()
	t.Cleanup(func() { proxy.Close() })
	return "unix://" + socket, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(maps.Keys(seen))
	}
}

var idInPath = regexp.MustCompile(`^/containers/[^/]+/json$`)

// TestReadOnlyProxy: everything works through a proxy that lets only these
// through, and nothing else is even tried.
func TestReadOnlyProxy(t *testing.T) {
	f := newFake(t)
	f.do("start web")
	opts := calm(f)
	var asked func() []string
	opts.URL, asked = readOnlyProxy(t, f)
	w := watch(t, opts)
	w.until("web:running.2")
	f.do("start db")
	w.until("db:running.3 web:running.2")
	f.do("kill web")
	w.until("db:running.3 web:stopping.2")
	want := []string{"/_ping", "/containers/ID/json", "/containers/json", "/events", "/info", "/networks"}
	if got := asked(); !slices.Equal(got, want) {
		t.Errorf("vipilot asks for %v, documented is %v", got, want)
	}
}

// TestReadOnlySwarm: a manager is asked for four things more, and for all that
// docs/security.md lists.
func TestReadOnlySwarm(t *testing.T) {
	f := newFake(t)
	f.swarm = newFakeSwarm("todo.1")
	f.do("start web")
	opts := calm(f)
	opts.Swarm = true
	var asked func() []string
	opts.URL, asked = readOnlyProxy(t, f)
	w := watch(t, opts)
	w.untilIs("a Swarm", func(s discovery.Snapshot) bool { return s.Swarm != nil && s.Err == nil && len(s.Containers) == 1 })
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| path | what for |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var want []string
	for line := range strings.Lines(table) {
		paths, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		for path := range strings.SplitSeq(paths, ", ") {
			want = append(want, strings.Trim(path, "`"))
		}
	}
	slices.Sort(want)
	if got := asked(); !slices.Equal(got, want) {
		t.Errorf("vipilot asks for %v, docs/security.md lists %v", got, want)
	}
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
