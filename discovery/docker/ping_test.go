package docker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestPing: a sign of life is one by either method, and a refusal says why.
func TestPing(t *testing.T) {
	for _, tc := range []struct {
		name      string
		head, get int // status of the answer by method
		want      string
	}{
		{"an engine", http.StatusOK, http.StatusOK, ""},
		{"a proxy that knows GET alone", http.StatusMethodNotAllowed, http.StatusOK, ""},
		{"an engine in trouble", http.StatusInternalServerError, http.StatusInternalServerError, "500 Internal Server Error: out of disk"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				code := tc.get
				if r.Method == http.MethodHead {
					code = tc.head
				}
				w.Header().Set("Api-Version", "1.41")
				w.WriteHeader(code)
				if code == http.StatusOK {
					fmt.Fprint(w, "OK")
				} else {
					fmt.Fprint(w, `{"message":"out of disk"}`)
				}
			}))
			defer engine.Close()
			e, err := New(Options{Host: "app1", URL: "tcp://" + engine.Listener.Addr().String()})
			if err != nil {
				t.Fatal(err)
			}
			api, plain, err := e.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer api.Close()
			s := &session{api: api, plain: plain, base: engine.URL, most: e.opts.most, timeout: time.Minute}
			text := ""
			if err := s.ping(t.Context()); err != nil {
				text = err.Error()
			}
			if (text == "") != (tc.want == "") || !strings.Contains(text, tc.want) {
				t.Errorf("ping says %q, want %q", text, tc.want)
			}
		})
	}
}
