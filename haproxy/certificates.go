package haproxy

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
)

// maxRuntimePEM is the longest certificate that fits HAProxy's command buffer.
const maxRuntimePEM = 12 << 10

// certChange is one change of HAProxy's certificates at run time.
type certChange struct {
	op   certOp
	list string // the crt-list it concerns; "" = none
	cert Certificate
	ca   Bundle
}

type certOp int

const (
	certSet    certOp = iota // another content, wherever it is used
	certAdd                  // a new one for the list
	certRemove               // out of the list, and out of memory
	certLoad                 // into memory, unless it is there
	caSet                    // another content, wherever it is used
	ocspSet                  // another OCSP response, wherever it is used
)

// sameCertificates is true of the very same list, which is what a Set that is
// about something else brings.
func sameCertificates(a, b []Certificate) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// certificatesCause names the difference of certificates that needs a reload,
// "" when there is none. Runtime updates replace contents, and add and remove
// certificates behind the first, which HAProxy keeps as the default.
func certificatesCause(o, n *Frontend) string {
	if sameCertificates(o.Certificates, n.Certificates) {
		return ""
	}
	have := make(map[string]Certificate, len(o.Certificates))
	for _, c := range o.Certificates {
		have[c.Name] = c
	}
	switch {
	case len(o.Certificates) == 0:
		return "TLS begins"
	case len(n.Certificates) == 0:
		return "TLS ends"
	case o.Certificates[0].Name != n.Certificates[0].Name:
		return "another default certificate, " + n.Certificates[0].Name
	}
	for _, c := range n.Certificates {
		old, known := have[c.Name]
		switch {
		case len(c.PEM) > maxRuntimePEM && (!known || !bytes.Equal(c.PEM, old.PEM)):
			return fmt.Sprintf("certificate %s has more than the %d bytes that can be changed at run time", c.Name, maxRuntimePEM)
		case known && c.FetchOCSP != old.FetchOCSP:
			return "certificate " + c.Name + ": http.tls.ocsp, or the certificate's responder, changed"
		case known && c.line() != old.line():
			return "certificate " + c.Name + ": hosts or client certificates changed"
		case !known && c.Client != nil:
			return "certificate " + c.Name + " with client certificates added"
		case !known && c.FetchOCSP:
			return "certificate " + c.Name + " with http.tls.ocsp added"
		case known && c.Client != nil && len(c.Client.CA.PEM) > maxRuntimePEM && !bytes.Equal(c.Client.CA.PEM, old.Client.CA.PEM):
			return fmt.Sprintf("the client CA of %s has more than the %d bytes that can be changed at run time", c.Name, maxRuntimePEM)
		}
	}
	return ""
}

// tlsCause is the same for TLS to the servers of a backend.
func tlsCause(o, n *BackendTLS) string {
	if o == n {
		return ""
	}
	if o == nil || n == nil {
		return "TLS to the servers"
	}
	a, b := *o, *n
	a.CA.PEM, b.CA.PEM = nil, nil
	a.Cert, b.Cert = nil, nil
	switch {
	case a.Verify != b.Verify || a.ServerName != b.ServerName || a.CA.Name != b.CA.Name:
		return "TLS to the servers"
	case (o.Cert == nil) != (n.Cert == nil) || o.Cert != nil && o.Cert.Name != n.Cert.Name:
		return "the certificate shown to the servers"
	case len(n.CA.PEM) > maxRuntimePEM && !bytes.Equal(o.CA.PEM, n.CA.PEM):
		return "the CA of the servers, too long for a change at run time"
	case n.Cert != nil && len(n.Cert.PEM) > maxRuntimePEM && !bytes.Equal(o.Cert.PEM, n.Cert.PEM):
		return "the certificate shown to the servers, too long for a change at run time"
	}
	return ""
}

// certificates plans the way from one list of certificates to the other.
func (p *plan) certificates(o, n *Frontend) {
	if sameCertificates(o.Certificates, n.Certificates) {
		return
	}
	have := make(map[string]Certificate, len(o.Certificates))
	for _, c := range o.Certificates {
		have[c.Name] = c
	}
	for _, c := range n.Certificates {
		old, known := have[c.Name]
		delete(have, c.Name)
		switch {
		case !known:
			p.certs = append(p.certs, certChange{op: certAdd, list: n.certList(), cert: c})
			continue
		case !bytes.Equal(old.PEM, c.PEM):
			p.replace(certChange{op: certSet, cert: c})
		case len(c.OCSP) > 0 && !bytes.Equal(old.OCSP, c.OCSP):
			p.replace(certChange{op: ocspSet, cert: c})
		}
		if c.Client != nil && !bytes.Equal(old.Client.CA.PEM, c.Client.CA.PEM) {
			p.replace(certChange{op: caSet, ca: c.Client.CA})
		}
	}
	for _, c := range o.Certificates {
		if _, gone := have[c.Name]; gone {
			p.certs = append(p.certs, certChange{op: certRemove, list: n.certList(), cert: c})
		}
	}
}

