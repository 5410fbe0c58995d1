package acme

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// temporaryName is the common name of certificates that are only there until
// the first was obtained.
const temporaryName = "vipilot temporary certificate"

const (
	temporaryLife = 90 * 24 * time.Hour
	temporaryLeft = 7 * 24 * time.Hour // with less it is made anew
)

// file is where the certificate of an order is kept.
func (c *Client) file(key Key) string {
	sum := sha256.Sum256([]byte(key.Issuer + "\x00" + key.Host)) // a host may be longer than the name of a file
	return filepath.Join(c.opts.StateDir, "certificates", hex.EncodeToString(sum[:12])+".pem")
}

// recall gives the certificate that is kept for an order, or a temporary one.
func (c *Client) recall(key Key) (Certificate, error) {
	data, err := os.ReadFile(c.file(key))
	if err == nil {
		if kept, err := parse(data); err == nil && !(kept.Temporary && time.Until(kept.NotAfter) < temporaryLeft) {
			return kept, nil
		}
	}
	fresh, err := Temporary(key.Host)
	if err != nil {
		return Certificate{}, err
	}
	if err := c.keep(key, fresh.PEM); err != nil { // the next controller shall not replace it in vain
		return Certificate{}, fmt.Errorf("keep the certificate of %s: %w", key.Host, err)
	}
	return fresh, nil
}

// keep writes a certificate, in one step and for nobody else to read.
func (c *Client) keep(key Key, data []byte) error {
	name := c.file(key)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	hidden := filepath.Join(filepath.Dir(name), "."+filepath.Base(name))
	if err := os.WriteFile(hidden, data, 0o600); err != nil {
		return err
	}
	return os.Rename(hidden, name)
}

// parse reads a chain with its key.
func parse(data []byte) (Certificate, error) {
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return Certificate{}, err
	}
	return Certificate{PEM: data, NotAfter: pair.Leaf.NotAfter, Temporary: IsTemporary(pair.Leaf)}, nil
}

// IsTemporary reports whether a certificate is only there until one is obtained.
func IsTemporary(leaf *x509.Certificate) bool { return leaf.Issuer.CommonName == temporaryName }

// Temporary makes a self-signed certificate for a host.
func Temporary(host string) (Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Certificate{}, fmt.Errorf("make a temporary certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: temporaryName}, DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(temporaryLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Certificate{}, fmt.Errorf("make a temporary certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Certificate{}, fmt.Errorf("make a temporary certificate: %w", err)
	}
	data := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return parse(data)
}
