package status

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Limits of untrusted listeners; those who own the socket are let alone. A
// person or a script of a forge stays far below them.
const (
	changeBurst = 20
	changeEvery = 500 * time.Millisecond
	askBurst    = 100
	askEvery    = 50 * time.Millisecond
)

// entitled lets through who may change state: who shows the token, or a
// client certificate of the listener's authority. It answers all others. Who
// tries tokens is slowed down like anybody else.
func (s *Server) entitled(w http.ResponseWriter, r *http.Request) bool {
	if !s.changes.take(time.Now()) {
		tooMany(w)
		return false
	}
	switch certified := r.TLS != nil && len(r.TLS.VerifiedChains) > 0; {
	case certified:
		return true
	case s.opts.Token == "":
		plain(w, http.StatusForbidden, "nothing can be changed over this listener: no token is set (--token-file) and you showed no client certificate of its authority (--client-ca-file); use the unix socket in the run directory")
		return false
	case !sameSecret(bearer(r), s.opts.Token):
		w.Header().Set("WWW-Authenticate", `Bearer realm="vipilot"`)
		plain(w, http.StatusUnauthorized, "a valid token is needed: send the header \"Authorization: Bearer <token>\" with the content of --token-file")
		return false
	}
	return true
}

// sparing bounds how often what costs more than a look at the report is asked.
func (s *Server) sparing(trusted bool, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !trusted && !s.asks.take(time.Now()) {
			tooMany(w)
			return
		}
		next(w, r)
	}
}

func tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	plain(w, http.StatusTooManyRequests, "too many requests; the unix socket in the run directory has no such limit")
}

// bucket holds burst tokens and fills by one every so often.
type bucket struct {
	burst float64
	every time.Duration

	mu   sync.Mutex
	left float64
	at   time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.burst, b.left+float64(now.Sub(b.at))/float64(b.every))
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// sameSecret takes the same time whatever is different, the length included.
func sameSecret(got, want string) bool {
	g, w := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(g[:], w[:]) == 1
}

// TLSFiles are the files of a listener that speaks TLS.
type TLSFiles struct {
	Cert, Key string // PEM; the certificate's chain after it
	// ClientCA is the authority whose client certificates let a client change
	// state; "" = only the token does. Reading needs none.
	ClientCA string
}

// Load reads the files. The certificate is read again for each connection when
// its files have changed, so a renewed one needs no restart.
func (f TLSFiles) Load() (*tls.Config, error) {
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("serve TLS: --tls-cert-file and --tls-key-file go together, and --client-ca-file needs both")
	}
	fresh := &freshCertificate{files: f}
	if _, err := fresh.get(nil); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: fresh.get, NextProtos: []string{"http/1.1"}}
	if f.ClientCA == "" {
		return c, nil
	}
	pool, err := readPool("--client-ca-file", f.ClientCA)
	if err != nil {
		return nil, err
	}
	c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, pool
	return c, nil
}

// freshCertificate keeps a certificate until its files change.
type freshCertificate struct {
	files TLSFiles

	mu          sync.Mutex
	certificate *tls.Certificate
	stamp       [2]time.Time
}

// get never gives nothing after the first success: files that are being
// replaced and do not fit yet leave the old certificate in place.
func (c *freshCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var stamp [2]time.Time
	for i, name := range []string{c.files.Cert, c.files.Key} {
		if stat, err := os.Stat(name); err == nil {
			stamp[i] = stat.ModTime()
		}
	}
	if c.certificate != nil && stamp == c.stamp {
		return c.certificate, nil
	}
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil && c.certificate == nil {
		return nil, fmt.Errorf("read --tls-cert-file and --tls-key-file: %w", err)
	}
	if err == nil {
		c.certificate, c.stamp = &pair, stamp
	}
	return c.certificate, nil
}

func readPool(flag, name string) (*x509.CertPool, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s %s holds no certificate in PEM", flag, name)
	}
	return pool, nil
}

// ClientTLS makes c trust the authority in caFile for https, the system's when
// it is "", and show the certificate in certFile, if any.
func (c *Client) ClientTLS(caFile, certFile, keyFile string) error {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pool, err := readPool("--ca-file", caFile)
		if err != nil {
			return err
		}
		config.RootCAs = pool
	}
	if certFile != "" || keyFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return fmt.Errorf("read --cert-file and --key-file: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	c.transport.TLSClientConfig = config
	return nil
}
