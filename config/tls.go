package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// ServerTLS is TLS termination of an HTTP service. Exactly one of
// Certificates and ACME is set.
type ServerTLS struct {
	Port         uint16
	Certificates []Certificate // sorted by Name
	ACME         string        // the issuer that certificates for Hosts come from
	Redirect     bool          // plain HTTP is redirected
	Profile      Profile
	HSTS         time.Duration // for how long browsers shall insist on TLS (RFC 6797); 0 = not said
	ClientCA     []byte        // PEM; who vouches for clients; nil = no client certificates
	Client       ClientAuth    // "" without ClientCA
	HTTP3        bool          `json:",omitempty"` // offered beside HTTP/2, on the same port of UDP
	OCSP         bool          `json:",omitempty"` // HAProxy fetches what authorities say of the certificates, and staples it
}

// Certificate is a chain with its key, as read from one file.
type Certificate struct {
	Name string // of the file within certificates_dir, without .pem; "" = certificate_file
	PEM  Secret // chain and key
	OCSP []byte `json:",omitempty"` // DER; what its authority says of it, from the file with .ocsp behind its name; nil = nothing
}

// Profile names a choice of TLS versions and ciphers, as Mozilla publishes them.
type Profile string

// The profiles of https://wiki.mozilla.org/Security/Server_Side_TLS, version 5.7.
const (
	Modern       Profile = "modern"
	Intermediate Profile = "intermediate"
	Old          Profile = "old"
)

// ClientAuth says whether a client must show a certificate.
type ClientAuth string

// A certificate that is shown must be good in both cases.
const (
	ClientRequired ClientAuth = "required"
	ClientOptional ClientAuth = "optional"
)

// BackendTLS is TLS to the servers of a backend.
type BackendTLS struct {
	Verify     bool
	CA         []byte // PEM; nil = those of the operating system
	ServerName string // what the servers' certificates must be made for, and what they are asked for (SNI)
	Cert       Secret // chain and key of the client certificate shown to them; "" = none
}

// readServerTLS reads services.<name>.http.tls.
func readServerTLS(v value) *ServerTLS {
	t := ServerTLS{Port: 443, Profile: Intermediate}
	object([]value{v}, keys{
		"port":             into(&t.Port, asPort),
		"certificate_file": fileLater,
		"certificates_dir": fileLater,
		"acme":             into(&t.ACME, asRef(kindIssuer)),
		"redirect":         into(&t.Redirect, asBool),
		"profile":          into(&t.Profile, word(Modern, Intermediate, Old)),
		"hsts":             into(&t.HSTS, asDuration(0, 100*365*24*time.Hour, time.Second)),
		"client_ca_file":   into(&t.ClientCA, asCA),
		"http3":            into(&t.HTTP3, asBool),
		"ocsp":             into(&t.OCSP, asBool),
		"client":           into(&t.Client, word(ClientRequired, ClientOptional)),
	})
	switch {
	case !v.has("client_ca_file"):
		if v.has("client") {
			v.dig("client").faultf("nobody vouches for clients").Hint = "set client_ca_file"
		}
	case !t.Redirect:
		v.dig("client_ca_file").faultf("over plain HTTP no client shows a certificate").Hint = "set redirect: true"
	default:
		t.Client = cmp.Or(t.Client, ClientRequired)
	}
	return &t
}

// findCertificates reads the one source of certificates that is given, and
// wants it to cover every host.
func (t *ServerTLS) findCertificates(v value, hosts []string) {
	var given []string
	for _, key := range []string{"certificate_file", "certificates_dir", "acme"} {
		if v.has(key) {
			given = append(given, key)
		}
	}
	if len(given) != 1 {
		if v.isMapping() {
			v.faultf("wanted one of certificate_file, certificates_dir and acme, found %d", len(given))
		}
		return
	}
	at := v.dig(given[0])
	switch given[0] {
	case "certificate_file":
		t.Certificates = readCertificate(at)
	case "certificates_dir":
		t.Certificates = readCertificates(at, hosts)
	}
	if given[0] != "acme" {
		if len(t.Certificates) > 0 {
			checkCoverage(at, t.Certificates, hosts)
		}
		return
	}
	if len(hosts) == 0 {
		at.faultf("the names to ask certificates for are not known").Hint = "set hosts"
	}
	for _, host := range hosts {
		if strings.HasPrefix(host, "*") {
			at.faultf("%s cannot be had over HTTP-01, which proves single names", host).Hint = "use certificate_file or certificates_dir for it"
		}
	}
}

// tlsUse is the TLS of one service and where it stands.
type tlsUse struct {
	*ServerTLS
	at value
}