// backendTLS plans the same for a backend. A certificate that no server has
// used yet is not in HAProxy's memory, whence servers to be added take it.
func (p *plan) backendTLS(o, n *Backend, adds bool) {
	if n.TLS == nil || o.TLS == nil {
		return
	}
	if !bytes.Equal(o.TLS.CA.PEM, n.TLS.CA.PEM) {
		p.replace(certChange{op: caSet, ca: n.TLS.CA})
	}
	if n.TLS.Cert == nil {
		return
	}
	if adds {
		p.certs = append(p.certs, certChange{op: certLoad, cert: *n.TLS.Cert})
	}
	if !bytes.Equal(o.TLS.Cert.PEM, n.TLS.Cert.PEM) {
		p.replace(certChange{op: certSet, cert: *n.TLS.Cert})
	}
}

// replace plans a change of content once, however many use it.
func (p *plan) replace(c certChange) {
	if !slices.ContainsFunc(p.certs, func(d certChange) bool {
		return d.op == c.op && d.cert.Name == c.cert.Name && d.ca.Name == c.ca.Name
	}) {
		p.certs = append(p.certs, c)
	}
}

// changeCertificate carries out one change.
func (c *cli) changeCertificate(ctx context.Context, change certChange) error {
	cert := change.cert
	switch change.op {
	case certSet:
		return c.setCertificate(ctx, cert)
	case ocspSet:
		return c.setOCSP(ctx, cert)
	case caSet:
		return c.setPEM(ctx, "ca-file", change.ca.file(), change.ca.PEM)
	case certRemove:
		if err := c.tell(ctx, "del ssl crt-list "+change.list+" "+cert.file(), "deleted in crtlist"); err != nil {
			return err
		}
		_, err := c.ask(ctx, "del ssl cert "+cert.file()) // refused where another list has it
		return err
	}
	reply, err := c.ask(ctx, "new ssl cert "+cert.file())
	switch {
	case err != nil:
		return err
	case strings.Contains(reply, "already exists") && change.op == certLoad:
		return nil
	case !strings.Contains(reply, "already exists") && !strings.Contains(reply, "New empty certificate store"):
		return fmt.Errorf("haproxy refused certificate %s: %s", cert.Name, firstLine(reply))
	}
	if err := c.setCertificate(ctx, cert); err != nil || change.op == certLoad {
		return err
	}
	return c.tell(ctx, "add ssl crt-list "+change.list+" <<\n"+cert.line()+"\n", "Success!")
}

// tell sends one command and wants words in the reply. An error names only
// the first line, as others may be a key.
func (c *cli) tell(ctx context.Context, text, want string) error {
	reply, err := c.ask(ctx, text)
	if err == nil && !strings.Contains(reply, want) {
		err = fmt.Errorf("haproxy refused %q: %s", firstLine(text), firstLine(reply))
	}
	return err
}

// setPEM replaces the content of a file that HAProxy has loaded: "cert" or "ca-file".
func (c *cli) setPEM(ctx context.Context, kind, file string, data []byte) error {
	if err := c.load(ctx, kind, file, pemLines(data)); err != nil {
		return err
	}
	return c.commit(ctx, kind, file)
}

// pemLines is PEM without the empty lines that would end a payload.
func pemLines(data []byte) string {
	return strings.Join(strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' || r == '\r' }), "\n")
}

// load prepares another content of a file that HAProxy has loaded.
func (c *cli) load(ctx context.Context, kind, file, payload string) error {
	reply, err := c.ask(ctx, "set ssl "+kind+" "+file+" <<\n"+payload+"\n")
	if said := strings.ToLower(reply); err == nil && !strings.Contains(said, "transaction created") && !strings.Contains(said, "transaction updated") {
		err = fmt.Errorf("haproxy refused %s: %s", file, firstLine(reply))
	}
	return err
}

// commit has HAProxy use what was set of a file.
func (c *cli) commit(ctx context.Context, kind, file string) error {
	reply, err := c.ask(ctx, "commit ssl "+kind+" "+file)
	if err == nil && !strings.Contains(reply, "Success!") {
		err = fmt.Errorf("haproxy refused %s: %s", file, firstLine(reply))
		_, _ = c.ask(ctx, "abort ssl "+kind+" "+file) // else every later change is refused
	}
	return err
}
