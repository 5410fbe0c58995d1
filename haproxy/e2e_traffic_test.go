package haproxy

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The counters and the exporter are HAProxy's own, and the exporter's socket
// is open to nobody else.
func TestE2ETraffic(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	want := Config{
		Frontends: []Frontend{{Name: "web", Mode: HTTP, Binds: []Bind{{Address: netip.MustParseAddr("127.0.0.1"), Port: port}}, Routes: []Route{{Backend: "app"}}}},
		Backends:  []*Backend{{Name: "app", Mode: HTTP, Servers: []Server{app(t, "a")}}},
	}
	l.set(want)
	l.run()
	for i := range 7 {
		path := "/"
		if i == 6 {
			path = "/404"
		}
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	var whole Traffic
	var servers map[string]Traffic
	l.eventually("all counted", func() (done bool) {
		var err error
		if whole, servers, err = l.Traffic(t.Context(), "app"); err != nil {
			t.Fatal(err)
		}
		sum := uint64(0)
		for _, n := range whole.Responses {
			sum += n
		}
		return sum == 7
	})
	if a := servers["a"]; a.Sessions != 7 || whole.Sessions != 7 || a.BytesOut == 0 || len(servers) != 1 {
		t.Errorf("whole %+v, servers %+v", whole, servers)
	}
	for _, c := range []struct {
		servers bool
		has     string
		not     string
	}{{false, `haproxy_backend_sessions_total{proxy="app"} 7`, "haproxy_server_"}, {true, `haproxy_server_sessions_total{proxy="app",server="a"} 7`, "\x00"}} {
		var text bytes.Buffer
		if err := l.Export(t.Context(), &text, c.servers); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), c.has) || strings.Contains(text.String(), c.not) {
			t.Errorf("the exporter has no %s, or a %q:\n%.3000s", c.has, c.not, &text)
		}
	}
	var text bytes.Buffer
	if err := l.Export(t.Context(), &text, false); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"../deploy/grafana.json", "../deploy/alerts.yaml"} {
		named, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bhaproxy_[a-z_]+`).FindAllString(string(named), -1) {
			if !strings.HasSuffix(name, "_up") && !strings.Contains(text.String(), "\n"+name+"{") {
				t.Errorf("%s names %s, which HAProxy's exporter does not tell", file, name)
			}
		}
	}
	stat, err := os.Stat(l.paths.exporter())
	if err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("the exporter's socket is %v (%v), want mode 0600", stat.Mode(), err)
	}
	want.Frontends = slices.Clone(want.Frontends)
	want.Frontends[0].ClientTimeout = 1e9
	if change := l.set(want); change.Kind != Reload {
		t.Fatalf("%+v, want a reload", change)
	}
	if err := l.Export(t.Context(), &bytes.Buffer{}, false); err != nil {
		t.Errorf("after a reload: %v", err)
	}
}
