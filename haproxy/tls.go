package haproxy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/haproxytech/client-native/v6/config-parser/params"
)

// Profile names a choice of TLS versions and ciphers.
type Profile string

// The profiles of https://wiki.mozilla.org/Security/Server_Side_TLS, version
// 5.7. The zero value is Intermediate.
const (
	Modern       Profile = "modern"
	Intermediate Profile = "intermediate"
	Old          Profile = "old"
)

// Certificate is one PEM bundle (chain and key) under a file name of its own.
type Certificate struct {
	Name string // [A-Za-z0-9._@-]
	PEM  []byte
	// Hosts are the server names it answers to; empty = those it is made for.
	// A client that names none gets the first certificate of the frontend.
	Hosts  []string
	Client *ClientCheck // nil = clients of these hosts are not asked for a certificate
	OCSP   []byte       // DER (RFC 6960): stapled while it is valid; nil = none
	// FetchOCSP has HAProxy, from 2.8 on, ask the responder that the certificate
	// names, which must be there, with the certificate that signed it.
	FetchOCSP bool
}

// ClientCheck is what is asked of clients.
type ClientCheck struct {
	CA       Bundle
	Required bool // false: a client may show none
}

// Bundle is a set of CA certificates in PEM under a file name of its own. An
// empty name stands for those of the operating system.
type Bundle struct {
	Name string // [A-Za-z0-9._@-]
	PEM  []byte
}

// BackendTLS is TLS to the servers of a backend.
type BackendTLS struct {
	Verify     bool
	CA         Bundle       // who vouches for the servers
	ServerName string       // asked for (SNI) and verified; "" = an http client's Host
	Cert       *Certificate // shown to the servers; nil = none
}

// Guard is what a backend demands of a request that arrived over TLS.
type Guard struct {
	HSTS   time.Duration // told to browsers (RFC 6797)
	Client ClientNeed
	HTTP3  uint16 // the port where clients are told that HTTP/3 is offered; 0 = they are not
}

// ClientNeed says what a backend demands of the client's certificate.
type ClientNeed string

// Both also demand that the request is for the host that TLS began with.
const (
	CertRequired ClientNeed = "required"
	CertOptional ClientNeed = "optional"
)

func (f Frontend) certList() string { return "certs/" + f.Name + ".list" }
func (c Certificate) file() string  { return "certs/" + c.Name + ".pem" }

func (b Bundle) file() string {
	if b.Name == "" {
		return "@system-ca"
	}
	return "certs/" + b.Name + ".ca"
}

// line is the certificate's line in a crt-list.
func (c Certificate) line() string {
	line := c.file()
	var options []string
	if k := c.Client; k != nil {
		verify := "optional"
		if k.Required {
			verify = "required"
		}
		options = append(options, "verify "+verify+" ca-file "+k.CA.file())
	}
	if c.FetchOCSP {
		options = append(options, fetchOCSP)
	}
	if len(options) > 0 {
		line += " [" + strings.Join(options, " ") + "]"
	}
	return strings.Join(append([]string{line}, c.Hosts...), " ")
}

// addTLSFiles adds the certificates of the frontend and their list.
func (f Frontend) addTLSFiles(files Files) {
	var list strings.Builder
	for _, c := range f.Certificates {
		files[c.file()] = c.PEM
		if len(c.OCSP) > 0 {
			files[c.ocspFile()] = c.OCSP
		}
		list.WriteString(c.line() + "\n")
		if c.Client != nil && c.Client.CA.Name != "" {
			files[c.Client.CA.file()] = c.Client.CA.PEM
		}
	}
	if list.Len() > 0 {
		files[f.certList()] = []byte(list.String())
	}
}

// addTLSFiles adds what the servers are verified by and shown.
func (b *Backend) addTLSFiles(files Files) {
	if b.TLS == nil {
		return
	}
	if b.TLS.CA.Name != "" {
		files[b.TLS.CA.file()] = b.TLS.CA.PEM
	}
	if b.TLS.Cert != nil {
		files[b.TLS.Cert.file()] = b.TLS.Cert.PEM
	}
}

const (
	curves       = " curves X25519:prime256v1:secp384r1"
	ciphersuites = " ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
	forward      = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" +
		"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
	ancient = ":ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:" +
		"ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:" +
		"AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA256:AES256-SHA256:AES128-SHA:AES256-SHA:DES-CBC3-SHA:@SECLEVEL=0"
)

// profiles are the keywords of a bind. Tickets are left out as their keys
// would live as long as the process; sessions resume from HAProxy's cache.
var profiles = map[Profile]string{
	Modern:       "ssl-min-ver TLSv1.3" + ciphersuites + curves + " prefer-client-ciphers no-tls-tickets",
	Intermediate: "ssl-min-ver TLSv1.2 ciphers " + forward + ciphersuites + curves + " prefer-client-ciphers no-tls-tickets",
	Old:          "ssl-min-ver TLSv1.0 ciphers " + forward + ancient + ciphersuites + curves + " no-tls-tickets",
}

// resumes reports whether TLS sessions may be resumed. HAProxy resumes a
// session of TLS 1.3 under any server name, on any bind, and takes the client's
// certificate for verified then: with two CAs, what the one vouched for would
// open what is the other's.
func (c Config) resumes() bool {
	var ca []byte
	for _, f := range c.Frontends {
		for _, cert := range f.Certificates {
			switch {
			case cert.Client == nil:
			case ca == nil:
				ca = cert.Client.CA.PEM
			case !bytes.Equal(ca, cert.Client.CA.PEM):
				return false
			}
		}
	}
	return true
}

