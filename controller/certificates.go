package controller

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

// Obtained are the certificates that came over ACME. It is replaced, never changed.
type Obtained struct {
	PEM map[string][]byte // by obtainedName; what is temporary is here too
}

func (o *Obtained) pem(name string) []byte {
	if o == nil {
		return nil
	}
	return o.PEM[name]
}

// terminate makes f end TLS for the service, with its certificates.
func terminate(f *haproxy.Frontend, s config.Service, obtained *Obtained) {
	t := s.HTTP.TLS
	f.Profile = haproxy.Profile(t.Profile)
	f.QUIC = f.QUIC || t.HTTP3
	asks := func(pem []byte) bool { return t.OCSP && hasResponder(pem) }
	var check *haproxy.ClientCheck
	if t.Client != "" {
		check = &haproxy.ClientCheck{CA: haproxy.Bundle{Name: s.Name, PEM: t.ClientCA}, Required: t.Client == config.ClientRequired}
	}
	add := func(name string, pem, ocsp []byte, hosts []string) {
		same := func(c haproxy.Certificate) bool { return c.Name == name }
		if len(pem) > 0 && !slices.ContainsFunc(f.Certificates, same) {
			f.Certificates = append(f.Certificates, haproxy.Certificate{Name: name, PEM: pem, OCSP: ocsp, FetchOCSP: asks(pem), Hosts: hosts, Client: check})
		}
	}
	for _, c := range t.Certificates {
		name := s.Name
		if c.Name != "" {
			name += "@" + c.Name // no service has an @ in its name
		}
		pem := []byte(c.PEM.Reveal())
		add(name, pem, c.OCSP, coveredBy(pem, s.HTTP.Hosts))
	}
	if t.ACME != "" {
		for _, host := range s.HTTP.Hosts {
			name := obtainedName(t.ACME, host)
			add(name, obtained.pem(name), nil, []string{host})
		}
	}
}

// finishTLS has HAProxy choose certificates by what they are made for, which
// needs no list of names, unless a client check depends on the name. A client
// that names no host gets one of which no check is asked, where there is one.
func finishTLS(f *haproxy.Frontend) {
	checks := slices.ContainsFunc(f.Certificates, func(c haproxy.Certificate) bool { return c.Client != nil })
	if !checks {
		for i := range f.Certificates {
			f.Certificates[i].Hosts = nil
		}
		return
	}
	open := slices.IndexFunc(f.Certificates, func(c haproxy.Certificate) bool { return c.Client == nil })
	if open > 0 {
		first := f.Certificates[open]
		f.Certificates = slices.Insert(slices.Delete(f.Certificates, open, open+1), 0, first)
	}
}

// hasResponder reports whether a bundle's first certificate says where to ask
// for its OCSP response, and the one that signed it is there: without either
// HAProxy cannot ask.
func hasResponder(pem []byte) bool {
	pair, err := tls.X509KeyPair(pem, pem)
	return err == nil && len(pair.Leaf.OCSPServer) > 0 && len(pair.Certificate) > 1
}

// obtainedName is the file name of a certificate that came over ACME. No file
// of certificates_dir is called so: their names begin with a letter or digit.
func obtainedName(issuer, host string) string {
	const longest = 180
	name := issuer + "@@" + host
	if len(name) > longest {
		sum := sha256.Sum256([]byte(name))
		name = name[:longest-17] + "@" + hex.EncodeToString(sum[:8])
	}
	return strings.ReplaceAll(name, "*", "_")
}

// coveredBy are the hosts that a certificate is made for.
func coveredBy(pem []byte, hosts []string) []string {
	leaf := leafOf(pem)
	return slices.DeleteFunc(slices.Clone(hosts), func(host string) bool {
		return leaf == nil || leaf.VerifyHostname(strings.Replace(host, "*", "any", 1)) != nil
	})
}

// leafOf is the first certificate of a bundle, nil where there is none.
func leafOf(pem []byte) *x509.Certificate {
	pair, err := tls.X509KeyPair(pem, pem)
	if err != nil {
		return nil
	}
	return pair.Leaf
}

// wantGuard is what a service demands of requests over TLS.
func wantGuard(s config.Service) haproxy.Guard {
	if s.HTTP == nil || s.HTTP.TLS == nil {
		return haproxy.Guard{}
	}
	return haproxy.Guard{HSTS: s.HTTP.TLS.HSTS, Client: haproxy.ClientNeed(s.HTTP.TLS.Client), HTTP3: http3Port(s)}
}

// http3Port is where clients of s are told that HTTP/3 is; 0 = nowhere.
func http3Port(s config.Service) uint16 {
	if s.HTTP.TLS.HTTP3 {
		return s.HTTP.TLS.Port
	}
	return 0
}

// wantBackendTLS is TLS to the servers of a service.
func wantBackendTLS(s config.Service) *haproxy.BackendTLS {
	t := s.Backend.TLS
	if t == nil {
		return nil
	}
	want := &haproxy.BackendTLS{Verify: t.Verify, ServerName: t.ServerName}
	if t.CA != nil {
		want.CA = haproxy.Bundle{Name: s.Name + "@@@servers", PEM: t.CA}
	}
	if t.Cert != "" {
		want.Cert = &haproxy.Certificate{Name: s.Name + "@@@client", PEM: []byte(t.Cert.Reveal())}
	}
	return want
}
