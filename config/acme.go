package config

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// Issuer is a certificate authority that is asked over ACME (RFC 8555).
// To declare one is to agree to its terms of service.
type Issuer struct {
	Name      string
	Directory string // URL of its directory
	Email     string // "" = none is told
	Storage   string // a directory that the nodes share; "" = the state directory of the only node
	CA        []byte // PEM; who vouches for the directory's server; nil = those of the operating system
}

// letsEncrypt are the directories of issuers that need not name theirs.
var letsEncrypt = map[string]string{
	"letsencrypt":         "https://acme-v02.api.letsencrypt.org/directory",
	"letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}

// Issuer finds an issuer by its name.
func (c *Config) Issuer(name string) (Issuer, bool) {
	i := slices.IndexFunc(c.Issuers, func(i Issuer) bool { return i.Name == name })
	if i < 0 {
		return Issuer{}, false
	}
	return c.Issuers[i], true
}

// readIssuer reads acme.<name>.
func readIssuer(v value) Issuer {
	i := Issuer{Name: v.name(), Directory: letsEncrypt[v.name()]}
	object([]value{v}, keys{
		"directory": into(&i.Directory, asDirectoryURL),
		"email":     into(&i.Email, asEmail),
		"storage":   into(&i.Storage, asStorage),
		"ca_file":   into(&i.CA, asCA),
	})
	if i.Directory == "" && !v.has("directory") {
		v.faultf("missing key %q", "directory").Hint = "the URL of the ACME directory; only letsencrypt and letsencrypt-staging are known by name"
	}
	return i
}

func asDirectoryURL(v value) (string, bool) {
	return checked("a URL", func(text string) *refusal {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return &refusal{"is not the URL of an ACME directory", "https://host/path"}
		}
		return nil
	})(v)
}

func asEmail(v value) (string, bool) {
	return checked("an e-mail address", func(text string) *refusal {
		user, host, ok := strings.Cut(text, "@")
		if _, why := parseHost(host, false); !ok || user == "" || why != nil || strings.ContainsAny(text, " \t\r\n,<>?") {
			return &refusal{"is not an e-mail address", "as in ops@example.net"}
		}
		return nil
	})(v)
}

// asStorage reads an absolute directory: what nodes share cannot lie in a
// configuration that each reads by itself.
func asStorage(v value) (string, bool) {
	return checked("a directory", func(text string) *refusal {
		switch {
		case strings.Contains(text, "://"):
			return &refusal{"is not a directory", "mount it on every node and name the directory"}
		case !path.IsAbs(text) || path.Clean(text) != strings.TrimSuffix(text, "/") || strings.ContainsAny(text, "\x00\n"):
			return &refusal{"is not an absolute path", "as in /srv/acme, the same directory on every node"}
		}
		return nil
	})(v)
}
