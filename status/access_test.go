package status

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// authority issues certificates into a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.issue(name)
	return a
}

// issue writes name.pem and name.key; the first is the authority itself.
func (a *authority) issue(name string) (cert, key string) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	c := &x509.Certificate{SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	parent, signer := a.cert, a.key
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, c.ExtKeyUsage = true, true, nil
		parent, signer, a.cert, a.key = c, own, c, own
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &own.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.n == 1 {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

// Over TLS anybody who trusts the listener may read; a client certificate of
// its authority, and no other, changes state as the token does.
func TestClientCertificates(t *testing.T) {
	servers, clients, strangers := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "strangers")
	cert, key := servers.issue("lb1")
	files := TLSFiles{Cert: cert, Key: key, ClientCA: filepath.Join(clients.dir, "clients.pem")}
	config, err := files.Load()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	synced := 0
	s := NewServer(ServerOptions{Board: boardWith(example(t)), Token: "secret", Sync: func(context.Context) error { synced++; return nil }, Patience: time.Minute})
	go func() { done <- s.Serve(ctx, tls.NewListener(plain, config), false) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	url, ca := "https://"+plain.Addr().String(), filepath.Join(servers.dir, "servers.pem")

	ours, ourKey := clients.issue("operator")
	theirs, theirKey := strangers.issue("mallory")
	for _, c := range []struct {
		name, ca, cert, key, token, read, sync string
	}{
		{"nobody's friend", "", "", "", "", "unknown authority", "unknown authority"},
		{"a reader", ca, "", "", "", "", "401"},
		{"with the token", ca, "", "", "secret", "", ""},
		{"with a certificate", ca, ours, ourKey, "", "", ""},
		{"with a foreign certificate", ca, theirs, theirKey, "", "", "401"}, // which it is never asked for
	} {
		client := NewClient(url)
		client.Token = c.token
		if err := client.ClientTLS(c.ca, c.cert, c.key); err != nil {
			t.Fatal(err)
		}
		_, err := client.Report(t.Context())
		if !saysOrNil(err, c.read) {
			t.Errorf("%s reads: %v, want %q", c.name, err, c.read)
		}
		if err := client.Sync(t.Context()); !saysOrNil(err, c.sync) {
			t.Errorf("%s changes: %v, want %q", c.name, err, c.sync)
		}
	}
	if synced != 2 {
		t.Errorf("%d syncs, want 2", synced)
	}
}

func saysOrNil(err error, want string) bool {
	if want == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), want)
}

// A renewed certificate is served without a restart; half a replacement never is.
func TestCertificateIsReadAgain(t *testing.T) {
	a := newAuthority(t, "ca")
	cert, key := a.issue("lb1")
	config, err := TLSFiles{Cert: cert, Key: key}.Load()
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		c, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.Int64()
	}
	first := serial()
	move := func(stamp time.Time) {
		for _, f := range []string{cert, key} {
			if err := os.Chtimes(f, stamp, stamp); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.issue("lb1")
	move(time.Now().Add(time.Second))
	renewed := serial()
	if renewed == first {
		t.Error("the renewed certificate is not served")
	}
	if err := os.WriteFile(key, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	move(time.Now().Add(2 * time.Second))
	if serial() != renewed {
		t.Error("half a replacement was served")
	}
	for _, bad := range []TLSFiles{{Cert: cert}, {ClientCA: cert}, {Cert: key, Key: key}, {Cert: cert, Key: key}} {
		if _, err := bad.Load(); err == nil {
			t.Errorf("%+v was taken", bad)
		} else if strings.Contains(err.Error(), "half a") {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
}

// Who asks too often is told to wait; the socket's owner is not.
func TestRateLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Board: boardWith(example(t)), Token: "secret", Sync: func(context.Context) error { return nil },
			Traffic: func(_ context.Context, name string) (Traffic, error) {
				return Traffic{Service: name, At: time.Now()}, nil
			}})
		count := func(trusted bool, n int, method, path string) (refused int) {
			for range n {
				r := httptest.NewRequest(method, path, nil)
				r.Header.Set("Authorization", "Bearer guess")
				if answer := ask(s, trusted, r); answer.StatusCode == http.StatusTooManyRequests {
					refused++
					if answer.Header.Get("Retry-After") == "" {
						t.Error("no Retry-After")
					}
				}
			}
			return refused
		}
		for _, c := range []struct {
			method, path string
			burst        int
			every        time.Duration
		}{{"POST", "/v1/sync", changeBurst, changeEvery}, {"GET", "/v1/traffic?service=todo", askBurst, askEvery}} {
			if got := count(false, c.burst+7, c.method, c.path); got != 7 {
				t.Errorf("%s: %d refused, want 7", c.path, got)
			}
			if got := count(true, 2*c.burst, c.method, c.path); got != 0 {
				t.Errorf("%s: %d refused over the socket", c.path, got)
			}
			time.Sleep(3 * c.every)
			if got := count(false, 4, c.method, c.path); got != 1 {
				t.Errorf("%s: %d of 4 refused after a while, want 1", c.path, got)
			}
		}
	})
}

// A page of another site cannot make an operator's browser act.
func TestOtherSitesCannotAct(t *testing.T) {
	s := NewServer(ServerOptions{Board: NewBoard(), Token: "secret", Sync: func(context.Context) error { t.Error("it acted"); return nil }})
	r := httptest.NewRequest("POST", "http://lb1:9890/v1/sync", nil)
	r.Header.Set("Authorization", "Bearer secret")
	r.Header.Set("Origin", "https://evil.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if answer := ask(s, true, r); answer.StatusCode != http.StatusForbidden {
		t.Errorf("got %d", answer.StatusCode)
	}
}
