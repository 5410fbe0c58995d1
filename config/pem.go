package config

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// readCertificate reads the one file of certificate_file.
func readCertificate(v value) []Certificate {
	data, ok := asFile(v)
	if !ok {
		return nil
	}
	file, _ := v.fileName()
	c, good := v.certificate(file, data, nil)
	if !good {
		return nil
	}
	return []Certificate{c}
}

// readCertificates reads the *.pem files of certificates_dir that cover one of
// the hosts, and all of them for a service of every host.
func readCertificates(v value, hosts []string) []Certificate {
	dir, ok := v.fileName()
	if !ok {
		return nil
	}
	names, err := v.l.listDir(dir)
	if err != nil {
		v.faultf("cannot list %s: %w", quote(dir), plainError(err))
		return nil
	}
	before := len(v.l.faults)
	var list []Certificate
	for _, file := range names {
		name, isPEM := strings.CutSuffix(path.Base(file), ".pem")
		if !isPEM || strings.HasPrefix(name, ".") {
			continue
		}
		if why := checkName(name); why != nil {
			v.faultf("%s %w", quote(path.Base(file)), why).Hint = why.hint
			continue
		}
		data, err := v.l.readFile(file)
		if err != nil {
			v.faultf("cannot read %s: %w", quote(file), err)
			continue
		}
		of := v
		of.path += "/" + path.Base(file)
		c, good := of.certificate(file, data, hosts)
		if !good {
			continue
		}
		c.Name = name
		list = append(list, c)
	}
	if len(list) == 0 && len(v.l.faults) == before {
		v.faultf("no *.pem in %s covers a host of the service", quote(dir)).Hint = "each file holds a chain and its key"
	}
	slices.SortFunc(list, func(a, b Certificate) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// certificate checks a chain with its key. Where hosts are given, one that
// covers none of them is left out in silence.
func (v value) certificate(file string, data []byte, hosts []string) (Certificate, bool) {
	leaf, ok := keyPair(v, data, data)
	if !ok || len(hosts) > 0 && !slices.ContainsFunc(hosts, func(host string) bool { return covers(leaf, host) }) {
		return Certificate{}, false
	}
	chain, _ := tls.X509KeyPair(data, data)
	if why := brokenChain(chain.Certificate); why != "" {
		v.faultf("%s", why).Hint = "put the certificate first, then the one that signed it, and so on"
		return Certificate{}, false
	}
	if why := outOfTime(leaf); why != "" {
		if !v.l.lenient && !v.l.inForce[string(data)] {
			v.faultf("%s", why)
			return Certificate{}, false
		}
		v.warnf("%s", why)
	}
	return Certificate{PEM: Secret(data), OCSP: v.stapled(file, chain.Certificate)}, true
}

// keyPair checks that a chain and a key belong together and gives the leaf.
func keyPair(v value, chain, key []byte) (*x509.Certificate, bool) {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		v.faultf("not a certificate with its key: %s", strings.TrimPrefix(err.Error(), "tls: "))
		return nil, false
	}
	return pair.Leaf, true
}

// warnOutOfTime remarks on a certificate that nobody will accept now.
func warnOutOfTime(v value, leaf *x509.Certificate) {
	if why := outOfTime(leaf); why != "" {
		v.warnf("%s", why)
	}
}

// outOfTime says why a certificate is not valid at this time, "" when it is.
func outOfTime(leaf *x509.Certificate) string {
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		return "the certificate expired on " + leaf.NotAfter.UTC().Format(time.DateOnly)
	case now.Before(leaf.NotBefore):
		return "the certificate is valid only from " + leaf.NotBefore.UTC().Format(time.DateOnly)
	}
	return ""
}

// brokenChain says which certificate of a chain was not signed by the next,
// "" when all were.
func brokenChain(chain [][]byte) string {
	var below *x509.Certificate
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Sprintf("certificate %d of the file cannot be read: %v", i+1, err)
		}
		if below != nil {
			if err := below.CheckSignatureFrom(c); err != nil {
				return fmt.Sprintf("the chain is broken: certificate %d of the file (%s) was not signed by the next (%s)", i, quote(below.Subject.String()), quote(c.Subject.String()))
			}
		}
		below = c
	}
	return ""
}

// covers reports whether a certificate is made for a host, or a wildcard.
func covers(leaf *x509.Certificate, host string) bool {
	return leaf.VerifyHostname(strings.Replace(host, "*", "any", 1)) == nil
}

// checkCoverage wants a certificate for every host.
func checkCoverage(v value, certificates []Certificate, hosts []string) {
	var uncovered, names []string
	leaves := make([]*x509.Certificate, len(certificates))
	for i, c := range certificates {
		pair, _ := tls.X509KeyPair([]byte(c.PEM), []byte(c.PEM)) // it was read before
		leaves[i] = pair.Leaf
		names = append(names, pair.Leaf.DNSNames...)
	}
	for _, host := range hosts {
		if !slices.ContainsFunc(leaves, func(leaf *x509.Certificate) bool { return covers(leaf, host) }) {
			uncovered = append(uncovered, host)
		}
	}
	if len(uncovered) > 0 {
		v.faultf("no certificate covers %s (covered: %s)", enumerate(uncovered), enumerate(names))
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
