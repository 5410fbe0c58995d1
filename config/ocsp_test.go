package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/vipilot/vipilot/config"
)

// signer is a certificate and its key.
type signer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign makes a certificate; the first signs itself.
func (s *signer) sign(serial int64, by *signer) *signer {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	made := &signer{s.t, &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"todo.example.net"}, IsCA: by == nil, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, key}
	if by == nil {
		by = made
	}
	der, err := x509.CreateCertificate(rand.Reader, made.cert, by.cert, key.Public(), by.key)
	if err != nil {
		s.t.Fatal(err)
	}
	if made.cert, err = x509.ParseCertificate(der); err != nil {
		s.t.Fatal(err)
	}
	return made
}

func (s *signer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})
}

func (s *signer) withKey() []byte {
	key, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return append(s.pem(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
}

func (s *signer) says(serial int64, until time.Time) []byte {
	der, err := ocsp.CreateResponse(s.cert, s.cert, ocsp.Response{SerialNumber: big.NewInt(serial), ThisUpdate: until.Add(-24 * time.Hour), NextUpdate: until}, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return der
}

// An OCSP response beside a certificate is taken where it is of use, and
// otherwise left out with a warning: it never keeps a revision out.
func TestStapled(t *testing.T) {
	ca := (&signer{t: t}).sign(1, nil)
	leaf := (&signer{t: t}).sign(2, ca)
	chain, soon := append(leaf.withKey(), ca.pem()...), time.Now().Add(time.Hour)
	for _, test := range []struct {
		name        string
		chain, ocsp []byte
		warning     string // "" = taken
	}{
		{"good", chain, ca.says(2, soon), ""},
		{"none", chain, nil, ""},
		{"old", chain, ca.says(2, time.Now().Add(-time.Hour)), "is not used: it was valid until 20"},
		{"another's", chain, ca.says(3, soon), "is not used: it is no OCSP response, in DER, for this certificate"},
		{"no response", chain, []byte("hello"), "is not used: it is no OCSP response"},
		{"long", chain, make([]byte, 9<<10), "is not used: it is longer than 8 KiB"},
		{"no chain", leaf.withKey(), ca.says(2, soon), "does not hold the one that signed it"},
	} {
		tree := config.Tree{"v.yaml": []byte(`version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
vips: {public: {addresses: [203.0.113.10], ha: static}}
services: {todo: {vip: public, http: {hosts: [todo.example.net], tls: {certificate_file: /etc/ssl/todo.pem, ocsp: true}}, backend: {servers: ["10.77.0.40:80"]}}}
`), "/etc/ssl/todo.pem": test.chain}
		if test.ocsp != nil {
			tree["/etc/ssl/todo.pem.ocsp"] = test.ocsp
		}
		cfg, err := config.Load(tree)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		tls := cfg.Services[0].HTTP.TLS
		if got := tls.Certificates[0].OCSP; !tls.OCSP || (test.warning == "") != (string(got) == string(test.ocsp)) {
			t.Errorf("%s: %d bytes are taken", test.name, len(got))
		}
		if warned := cfg.Warnings.Error(); (test.warning == "") != (len(cfg.Warnings) == 0) || !strings.Contains(warned, test.warning) {
			t.Errorf("%s: warnings %q, want %q", test.name, warned, test.warning)
		}
		if test.ocsp == nil && (len(cfg.Dirs) != 1 || cfg.Dirs[0] != "/etc/ssl/todo.pem.ocsp") {
			t.Errorf("nobody waits for a response: %q", cfg.Dirs)
		}
	}
}
