package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

func (l *Lab) pkiDir() string { return filepath.Join(l.Dir, "repo", "docker") }

// writePKI makes a certificate authority, a certificate for the engines and one
// for their clients. They lie in the repository, where hosts.*.tls names them.
func (l *Lab) writePKI() error {
	if err := os.MkdirAll(l.pkiDir(), 0o755); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	ca := certificate(1, "lab CA")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	server := certificate(2, "docker engines")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, number := range lan {
		server.IPAddresses = append(server.IPAddresses, net.IPv4(10, 77, 0, byte(number)))
	}
	user := certificate(3, "vipilot")
	user.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if err := l.writePEM("ca.pem", "CERTIFICATE", der); err != nil {
		return err
	}
	if err := l.issue(server, ca, key, "server.pem", "server-key.pem"); err != nil {
		return err
	}
	return l.issue(user, ca, key, "cert.pem", "key.pem")
}

func certificate(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
}

func (l *Lab) issue(cert, ca *x509.Certificate, caKey *ecdsa.PrivateKey, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make %s: %w", certFile, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
	if err != nil {
		return fmt.Errorf("make %s: %w", certFile, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("make %s: %w", keyFile, err)
	}
	if err := l.writePEM(certFile, "CERTIFICATE", der); err != nil {
		return err
	}
	return l.writePEM(keyFile, "PRIVATE KEY", private)
}

func (l *Lab) writePEM(name, kind string, der []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return os.WriteFile(filepath.Join(l.pkiDir(), name), text, 0o600)
}
