package git

import (
	"bytes"
	"context"
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is Git's own smart HTTP behind TLS and a password; spoil, when set,
// stands in for it.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	spoil http.HandlerFunc
}

func serve(t testing.TB, w work) (*server, Access) {
	t.Helper()
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"), Root: "/",
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(w.dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	s := new(server)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		spoil := s.spoil
		s.mu.Unlock()
		user, password, _ := r.BasicAuth()
		switch {
		case spoil != nil:
			spoil(rw, r)
		case user != "ann" || password != "hunter2":
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			rw.WriteHeader(http.StatusUnauthorized)
		default:
			backend.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	access := Access{TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.pem")}
	secret(t, access.TokenFile, "ann:hunter2\n")
	secret(t, access.CAFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s, access
}

func secret(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *server) set(spoil http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = spoil
}

func (s *server) source(t testing.TB, query string) URL {
	return parse(t, strings.Replace(s.URL, "https://", "git+https://", 1)+"/fleet?"+query)
}

func TestHTTPS(t *testing.T) {
	w := newWork(t)
	first := w.git("rev-parse", "HEAD")
	w.put("fleet/vipilot.yaml", fleet+"# 2\n")
	second := w.commit("second")
	w.git("tag", "-m", "heavy", "heavy", first)
	s, access := serve(t, w)
	for ref, want := range map[string]string{"": second, "main": second, "heavy": first, first: first, second: second} {
		u := s.source(t, "path=fleet")
		u.Ref = ref
		wantRevision(t, source(t, Options{URL: u, Access: access}), want, "")
	}
	u := s.source(t, "path=fleet")
	for want, a := range map[string]Access{
		"the server wants a login": {CAFile: access.CAFile},
		"certificate":              {TokenFile: access.TokenFile},
		"no such file":             {TokenFile: "/nonexistent", CAFile: access.CAFile},
	} {
		wantRevision(t, source(t, Options{URL: u, Access: a}), "", want)
	}
	live := source(t, Options{URL: u, Access: access})
	wantRevision(t, live, second, "")
	secret(t, access.TokenFile, "wrong")
	w.put("fleet/vipilot.yaml", fleet+"# 3\n")
	third := w.commit("third")
	wantRevision(t, live, second, "login")
	if strings.Contains(live.Fault().Error(), "wrong") {
		t.Errorf("the token is in %v", live.Fault())
	}
	secret(t, access.TokenFile, "ann:hunter2")
	wantRevision(t, live, third, "")
}

// TestBrokenServer has the server fail in every way it can; the last good
// revision stays, and a fault says what happened.
func TestBrokenServer(t *testing.T) {
	w := newWork(t)
	first := w.git("rev-parse", "HEAD")
	s, access := serve(t, w)
	live := source(t, Options{URL: s.source(t, "path=fleet"), Access: access, Limits: Limits{Bytes: 1 << 20, Files: 100, Depth: 8}})
	wantRevision(t, live, first, "")
	w.put("fleet/vipilot.yaml", fleet+"# 2\n")
	w.put("fleet/noise", strings.Repeat("noise", 1000)+time.Now().String())
	second := w.commit("second")

	backend := s.Config.Handler
	recorded := func(r *http.Request) []byte {
		rec := httptest.NewRecorder()
		spoil := s.spoil
		s.set(nil)
		backend.ServeHTTP(rec, r)
		s.set(spoil)
		return rec.Body.Bytes()
	}
	pack := func(change func([]byte) []byte) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			answer := recorded(r)
			if r.Method == http.MethodPost {
				answer = change(answer)
				rw.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			} else {
				rw.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			}
			_, _ = rw.Write(answer)
		}
	}
	for name, spoil := range map[string]http.HandlerFunc{
		"an error": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) },
		"a page":   func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("<h1>Log in</h1>")) },
		"elsewhere": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://198.18.0.1"+r.URL.Path, http.StatusFound)
		},
		"in the clear": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://"+r.Host+r.URL.Path, http.StatusFound)
		},
		"hanging up":  func(rw http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"half a pack": pack(func(b []byte) []byte { return b[:len(b)/2] }),
		"no pack":     pack(func(b []byte) []byte { return b[:0] }),
		"a bit":       pack(func(b []byte) []byte { b[bytes.Index(b, []byte("PACK"))+30] ^= 0x40; return b }),
	} {
		s.set(spoil)
		if err := live.Sync(t.Context()); err == nil {
			t.Errorf("%s: no fault", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
		if cfg, err := live.Load(t.Context(), nil); err != nil || cfg.Revision != first {
			t.Errorf("%s: %v, %v", name, cfg, err)
		}
	}
	s.set(nil)
	wantRevision(t, live, second, "")
	for i := range 64 { // more than 1 MiB that does not compress
		noise, err := exec.Command("head", "-c", "40000", "/dev/urandom").Output()
		if err != nil {
			t.Fatal(err)
		}
		w.put("elsewhere/"+string(rune('a'+i%26))+strings.Repeat("x", i/26), string(noise))
	}
	w.commit("huge")
	wantRevision(t, live, second, "too large")
	w.git("rm", "-rq", "elsewhere")
	wantRevision(t, live, w.commit("small again"), "") // its history is not fetched
}

// TestSlowServer gives up in time on one that says nothing.
func TestSlowServer(t *testing.T) {
	s, access := serve(t, newWork(t))
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	s.set(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	wantRevision(t, source(t, Options{URL: s.source(t, ""), Access: access, Timeout: 50 * time.Millisecond}), "", "took too long")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	live := source(t, Options{URL: s.source(t, ""), Access: access})
	if err := live.Sync(ctx); err == nil || live.Fault() != nil {
		t.Errorf("who asked has left: %v, fault %v", err, live.Fault())
	}
}
