package git

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"golang.org/x/crypto/ssh"
)

// signers are those whose commits are taken: lines in the format of
// ssh-keygen(1), ALLOWED SIGNERS, and armored OpenPGP public keys, in one file.
type signers struct {
	ssh []sshSigner
	pgp openpgp.EntityList
}

// sshSigner is one line of allowed_signers.
type sshSigner struct {
	principals    []string
	authority     bool // the key signs certificates, not commits
	namespaces    []string
	after, before time.Time // zero = no bound
	key           ssh.PublicKey
}

const (
	maxSigners = 1 << 20 // bytes
	pgpBegin   = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	pgpEnd     = "-----END PGP PUBLIC KEY BLOCK-----"
)

// readSigners reads the file anew: who is removed from it is out at once.
func readSigners(name string) (signers, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return signers{}, fmt.Errorf("read allowed signers: %w", err)
	}
	if len(data) > maxSigners {
		return signers{}, fmt.Errorf("read allowed signers: %s is larger than %d KiB", name, maxSigners>>10)
	}
	s, err := parseSigners(string(data))
	if err != nil {
		return s, fmt.Errorf("read allowed signers: %s%w", name, err)
	}
	return s, nil
}

func parseSigners(text string) (signers, error) {
	var s signers
	var block strings.Builder
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, maxSigners)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == pgpBegin || block.Len() > 0:
			block.WriteString(line + "\n")
			if line != pgpEnd {
				continue
			}
			keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(block.String()))
			if err != nil {
				return s, fmt.Errorf(":%d: the OpenPGP key cannot be read: %w", n, err)
			}
			s.pgp = append(s.pgp, keys...)
			block.Reset()
		case line == "" || line[0] == '#':
		default:
			signer, err := parseSSHSigner(line)
			if err != nil {
				return s, fmt.Errorf(":%d: %w", n, err)
			}
			s.ssh = append(s.ssh, signer)
		}
	}
	switch {
	case lines.Err() != nil:
		return s, fmt.Errorf(": %w", lines.Err())
	case block.Len() > 0:
		return s, errors.New(": the last OpenPGP key has no end")
	case len(s.ssh)+len(s.pgp) == 0:
		return s, errors.New(" names nobody, so that no commit could be taken")
	}
	return s, nil
}

// parseSSHSigner reads `principals [options] keytype base64 [comment]`.
func parseSSHSigner(line string) (sshSigner, error) {
	var s sshSigner
	principals, rest, ok := strings.Cut(line, " ")
	if !ok {
		return s, errors.New("wanted principals, options and a public key")
	}
	s.principals = strings.Split(strings.Trim(principals, `"`), ",")
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return s, errors.New("wanted principals, options and a public key; the key cannot be read")
	}
	s.key = key
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "cert-authority":
			s.authority = true
		case "namespaces":
			s.namespaces = strings.Split(value, ",")
		case "valid-after":
			s.after, err = parseStamp(value)
		case "valid-before":
			s.before, err = parseStamp(value)
		default:
			err = fmt.Errorf("unknown option %q; known are cert-authority, namespaces, valid-after and valid-before", name)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// parseStamp reads YYYYMMDD[HHMM[SS]][Z], in local time without the Z.
func parseStamp(text string) (time.Time, error) {
	zone := time.Local
	digits, utc := strings.CutSuffix(text, "Z")
	if utc {
		zone = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(layout) == len(digits) {
			if at, err := time.ParseInLocation(layout, digits, zone); err == nil {
				return at, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time; write YYYYMMDD or YYYYMMDDHHMMSSZ", text)
}

// refuses says why this line does not allow a signature in the namespace of
// git made at that time; "" = it does.
func (s sshSigner) refuses(key ssh.PublicKey, at time.Time) string {
	switch {
	case !s.holds(key, at):
		return "its key is not among the allowed signers"
	case len(s.namespaces) > 0 && !slices.ContainsFunc(s.namespaces, func(pattern string) bool { ok, _ := path.Match(pattern, "git"); return ok }):
		return "its key is not allowed to sign in the namespace git"
	case !s.after.IsZero() && at.Before(s.after):
		return "its key was not valid yet when the commit was made"
	case !s.before.IsZero() && at.After(s.before):
		return "its key was not valid any more when the commit was made"
	}
	return ""
}

// holds reports whether the line is about the key: it is that key, or the
// authority that certified it for one of the line's principals.
func (s sshSigner) holds(key ssh.PublicKey, at time.Time) bool {
	certificate, isCertificate := key.(*ssh.Certificate)
	if !s.authority {
		return !isCertificate && sameKey(s.key, key)
	}
	if !isCertificate || certificate.CertType != ssh.UserCert || !sameKey(s.key, certificate.SignatureKey) {
		return false
	}
	checker := ssh.CertChecker{Clock: func() time.Time { return at }}
	return slices.ContainsFunc(certificate.ValidPrincipals, func(principal string) bool {
		return matchesAny(s.principals, principal) && checker.CheckCert(principal, certificate) == nil
	})
}

func sameKey(a, b ssh.PublicKey) bool { return string(a.Marshal()) == string(b.Marshal()) }

// matchesAny is ssh's list of patterns, in which ! takes a match back.
func matchesAny(patterns []string, name string) bool {
	found := false
	for _, pattern := range patterns {
		pattern, not := strings.CutPrefix(pattern, "!")
		if ok, _ := path.Match(pattern, name); ok && not {
			return false
		} else if ok {
			found = true
		}
	}
	return found
}
