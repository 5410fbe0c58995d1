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
func explain(url string, err error) error {
	if err == nil {
		return fmt.Errorf("reach docker engine at %s: the session ended", url)
	}
	if d := (*dialError)(nil); errors.As(err, &d) {
		return fmt.Errorf("reach docker engine at %s: %w", url, explainDial(url, d.cause))
	}
	said := strings.Join(strings.Fields(err.Error()), " ")
	hint := ""
	cert, ok := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case ok:
		hint = certificateFault(cert)
	case strings.Contains(said, "remote error: tls:"):
		_, alert, _ := strings.Cut(said, "remote error: ")
		hint = "the engine refuses this node's certificate (" + alert + "); check tls.cert_file and tls.key_file: valid today, and signed by the engine's --tlscacert"
	case strings.Contains(said, "server gave HTTP response to HTTPS client"):
		hint = "the engine does not speak TLS on this port; start dockerd with --tlsverify, or remove tls"
	case strings.Contains(said, "HTTP request to an HTTPS server"), strings.Contains(said, "malformed HTTP response"):
		hint = "the engine speaks TLS on this port; give tls.ca_file, tls.cert_file and tls.key_file"
	case errors.Is(err, context.DeadlineExceeded):
		hint = "the engine does not answer: it hangs, or something else listens there"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		hint = "the engine closed the connection; is it restarting?"
	}
	if hint == "" {
		return fmt.Errorf("reach docker engine at %s: %w", url, &oneLine{said, err})
	}
	return fmt.Errorf("reach docker engine at %s: %w", url, &oneLine{hint, err})
}

// oneLine is an error said in other words.
type oneLine struct {
	said string
	err  error
}

func (e *oneLine) Error() string { return e.said }
func (e *oneLine) Unwrap() error { return e.err }

func explainDial(url string, err error) error {
	timeout, ok := errors.AsType[net.Error](err)
	said := err.Error()
	switch socket := strings.TrimPrefix(url, "unix://"); {
	case errors.Is(err, fs.ErrPermission):
		said = fmt.Sprintf("permission denied on %s: run as root or join group docker", socket)
	case errors.Is(err, fs.ErrNotExist):
		said = fmt.Sprintf("no socket %s: is dockerd running, and is the socket mounted into this container?", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		said = "connection refused: is dockerd running and listening there?"
	case ok && timeout.Timeout():
		said = "no answer: is the machine up, and does a firewall drop the port?"
	}
	return &oneLine{said, err}
}

// certificateFault says what is wrong with the engine's certificate.
func certificateFault(e *tls.CertificateVerificationError) string {
	subject := ""
	if len(e.UnverifiedCertificates) > 0 {
		leaf := e.UnverifiedCertificates[0]
		subject = fmt.Sprintf(" %.80q (valid %s to %s)", leaf.Subject.String(), leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly))
	}
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](e.Err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](e.Err)
	_, isHostname := errors.AsType[x509.HostnameError](e.Err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return "the engine's certificate" + subject + " has expired or is not valid yet; renew it, or set this node's clock"
	case isUnknown:
		return "the engine's certificate" + subject + " is not signed by tls.ca_file"
	case isHostname:
		return "the engine's certificate" + subject + " is for another name: " + e.Err.Error()
	}
	return "the engine's certificate" + subject + " is refused: " + e.Err.Error()
}