// tlsKeywords are what follows a bind that terminates TLS.
func (f Frontend) tlsKeywords() string {
	profile := f.Profile
	if profile == "" {
		profile = Intermediate
	}
	return fmt.Sprintf(" ssl crt-list %s alpn h2,http/1.1 %s", f.certList(), profiles[profile])
}

// tlsRules writes what the backend demands of requests, and what it needs to
// speak TLS to its servers. A request for another host than TLS began with
// came past the check of the client's certificate, so it is sent back (RFC 9110,
// section 15.5.20); over plain HTTP nothing was checked at all.
func (b *Backend) tlsRules(w *strings.Builder) {
	if b.Guard.HSTS > 0 {
		fmt.Fprintf(w, "  http-after-response set-header Strict-Transport-Security max-age=%d if { ssl_fc }\n", int64(b.Guard.HSTS.Seconds()))
	}
	if b.Guard.HTTP3 > 0 {
		fmt.Fprintf(w, "  http-after-response set-header Alt-Svc h3=\\\":%d\\\";\\ ma=%d if { ssl_fc }\n", b.Guard.HTTP3, altSvcAge)
	}
	if b.Guard.Client != "" {
		w.WriteString(`  http-request deny deny_status 403 if !{ ssl_fc }
  http-request set-var(txn.sni) ssl_fc_sni,lower
  http-request return status 421 content-type text/plain string "this connection was opened for another host\n" unless { req.hdr(host),host_only,lower,strcmp(txn.sni) eq 0 }
`)
		if b.Guard.Client == CertRequired {
			w.WriteString("  http-request deny deny_status 403 unless { ssl_c_used } { ssl_c_verify 0 }\n")
		}
		w.WriteString(`  http-request del-header X-SSL-Client- -m beg
  http-request set-header X-SSL-Client-DN %[ssl_c_s_dn(,0,rfc2253)] if { ssl_c_used }
  http-request set-header X-SSL-Client-SHA1 %[ssl_c_sha1,hex] if { ssl_c_used }
`)
	}
	if b.TLS != nil && b.TLS.Verify { // has the CA certificates read, so that servers can be added at run time
		fmt.Fprintf(w, "  default-server ssl verify required ca-file %s\n", b.TLS.CA.file())
	}
}

// serverOptions are the keywords of a server.
func (t *BackendTLS) serverOptions(mode Mode) []params.ServerOption {
	if t == nil {
		return nil
	}
	list := []params.ServerOption{word("ssl")}
	if t.Verify {
		list = append(list, value("verify", "required"), value("ca-file", t.CA.file()))
	} else {
		list = append(list, value("verify", "none"))
	}
	switch {
	case t.ServerName != "": // what HAProxy asks for is also what it verifies
		list = append(list, value("sni", "str("+t.ServerName+")"), value("check-sni", t.ServerName))
	case mode == HTTP:
		list = append(list, value("sni", "req.hdr(host),host_only"))
	}
	if t.Cert != nil {
		list = append(list, value("crt", t.Cert.file()))
	}
	return list
}

// checkTLS returns every fault of names that would stand in a file or a command.
func checkTLS(f Frontend, seen map[string][]byte) error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("frontend %q: "+format, append([]any{f.Name}, args...)...))
	}
	if _, ok := profiles[f.Profile]; f.Profile != "" && !ok {
		fault("TLS profile %q is unknown (modern, intermediate, old)", f.Profile)
	}
	for _, c := range f.Certificates {
		if !certForm.MatchString(c.Name) {
			fault("certificate name %q may hold letters, digits and ._@- only", c.Name)
		}
		for _, host := range c.Hosts {
			if !hostForm.MatchString(host) {
				fault("certificate %q: %q is no host name", c.Name, host)
			}
		}
		if other, ok := seen[c.file()]; ok && string(other) != string(c.PEM) {
			fault("certificate %q has another content elsewhere", c.Name)
		}
		seen[c.file()] = c.PEM
		if c.Client == nil {
			continue
		}
		if !certForm.MatchString(c.Client.CA.Name) {
			fault("CA name %q may hold letters, digits and ._@- only", c.Client.CA.Name)
		}
		if other, ok := seen[c.Client.CA.file()]; ok && string(other) != string(c.Client.CA.PEM) {
			fault("CA %q has another content elsewhere", c.Client.CA.Name)
		}
		seen[c.Client.CA.file()] = c.Client.CA.PEM
	}
	return errors.Join(errs...)
}

// fault says why HAProxy must not see this, "" when it may.
func (t *BackendTLS) fault() string {
	switch {
	case t == nil:
		return ""
	case t.ServerName != "" && (!hostForm.MatchString(t.ServerName) || strings.HasPrefix(t.ServerName, "*")):
		return fmt.Sprintf("TLS server name %q is no host name", t.ServerName)
	case t.Verify && t.ServerName == "":
		return "servers are verified by no name"
	case t.CA.Name != "" && !certForm.MatchString(t.CA.Name):
		return fmt.Sprintf("CA name %q may hold letters, digits and ._@- only", t.CA.Name)
	case t.Cert != nil && !certForm.MatchString(t.Cert.Name):
		return fmt.Sprintf("certificate name %q may hold letters, digits and ._@- only", t.Cert.Name)
	}
	return ""
}
