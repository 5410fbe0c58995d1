package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// dialError carries the cause of a failed dial past the client library, which
// replaces every text that looks like a refused connection by its own.
type dialError struct{ cause error }

func (e *dialError) Error() string { return "dial docker engine" }
func (e *dialError) Unwrap() error { return e.cause }

// explain makes one line of a lost or never made connection: what was tried,
// what went wrong, and where something can be done about it, what.
func (e *Engine) explain(err error) error {
	said := "the session ended"
	if err != nil {
		said = e.hint(err)
	}
	return fmt.Errorf("reach docker engine at %s: %w", e.opts.URL, &oneLine{said, err})
}

func (e *Engine) hint(err error) string {
	said := strings.Join(strings.Fields(err.Error()), " ")
	dial, isDial := errors.AsType[*dialError](err)
	ssh, isSSH := errors.AsType[*sshError](err)
	cert, isCert := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case isDial:
		return e.explainDial(dial.cause)
	case isSSH:
		return ssh.explain(e.url)
	case isCert:
		return certificateFault(cert)
	case strings.Contains(said, "remote error: tls:"):
		_, alert, _ := strings.Cut(said, "remote error: tls: ")
		return e.refusedCertificate(alert)
	case strings.Contains(said, "server gave HTTP response to HTTPS client"):
		return "the engine does not speak TLS on this port; start dockerd with --tlsverify, or remove tls"
	case strings.Contains(said, "HTTP request to an HTTPS server"), strings.Contains(said, "malformed HTTP response"):
		return "the engine speaks TLS on this port; give tls.ca_file, tls.cert_file and tls.key_file"
	case errors.Is(err, context.DeadlineExceeded):
		return "the engine does not answer: it hangs, or something else listens there"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the engine closed the connection; is it restarting?"
	}
	return said
}

// oneLine is an error said in other words.
type oneLine struct {
	said string
	err  error
}

func (e *oneLine) Error() string { return e.said }
func (e *oneLine) Unwrap() error { return e.err }

func (e *Engine) explainDial(err error) string {
	timeout, ok := errors.AsType[net.Error](err)
	switch socket := e.url.Host; {
	case e.ssh != nil && (errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist)):
		return "there is no ssh program on this node; install the OpenSSH client"
	case e.url.Scheme == "unix" && errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("permission denied on %s: run as root or join group docker", socket)
	case e.url.Scheme == "unix" && errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("no socket %s: is dockerd running, and is the socket mounted into this container?", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: is dockerd running and listening there?"
	case ok && timeout.Timeout():
		return "no answer: is the machine up, and does a firewall drop the port?"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// refusedCertificate says what is wrong with this node's certificate, as far
// as it can be seen from here; alert is the engine's word for it.
func (e *Engine) refusedCertificate(alert string) string {
	if e.opts.TLS == nil || len(e.opts.TLS.Certificates) == 0 {
		return "the engine asks for a client certificate; give tls.cert_file and tls.key_file"
	}
	leaf, err := x509.ParseCertificate(e.opts.TLS.Certificates[0].Certificate[0])
	if err != nil {
		return "the engine refuses this node's certificate, and tls.cert_file cannot be read: " + err.Error()
	}
	if now := time.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return "this node's certificate" + described(leaf) + " has expired or is not valid yet; renew tls.cert_file, or set this node's clock"
	}
	return "the engine refuses this node's certificate" + described(leaf) + " (" + alert + "); tls.cert_file must be signed by the engine's --tlscacert, for client authentication"
}

// certificateFault says what is wrong with the engine's certificate.
func certificateFault(e *tls.CertificateVerificationError) string {
	subject := ""
	if len(e.UnverifiedCertificates) > 0 {
		subject = described(e.UnverifiedCertificates[0])
	}
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](e.Err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](e.Err)
	_, isHostname := errors.AsType[x509.HostnameError](e.Err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return "the engine's certificate" + subject + " has expired or is not valid yet; renew it, or set this node's clock"
	case isUnknown:
		return "the engine's certificate" + subject + " is not signed by tls.ca_file; give the authority that signed it, or another machine answers there"
	case isHostname:
		return "the engine's certificate" + subject + " is for another name (" + strings.TrimPrefix(e.Err.Error(), "x509: ") + "); issue it for the address in hosts.*.docker, or write there the name it is for"
	}
	return "the engine's certificate" + subject + " is refused: " + e.Err.Error()
}

// described names a certificate.
func described(c *x509.Certificate) string {
	return fmt.Sprintf(" %.80q (valid %s to %s)", c.Subject.String(), c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly))
}
