package haproxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// authority is a certificate authority of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB, name string) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert, a.key = a.sign(template, nil)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	return a
}

// sign makes a certificate with a key of its own; the first signs itself.
func (a *authority) sign(template *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue makes a certificate with its key for the names.
func (a *authority) issue(names ...string) []byte { return a.issueAt("", names...) }

// chain is the same with the authority's own certificate behind it, and the
// URL of a responder in it, unless that is "".
func (a *authority) chain(responder string, names ...string) []byte {
	return append(a.issueAt(responder, names...), a.pem...)
}

func (a *authority) issueAt(responder string, names ...string) []byte {
	a.t.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}
	if responder != "" {
		template.OCSPServer = []string{responder}
	}
	cert, key := a.sign(template, a)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
}

func (a *authority) pair(names ...string) tls.Certificate {
	a.t.Helper()
	bundle := a.issue(names...)
	pair, err := tls.X509KeyPair(bundle, bundle)
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// ocsp is the authority's word, until then, that the first certificate of a
// bundle is good.
func (a *authority) ocsp(bundle []byte, until time.Time) []byte {
	a.t.Helper()
	pair, err := tls.X509KeyPair(bundle, bundle)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := a.vouch(pair.Leaf.SerialNumber, until)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// vouch is the same for a serial number; for any goroutine.
func (a *authority) vouch(serial *big.Int, until time.Time) ([]byte, error) {
	return ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{
		Status: ocsp.Good, SerialNumber: serial, ThisUpdate: until.Add(-24 * time.Hour), NextUpdate: until,
	}, a.key)
}
