package docker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/discovery"
)

// authority signs a certificate for 127.0.0.1 and gives itself as pool.
func authority(t *testing.T, name string, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TestWhyNot asks engines that cannot be watched; each says why in one line.
func TestWhyNot(t *testing.T) {
	good, pool := authority(t, "engine", time.Now().Add(time.Hour))
	expired, expiredPool := authority(t, "old-engine", time.Now().Add(-time.Hour))
	_, stranger := authority(t, "stranger", time.Now().Add(time.Hour))
	answer := func(version string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if version != "" {
				w.Header().Set("Api-Version", version)
			}
		})
	}
	serve := func(h http.Handler, conf *tls.Config) string {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = nil
		if conf != nil {
			s.TLS = conf
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return "tcp://" + s.Listener.Addr().String()
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	mutual := &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: stranger}
	for _, tc := range []struct {
		name, url string
		tls       *tls.Config
		want      string
	}{
		{"refused", "tcp://" + closed.Listener.Addr().String(), nil, "connection refused: is dockerd running"},
		{"no socket", "unix:///nonexistent/docker.sock", nil, "no socket /nonexistent/docker.sock"},
		{"old", serve(answer("1.23"), nil), nil, `API version "1.23" is older than 1.24; upgrade`},
		{"no engine", serve(answer(""), nil), nil, "not a docker engine"},
		{"tls to plain", serve(answer("1.41"), nil), &tls.Config{RootCAs: pool}, "does not speak TLS"},
		{"plain to tls", serve(answer("1.41"), &tls.Config{Certificates: []tls.Certificate{good}}), nil, "speaks TLS"},
		{"stranger", serve(answer("1.41"), &tls.Config{Certificates: []tls.Certificate{good}}), &tls.Config{RootCAs: stranger}, `"CN=engine" (valid`},
		{"expired", serve(answer("1.41"), &tls.Config{Certificates: []tls.Certificate{expired}}), &tls.Config{RootCAs: expiredPool}, `"CN=old-engine" (valid`},
		{"expired says so", serve(answer("1.41"), &tls.Config{Certificates: []tls.Certificate{expired}}), &tls.Config{RootCAs: expiredPool}, "has expired"},
		{"other name", serve(answer("1.41"), &tls.Config{Certificates: []tls.Certificate{good}}), &tls.Config{RootCAs: pool, ServerName: "engine.example.net"}, "is for another name"},
		{"no client certificate", serve(answer("1.41"), mutual), &tls.Config{RootCAs: pool}, "asks for a client certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := watch(t, Options{URL: tc.url, TLS: tc.tls, Timeout: longest})
			s := w.untilIs(tc.want, func(s discovery.Snapshot) bool { return s.Err != errNoAnswer })
			if text := s.Err.Error(); !strings.Contains(text, tc.want) || strings.Contains(text, "\n") || !strings.Contains(text, tc.url) {
				t.Errorf("got %q, want %q in one line", text, tc.want)
			}
		})
	}
}

// TestExplainDial has the causes that a test cannot bring about, as root or
// without waiting.
func TestExplainDial(t *testing.T) {
	for want, cause := range map[string]error{
		"permission denied on /var/run/docker.sock: run as root or join group docker": &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EACCES)},
		"no answer: is the machine up": &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
	} {
		e, err := New(Options{URL: "unix:///var/run/docker.sock"})
		if err != nil {
			t.Fatal(err)
		}
		err = e.explain(fmt.Errorf("ping: %w", &dialError{cause}))
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

func TestNew(t *testing.T) {
	for _, url := range []string{"", "ssh://boss", "ssh://", "ssh://-oProxyCommand=x@boss", "ssh://me@-oProxyCommand=x", "ssh://me@boss/sock", "ssh://me@boss:x", "unix://", "tcp://", "/var/run/docker.sock", "npipe:////./pipe/x", "tcp://a b"} {
		if _, err := New(Options{Host: "app1", URL: url}); err == nil || !strings.Contains(err.Error(), "app1") {
			t.Errorf("url %q: %v", url, err)
		}
	}
}

// TestSSHProgram has the command line that ssh gets, and an ssh that fails in
// words that nobody has a hint for.
func TestSSHProgram(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nfor a in \"$@\"; do echo \"$a\"; done >>" + dir + "/args\nprintf 'first\\nsome \\033[31m odd\\n' >&2\nexit 255\n"
	if err := os.WriteFile(dir+"/ssh", []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	const url = "ssh://$(id)@boss.example.net:2222"
	w := watch(t, Options{URL: url, SSH: dir + "/ssh", Timeout: longest})
	const want = "reach docker engine at " + url + ": ssh ended with code 255: some ?[31m odd"
	w.untilIs(want, func(s discovery.Snapshot) bool { return s.Err.Error() == want })
	args, err := os.ReadFile(dir + "/args")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n-l\n$(id)\n-p\n2222\n", "\nBatchMode=yes\n", "\n--\nboss.example.net\ndocker\nsystem\ndial-stdio\n"} {
		if !strings.Contains(string(args), want) {
			t.Errorf("arguments %q lack %q", args, want)
		}
	}
}
