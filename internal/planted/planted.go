// Package planted remembers secrets that a test has hidden in files, and finds
// them in what a program said: as they are, in base64, in hexadecimal, escaped
// for a URL, for JSON or for HTML.
//
//	var secrets planted.Secrets
//	secrets.Plant("BGP password", "xK2…")
//	for _, leak := range secrets.In(output) { t.Error(leak) }
package planted

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"maps"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Secrets are what must not be said. The zero value knows none.
type Secrets struct {
	needles map[string]string // to what it is
}

// Plant remembers a secret of eight characters or more, and returns it.
func (s *Secrets) Plant(what, secret string) string {
	if len(secret) < 8 {
		panic(fmt.Sprintf("%s is too short to be found", what)) // of a test's author
	}
	if s.needles == nil {
		s.needles = make(map[string]string)
	}
	quoted, _ := json.Marshal(secret)
	for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), url.QueryEscape(secret), html.EscapeString(secret), strings.Trim(string(quoted), `"`)} {
		s.needles[form] = what
	}
	for offset := range 3 { // wherever in an encoded text it begins
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), secret...))
		s.needles[encoded[[]int{0, 2, 3}[offset]:len(encoded)-1]] = what
	}
	return secret
}

// PlantKey remembers every line of a private key in PEM, and returns the PEM.
func (s *Secrets) PlantKey(what string, text []byte) []byte {
	inside := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "-----"):
			inside = strings.HasSuffix(line, "PRIVATE KEY-----") && strings.HasPrefix(line, "-----BEGIN")
		case inside && len(line) >= 16:
			s.Plant(what, line)
		}
	}
	return text
}

// In names the secrets in text, each once, with what stands before them.
func (s *Secrets) In(text string) []string {
	found := make(map[string]string)
	for needle, what := range s.needles {
		if i := strings.Index(text, needle); i >= 0 {
			found[what] = fmt.Sprintf("%s after %q", what, text[max(0, i-80):i])
		}
	}
	return slices.Sorted(maps.Values(found))
}

// Pair makes a certificate that signed itself, with its key, for the names,
// and plants the key.
func (s *Secrets) Pair(what string, names ...string) (chain, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), s.PlantKey(what, key), nil
}
