package config

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"time"
)

// keyPair checks that a chain and a key belong together and gives the leaf.
// An expired certificate is worth a warning only: to refuse it would keep the
// rest of a revision out as well.
func keyPair(v value, chain, key []byte) (*x509.Certificate, bool) {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		v.faultf("not a certificate with its key: %s", strings.TrimPrefix(err.Error(), "tls: "))
		return nil, false
	}
	leaf := pair.Leaf
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		v.warnf("the certificate expired on %s", leaf.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		v.warnf("the certificate is valid only from %s", leaf.NotBefore.UTC().Format(time.DateOnly))
	}
	return leaf, true
}

// warnUncovered remarks on hosts that the certificate is not made for.
func warnUncovered(v value, leaf *x509.Certificate, hosts []string) {
	var uncovered []string
	for _, host := range hosts {
		if leaf.VerifyHostname(strings.Replace(host, "*", "any", 1)) != nil {
			uncovered = append(uncovered, host)
		}
	}
	if len(uncovered) > 0 {
		v.warnf("the certificate does not cover %s (it covers: %s)", enumerate(uncovered), enumerate(leaf.DNSNames))
	}
}

// asCA reads at least one certificate in PEM.
func asCA(v value) ([]byte, bool) {
	data, ok := asFile(v)
	if ok && !x509.NewCertPool().AppendCertsFromPEM(data) {
		v.faultf("no certificate in PEM form in the file")
		return nil, false
	}
	return data, ok
}

// asSecretFile reads a file whose content must not be printed.
func asSecretFile(v value) (Secret, bool) {
	data, ok := asFile(v)
	return Secret(data), ok
}
