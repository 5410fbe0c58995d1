package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// forgePort is where a Forge listens.
const forgePort = "8443"

// Forge is a Git server on a host: Git's own smart HTTP behind TLS and a
// login, with one repository, and somebody whose commits are signed.
type Forge struct {
	Work string // where somebody edits
	URL  string // for vipilot, without a reference

	CAFile, TokenFile, SignersFile string

	dir, login string
	server     *http.Server
	down       atomic.Bool
}

// StartForge serves an empty repository from h; who fetches must know token.
// Its files lie below dir.
func (h *Host) StartForge(address, dir, token string) (*Forge, error) {
	f := &Forge{Work: filepath.Join(dir, "work"), URL: "git+https://" + net.JoinHostPort(address, forgePort) + "/fleet.git", dir: dir, login: token,
		CAFile: filepath.Join(dir, "ca.pem"), TokenFile: filepath.Join(dir, "token"), SignersFile: filepath.Join(dir, "signers")}
	pair, err := f.files(address)
	if err != nil {
		return nil, fmt.Errorf("start a forge: %w", err)
	}
	listener, err := h.Listen(net.JoinHostPort(address, forgePort))
	if err != nil {
		return nil, fmt.Errorf("start a forge: %w", err)
	}
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a forge: %w", err), listener.Close())
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"), Root: "/", Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1"},
	}
	f.server = &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}, ErrorLog: log.New(io.Discard, "", 0), Handler: f.guarded(backend)}
	go func() { _ = f.server.ServeTLS(listener, "", "") }() // until Close
	return f, nil
}

func (f *Forge) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case f.down.Load():
			panic(http.ErrAbortHandler) // the connection ends without an answer
		case password != f.login:
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// files makes the repository, the key that signs and the server's certificate.
func (f *Forge) files(address string) (tls.Certificate, error) {
	var none tls.Certificate
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return none, err
	}
	key := filepath.Join(f.dir, "key")
	for _, command := range [][]string{
		{"git", "init", "-q", "--bare", "-b", "main", filepath.Join(f.dir, "fleet.git")}, {"git", "init", "-q", "-b", "main", f.Work},
		{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann", "-f", key},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return none, fmt.Errorf("%s: %w: %s", command[0], err, out)
		}
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return none, err
	}
	template := certificate(1, "forge")
	template.IPAddresses, template.IsCA, template.BasicConstraintsValid = []net.IP{net.ParseIP(address)}, true, true
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return none, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return none, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, errors.Join(
		os.WriteFile(f.SignersFile, []byte("ann@example.net "+string(public)), 0o600),
		os.WriteFile(f.TokenFile, []byte(f.login+"\n"), 0o600),
		os.WriteFile(f.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

// Git runs git in the work tree and returns what it says.
func (f *Forge) Git(ctx context.Context, args ...string) (string, error) {
	settings := []string{"-c", "user.name=Ann", "-c", "user.email=ann@example.net", "-c", "gpg.format=ssh", "-c", "user.signingkey=" + filepath.Join(f.dir, "key")}
	cmd := exec.CommandContext(ctx, "git", append(settings, args...)...)
	cmd.Dir = f.Work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// Push writes files below the work tree, commits them all, signed or not, and
// pushes by force what came of it, to a second branch as well. It returns the
// commit.
func (f *Forge) Push(ctx context.Context, files map[string]string, sign bool) (string, error) {
	for name, text := range files {
		name = filepath.Join(f.Work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			return "", err
		}
	}
	signed := "--no-gpg-sign"
	if sign {
		signed = "--gpg-sign"
	}
	for _, step := range [][]string{{"add", "-A"}, {"commit", "-q", "--allow-empty", "-m", "change", signed}, {"push", "-q", "--force", filepath.Join(f.dir, "fleet.git"), "HEAD:refs/heads/main", "HEAD:refs/heads/draft"}} {
		if _, err := f.Git(ctx, step...); err != nil {
			return "", err
		}
	}
	return f.Git(ctx, "rev-parse", "HEAD")
}

// DeleteBranch removes the branch that is followed from the server.
func (f *Forge) DeleteBranch(ctx context.Context) error {
	_, err := f.Git(ctx, "--git-dir", filepath.Join(f.dir, "fleet.git"), "update-ref", "-d", "refs/heads/main")
	return err
}

// Fail has the server end every connection without an answer, or serve again.
func (f *Forge) Fail(down bool) { f.down.Store(down) }

// Close ends the server and removes its files.
func (f *Forge) Close() error { return errors.Join(f.server.Close(), os.RemoveAll(f.dir)) }
