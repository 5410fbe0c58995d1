package status

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/vipilot/vipilot/internal/golden"
)

// boardWith holds r and the events of its appearance.
func boardWith(r *Report) *Board {
	b := NewBoard()
	b.Publish(r)
	b.Emit(Diff(nil, r, "start <b>web-1</b>")...)
	return b
}

// ask sends one request to a server's handler.
func ask(s *Server, trusted bool, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	s.handler(trusted, nil).ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRoutes(t *testing.T) {
	ready := NewServer(ServerOptions{Board: boardWith(example(t))})
	broken := NewServer(ServerOptions{Board: boardWith(troubled())})
	young := NewServer(ServerOptions{Board: NewBoard(), Version: "v1"})
	for _, c := range []struct {
		server       *Server
		method, path string
		code         int
		body         string // is in the answer
	}{
		{ready, "GET", "/healthz", 200, "ok\n"},
		{broken, "GET", "/healthz", 200, "ok\n"},
		{ready, "GET", "/readyz", 200, "ok\n"},
		{broken, "GET", "/readyz", 503, "haproxy: failed: run haproxy: exit status 1: cannot bind 203.0.113.10:80\n"},
		{young, "GET", "/readyz", 503, "config: starting"},
		{young, "GET", "/v1/status", 200, `"version":"v1","ready":false`},
		{ready, "GET", "/v1/status", 200, `"node":"lb1"`},
		{ready, "GET", "/", 200, "<h1>lb1"},
		{young, "GET", "/", 200, "not ready"},
		{ready, "GET", "/page.css", 200, "prefers-color-scheme"},
		{ready, "GET", "/page.js", 200, "EventSource"},
		{ready, "GET", "/metrics", 200, "vipilot_ready 1"},
		{young, "GET", "/metrics", 200, "vipilot_ready 0"},
		{ready, "GET", "/v1/events?after=x", 400, "whole number"},
		{ready, "GET", "/nothing", 404, ""},
		{ready, "POST", "/v1/status", 405, ""},
		{ready, "GET", "/v1/sync", 405, ""},
		{ready, "DELETE", "/", 405, ""},
	} {
		answer := ask(c.server, false, httptest.NewRequest(c.method, "http://evil.example"+c.path, nil))
		text := body(t, answer)
		if answer.StatusCode != c.code || !strings.Contains(text, c.body) {
			t.Errorf("%s %s: %d %.200q, want %d with %q", c.method, c.path, answer.StatusCode, text, c.code, c.body)
		}
		if strings.Contains(text, "evil.example") {
			t.Errorf("%s %s repeats the Host header", c.method, c.path)
		}
		if c.code == 405 && answer.Header.Get("Allow") == "" {
			t.Errorf("%s %s: 405 without Allow", c.method, c.path)
		}
		for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			if got := answer.Header.Get(header); got != want {
				t.Errorf("%s %s: %s is %q, want %q", c.method, c.path, header, got, want)
			}
		}
		if csp := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s %s: weak Content-Security-Policy %q", c.method, c.path, csp)
		}
	}
}

func TestOnlyTheEntitledChangeState(t *testing.T) {
	const token = "correct horse"
	for name, c := range map[string]struct {
		token   string
		trusted bool
		header  string
		err     error
		code    int
	}{
		"socket":               {"", true, "", nil, 200},
		"socket, refused":      {"", true, "", errors.New("todo.yaml:1:1: no"), 422},
		"tcp, no token set":    {"", false, "", nil, 403},
		"tcp, empty bearer":    {"", false, "Bearer ", nil, 403},
		"tcp, no token sent":   {token, false, "", nil, 401},
		"tcp, wrong token":     {token, false, "Bearer correct hors", nil, 401},
		"tcp, longer token":    {token, false, "Bearer correct horse battery", nil, 401},
		"tcp, wrong scheme":    {token, false, "Basic " + token, nil, 401},
		"tcp, right token":     {token, false, "Bearer " + token, nil, 200},
		"tcp, lower-case name": {token, false, "bearer " + token, nil, 200},
	} {
		t.Run(name, func(t *testing.T) {
			synced, acted := 0, 0
			s := NewServer(ServerOptions{Board: NewBoard(), Token: c.token,
				Sync:    func(context.Context) error { synced++; return c.err },
				Actions: map[string]http.Handler{"drain": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { acted++ })},
			})
			for _, path := range []string{"/v1/sync", "/v1/drain"} {
				r := httptest.NewRequest("POST", path, nil)
				r.Header.Set("Authorization", c.header)
				answer := ask(s, c.trusted, r)
				text := body(t, answer)
				if path == "/v1/sync" && answer.StatusCode != c.code {
					t.Errorf("got %d %q, want %d", answer.StatusCode, text, c.code)
				}
				if answer.StatusCode >= 400 && (text == "" || strings.Contains(text, token)) {
					t.Errorf("the refusal %q is empty or tells the token", text)
				}
			}
			want := 0
			if c.code != 401 && c.code != 403 {
				want = 1
			}
			if synced != want || acted != want {
				t.Errorf("ran sync %d and drain %d times, want %d", synced, acted, want)
			}
		})
	}
}

