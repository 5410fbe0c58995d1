package acme

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// authority is certmagic set up for one issuer.
type authority struct {
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
	cache  *certmagic.Cache

	mu       sync.Mutex
	attempts map[string]context.CancelCauseFunc // by host: ends the attempt under way
	failed   map[string]failure                 // by host
}

type failure struct {
	times int
	err   error
}

func newAuthority(issuer Issuer, opts Options, port int) (*authority, error) {
	a := &authority{attempts: make(map[string]context.CancelCauseFunc), failed: make(map[string]failure)}
	var roots *x509.CertPool
	if issuer.CA != "" {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(issuer.CA)) {
			return nil, fmt.Errorf("issuer %s: its CA file holds no certificate", issuer.Name)
		}
	}
	storage := issuer.Storage
	if storage == "" {
		storage = filepath.Join(opts.StateDir, "storage")
	}
	quiet := zap.NewNop() // what matters is told by events and errors
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
		RenewCheckInterval: opts.RenewInterval,
		Logger:             quiet,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: storage},
		OnEvent: a.event,
		OCSP:    certmagic.OCSPConfig{DisableStapling: true},
		Logger:  quiet,
	})
	a.issuer = certmagic.NewACMEIssuer(a.config, certmagic.ACMEIssuer{
		CA: issuer.Directory, Email: issuer.Email, Agreed: true, TrustedRoots: roots,
		DisableTLSALPNChallenge: true, ListenHost: "127.0.0.1", AltHTTPPort: port, Logger: quiet,
	})
	a.config.Issuers = []certmagic.Issuer{a.issuer}
	return a, nil
}

func (a *authority) stop() { a.cache.Stop() }

// obtain has certmagic load the certificate from the storage, or order it
// there. Nodes that do this at once wait for the one that holds the lock.
func (a *authority) obtain(ctx context.Context, host string) error {
	err := a.load(ctx, host)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.mu.Lock()
	a.attempts[host] = cancel
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.attempts, host)
		delete(a.failed, host)
	}()
	// The asynchronous kind asks no questions on a terminal. It would hold the
	// lock while it waits to try again: the first failure ends it.
	if err := a.config.ObtainCertAsync(ctx, host); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return a.load(ctx, host)
}

// load has certmagic take the certificate from the storage, and forget the one
// that it replaces.
func (a *authority) load(ctx context.Context, host string) error {
	stored, err := a.config.CacheManagedCertificate(ctx, host)
	if err != nil {
		return err
	}
	var old []string
	for _, c := range a.cache.AllMatchingCertificates(host) {
		if c.Hash() != stored.Hash() && slices.Contains(c.Names, host) {
			old = append(old, c.Hash())
		}
	}
	a.cache.Remove(old)
	return nil
}

// event hears from certmagic how attempts end.
func (a *authority) event(_ context.Context, name string, data map[string]any) error {
	host, _ := data["identifier"].(string)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch name {
	case "cert_obtained":
		delete(a.failed, host)
	case "cert_failed":
		err, _ := data["error"].(error)
		if err == nil {
			err = errors.New("the authority refused it")
		}
		a.failed[host] = failure{a.failed[host].times + 1, err}
		if cancel := a.attempts[host]; cancel != nil {
			cancel(err)
		}
	}
	return nil
}

// failures says how often, and why, the renewal of a certificate failed.
func (a *authority) failures(host string) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed[host].times, a.failed[host].err
}

// certificate is the newest one that certmagic has for the host.
func (a *authority) certificate(host string) (Certificate, bool) {
	var newest certmagic.Certificate
	for _, c := range a.cache.AllMatchingCertificates(host) {
		if c.Leaf != nil && slices.Contains(c.Names, host) && (newest.Leaf == nil || c.Leaf.NotAfter.After(newest.Leaf.NotAfter)) {
			newest = c
		}
	}
	if newest.Leaf == nil {
		return Certificate{}, false
	}
	key, err := x509.MarshalPKCS8PrivateKey(newest.PrivateKey)
	if err != nil {
		return Certificate{}, false
	}
	var out []byte
	for _, der := range newest.Certificate.Certificate {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	return Certificate{PEM: out, NotAfter: newest.Leaf.NotAfter}, true
}
