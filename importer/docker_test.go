package importer_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vipilot/vipilot/importer"
)

// engine answers as Docker does, with the containers of a recording.
type engine struct {
	inspections []json.RawMessage
	gone        int // of them, by index + 1: listed, and away when asked for

	mu    sync.Mutex
	asked []string
}

func record(t *testing.T, name string) *engine {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	e := new(engine)
	if err := json.Unmarshal(data, &e.inspections); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.asked = append(e.asked, r.Method+" "+r.URL.Path)
	e.mu.Unlock()
	id := func(i int) string { return strings.Repeat(string(rune('a'+i)), 64) }
	if r.URL.Path == "/containers/json" {
		var list []map[string]string
		for i := range e.inspections {
			list = append(list, map[string]string{"Id": id(i)})
		}
		_ = json.NewEncoder(w).Encode(list)
		return
	}
	for i, one := range e.inspections {
		if r.URL.Path == "/containers/"+id(i)+"/json" && i+1 != e.gone {
			_, _ = w.Write(one)
			return
		}
	}
	http.Error(w, `{"message":"no such container"}`, http.StatusNotFound)
}

// onUnix serves h on a socket and gives its URL.
func onUnix(t *testing.T, h http.Handler) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vipilot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "d.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return "unix://" + filepath.Join(dir, "d.sock")
}

// TestAskDocker asks an engine, over its socket and over TLS, and gets what
// docker inspect prints; it asks for nothing else, with GET alone.
func TestAskDocker(t *testing.T) {
	for _, file := range []string{"testdata/traefik.json", "testdata/nginx.json"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := importer.ReadInspect(strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		e := record(t, file)
		over := httptest.NewTLSServer(e)
		t.Cleanup(over.Close)
		roots := x509.NewCertPool()
		roots.AddCert(over.Certificate())
		for url, secure := range map[string]*tls.Config{
			onUnix(t, e):                             nil,
			"tcp://" + over.Listener.Addr().String(): {RootCAs: roots},
		} {
			got, err := importer.AskDocker(t.Context(), url, secure)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s over %s: %s", file, url, diff)
			}
		}
		for _, asked := range e.asked {
			if asked != "GET /containers/json" && !(strings.HasPrefix(asked, "GET /containers/") && strings.HasSuffix(asked, "/json")) {
				t.Errorf("it asked for %s", asked)
			}
		}
		if want := 2 * (1 + len(e.inspections)); len(e.asked) != want {
			t.Errorf("%d questions, want %d: %v", len(e.asked), want, slices.Compact(e.asked))
		}
	}
}

// TestAskDockerAgain: a container that went away meanwhile is left out, and an
// engine that cannot be asked says why.
func TestAskDockerAgain(t *testing.T) {
	e := record(t, "testdata/traefik.json")
	e.gone = 1
	got, err := importer.AskDocker(t.Context(), onUnix(t, e), nil)
	if err != nil || len(got) != len(e.inspections)-1 {
		t.Errorf("one went away: %d of %d, %v", len(got), len(e.inspections), err)
	}
	says := func(code int, text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
		})
	}
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"Id":"`)
		for {
			if _, err := io.WriteString(w, strings.Repeat("a", 64<<10)); err != nil {
				return
			}
		}
	})
	for url, want := range map[string]string{
		"ssh://vipilot@10.77.0.11":   "run docker inspect there",
		"unix:///nonexistent/d.sock": "no such file",
		"tcp://127.0.0.1":            "an import asks",
		"":                           "an import asks",
		onUnix(t, says(403, "\x1b[31mforbidden\n")): "403 Forbidden: ",
		onUnix(t, says(200, "<html>")):              "invalid character",
		onUnix(t, endless):                          "unexpected EOF",
	} {
		_, err := importer.AskDocker(t.Context(), url, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %v, want %q in one line", url, err, want)
		}
	}
}