// What is foreign in the report must arrive as text, and nothing of the page
// may need more than the policy allows.
func TestPage(t *testing.T) {
	for name, r := range map[string]*Report{"ready": example(t), "troubled": troubled()} {
		synctest.Test(t, func(t *testing.T) {
			answer := ask(NewServer(ServerOptions{Board: boardWith(r)}), false, httptest.NewRequest("GET", "/", nil))
			text := body(t, answer)
			golden.Equal(t, "testdata/page-"+name+".golden", []byte(text))
			for _, forbidden := range []string{"<b>web-1", "<script>", "style=", "onclick", "onload", "http://", "https://"} {
				if strings.Contains(text, forbidden) {
					t.Errorf("%s: the page contains %q", name, forbidden)
				}
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	for name, r := range map[string]*Report{"ready": example(t), "troubled": troubled()} {
		c := newCollector(func() *Report { return r }, "v1.0.0")
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.NewWithMetricFamilies(families).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
		s := NewServer(ServerOptions{Board: boardWith(r), Version: "v1.0.0"})
		text := body(t, ask(s, false, httptest.NewRequest("GET", "/metrics", nil)))
		var ours strings.Builder
		for line := range strings.Lines(text) {
			if strings.Contains(line, "vipilot_") && !strings.Contains(line, "vipilot_build_info") {
				ours.WriteString(line)
			}
		}
		golden.Equal(t, "testdata/metrics-"+name+".golden", []byte(ours.String()))
		for _, library := range []string{"go_goroutines", "process_open_fds", "vipilot_build_info"} {
			if !strings.Contains(text, library) {
				t.Errorf("no %s", library)
			}
		}
	}
}

func TestExtraMetrics(t *testing.T) {
	extra := prometheus.NewGauge(prometheus.GaugeOpts{Name: "vipilot_extra", Help: "Extra."})
	s := NewServer(ServerOptions{Board: NewBoard(), Extra: []prometheus.Collector{extra, extra}})
	if text := body(t, ask(s, false, httptest.NewRequest("GET", "/metrics", nil))); !strings.Contains(text, "vipilot_extra 0") {
		t.Error("the extra metric is missing")
	}
}

func TestPictureOfManyThings(t *testing.T) {
	r := &Report{Services: map[string]Service{}}
	for i := range 100 {
		r.Services[strings.Repeat("s", i+1)] = Service{VIP: "gone", Endpoints: []Endpoint{{Name: "x/y"}}}
	}
	p := draw(r)
	if len(p.Boxes) != mostRows+2 {
		t.Errorf("%d boxes, want %d services, one for the rest and one for other machines", len(p.Boxes), mostRows)
	}
	if len(p.Lines) != mostRows+1 {
		t.Errorf("%d lines, want one for each service shown and one for the rest", len(p.Lines))
	}
	for _, b := range p.Boxes {
		if b.Y < 0 || b.Y+b.H > p.Height || b.X+b.W > p.Width || len([]rune(b.Title)) > titleRunes {
			t.Errorf("box %+v does not fit in %dx%d", b, p.Width, p.Height)
		}
	}
}

func FuzzWindow(f *testing.F) {
	f.Add("", "", "")
	f.Add("5", "7", "3")
	f.Add("-1", "x", "0")
	f.Add("18446744073709551616", "\n", "1e9")
	board := boardWith(&Report{Node: "lb1"})
	f.Fuzz(func(t *testing.T, after, lastID, limit string) {
		w, err := parseWindow(map[string][]string{"after": {after}, "limit": {limit}}, lastID)
		if err != nil {
			if diff := cmp.Diff(window{}, w, cmp.AllowUnexported(window{})); diff != "" {
				t.Error("an error came with a window")
			}
			return
		}
		if limit != "" && w.limit == 0 {
			t.Errorf("limit %q was taken as none", limit)
		}
		board.Events(w.after)
	})
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	first, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := Listen(first.Addr().String()); err == nil || !strings.Contains(err.Error(), first.Addr().String()) {
		t.Errorf("a taken address gave %v", err)
	}
	if _, err := Listen("unix:" + filepath.Join(dir, strings.Repeat("x", 120))); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a path too long gave %v", err)
	}
	if _, err := Listen("unix:" + filepath.Join(dir, "none", "s")); err == nil {
		t.Error("a missing directory gave no error")
	}
}