// compareTLS wants services that share a port to want TLS alike, where the
// port has only one answer: the profile, and who a host asks for a certificate.
func (l *loader) compareTLS() {
	profiles, clients := make(map[listener]tlsUse), make(map[request]tlsUse)
	http3, asks := make(map[listener]tlsUse), make(map[listener]tlsUse)
	for _, s := range l.cfg.Services {
		if s.HTTP == nil || s.HTTP.TLS == nil || l.broken[declaration{kindService, s.Name}] {
			continue
		}
		t := tlsUse{s.HTTP.TLS, l.declared[kindService][s.Name].dig("http", "tls")}
		on := tcpPort(s.VIP, t.Port)
		if first, taken := profiles[on]; !taken {
			profiles[on] = t
		} else if first.Profile != t.Profile {
			t.at.dig("profile").faultf("port %d of %s has the profile %s here and %s in %s, at %s",
				t.Port, s.VIP, t.Profile, first.Profile, first.at.path, first.at.place()).Hint = "one port has one profile"
		}
		l.compareHTTP3(on, t, http3, asks)
		for _, host := range s.HTTP.Hosts {
			key := request{on: on, host: host}
			if first, taken := clients[key]; !taken {
				clients[key] = t
			} else if first.Client != t.Client || !bytes.Equal(first.ClientCA, t.ClientCA) {
				t.at.faultf("%s asks for another client certificate in %s, at %s", host, first.at.path, first.at.place()).
					Hint = "a client shows its certificate before it names a path: give both services the same client_ca_file and client"
			}
		}
		l.compareIssuer(s, t.at)
	}
}

// compareIssuer wants what HTTP-01 needs: port 80 of the VIP, and a store
// that every node of the VIP can read.
func (l *loader) compareIssuer(s Service, at value) {
	if s.HTTP.TLS.ACME == "" {
		return
	}
	if s.HTTP.Port != 80 {
		at.dig("acme").faultf("a certificate authority asks on port 80, and http.port is %d", s.HTTP.Port)
	}
	vip, declared := l.cfg.VIP(s.VIP)
	issuer, known := l.cfg.Issuer(s.HTTP.TLS.ACME)
	if declared && known && issuer.Storage == "" && len(vip.Nodes) > 1 {
		at.dig("acme").faultf("%d nodes carry %s and issuer %q has no storage that they share", len(vip.Nodes), s.VIP, issuer.Name).
			Hint = fmt.Sprintf("set acme.%s.storage to a directory on every node, such as an NFS mount", issuer.Name)
	}
}

// readBackendTLS reads services.<name>.backend.tls: a bool, or what is said of it.
func readBackendTLS(v value) *BackendTLS {
	t := BackendTLS{Verify: true}
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() != "!!null" {
		if on, ok := asBool(v); !ok || !on {
			return nil
		}
		return &t
	}
	var chain []byte
	var key Secret
	object([]value{v}, keys{
		"ca_file":     into(&t.CA, asCA),
		"server_name": into(&t.ServerName, asPlainHostName),
		"verify":      into(&t.Verify, asBool),
		"cert_file":   into(&chain, asFile),
		"key_file":    into(&key, asSecretFile),
	})
	switch {
	case v.has("cert_file") != v.has("key_file"):
		v.faultf("a client certificate needs both cert_file and key_file")
	case chain != nil && key != "":
		if leaf, ok := keyPair(v.dig("cert_file"), chain, []byte(key)); ok {
			warnOutOfTime(v.dig("cert_file"), leaf)
			t.Cert = Secret(strings.TrimSpace(string(chain)) + "\n" + strings.TrimSpace(string(key)) + "\n")
		}
	}
	if !t.Verify {
		if v.has("ca_file") {
			v.dig("ca_file").faultf("verify: false asks nobody")
		}
		v.dig("verify").warnf("whoever answers at a server's address is believed").Hint = "set ca_file instead"
	}
	return &t
}

func asPlainHostName(v value) (string, bool) {
	return parsed("a host name", func(text string) (string, *refusal) { return parseHost(text, false) })(v)
}

// checkServerName finds the name that a backend's servers are verified by.
func checkServerName(s *Service, at value) {
	t := s.Backend.TLS
	if t == nil || t.ServerName != "" {
		return
	}
	if s.HTTP != nil {
		i := slices.IndexFunc(s.HTTP.Hosts, func(host string) bool { return !strings.HasPrefix(host, "*") })
		if i >= 0 {
			t.ServerName = s.HTTP.Hosts[i]
			return
		}
	}
	if t.Verify {
		at.faultf("the name that the servers' certificates are made for is not known").Hint = "set server_name"
	}
}

// certificates are the PEM texts of all certificates of a configuration.
func (c *Config) certificates() map[string]bool {
	all := make(map[string]bool)
	if c == nil {
		return all
	}
	for _, s := range c.Services {
		if s.HTTP == nil || s.HTTP.TLS == nil {
			continue
		}
		for _, one := range s.HTTP.TLS.Certificates {
			all[one.PEM.Reveal()] = true
		}
	}
	return all
}
