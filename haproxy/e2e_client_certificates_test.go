package haproxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"testing"
	"time"
)

// A client certificate is asked for by host, and no other host's connection,
// nor another's session, is a way around it.
func TestE2EClientCertificates(t *testing.T) {
	l := newLab(t)
	ca, staff, partners := newAuthority(t, "public"), newAuthority(t, "staff"), newAuthority(t, "partners")
	echo := headerEcho(t)
	v := &visitor{port: freePort(t)}
	list := []Certificate{
		{Name: "open", PEM: ca.issue("open.test"), Hosts: []string{"open.test"}},
		{Name: "closed", PEM: ca.issue("closed.test"), Hosts: []string{"closed.test"}, Client: &ClientCheck{CA: Bundle{"staff", staff.pem}, Required: true}},
		{Name: "partner", PEM: ca.issue("partner.test"), Hosts: []string{"partner.test"}, Client: &ClientCheck{CA: Bundle{"partners", partners.pem}, Required: true}},
		{Name: "maybe", PEM: ca.issue("maybe.test"), Hosts: []string{"maybe.test"}, Client: &ClientCheck{CA: Bundle{"staff", staff.pem}}},
	}
	want := securePort(v.port, list, map[string]Server{"open.test": echo, "closed.test": echo, "partner.test": echo, "maybe.test": echo})
	for i, need := range map[string]ClientNeed{"closed.test": CertRequired, "partner.test": CertRequired, "maybe.test": CertOptional} {
		for _, b := range want.Backends {
			if b.Name == i {
				b.Guard = Guard{Client: need, HSTS: time.Hour}
			}
		}
	}
	l.set(want)
	v.RootCAs = ca.pool()
	alice, mallory := staff.pair("alice"), newAuthority(t, "staff").pair("alice")
	for _, c := range []struct {
		what, name, host string
		cert             *tls.Certificate
		want             int // 0 = no TLS
	}{
		{"open, without", "open.test", "open.test", nil, 200},
		{"closed, without", "closed.test", "closed.test", nil, 0},
		{"closed, with", "closed.test", "closed.test", &alice, 200},
		{"closed, of another CA of that name", "closed.test", "closed.test", &mallory, 0},
		{"closed, over the connection of open", "open.test", "closed.test", nil, 421},
		{"closed, over the connection of open, port in the host", "open.test", "closed.test:443", &alice, 421},
		{"closed, over the connection of maybe", "maybe.test", "closed.test", &alice, 421},
		{"partner, over the connection of closed", "closed.test", "partner.test", &alice, 421},
		{"partner, with a certificate of staff", "partner.test", "partner.test", &alice, 0},
		{"open, over the connection of closed", "closed.test", "open.test", &alice, 200},
		{"maybe, without", "maybe.test", "maybe.test", nil, 200},
		{"maybe, with", "maybe.test", "maybe.test", &alice, 200},
		{"maybe, with a bad one", "maybe.test", "maybe.test", &mallory, 0},
	} {
		v.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c.cert == nil {
				return new(tls.Certificate), nil
			}
			return c.cert, nil
		}
		status, h, err := v.ask(c.name, c.host, "X-SSL-Client-DN", "CN=root")
		if status != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%s: %d, %v, want %d", c.what, status, err, c.want)
		}
		if dn := h.Get("Seen-Dn"); status == 200 && c.host != "open.test" && (dn == "CN=alice") != (c.cert != nil) {
			t.Errorf("%s: the application is told %q", c.what, dn)
		}
		if status == 421 && h.Get("Strict-Transport-Security") != "max-age=3600" {
			t.Errorf("%s: no HSTS: %v", c.what, h)
		}
	}
	resumeElsewhere(t, v, &alice)
}

// resumeElsewhere begins TLS where alice may, and resumes it where she may not.
func resumeElsewhere(t *testing.T, v *visitor, alice *tls.Certificate) {
	t.Helper()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		sessions := tls.NewLRUClientSessionCache(8)
		cache := anyName{sessions}
		talk := func(name string) (status string, resumed bool, err error) {
			conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", v.port), &tls.Config{ServerName: name, InsecureSkipVerify: true, ClientSessionCache: cache,
				MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{*alice}})
			if err != nil {
				return "", false, err
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name)
			reply, err := io.ReadAll(conn)
			if len(reply) > 12 {
				status = string(reply[9:12])
			}
			return status, conn.ConnectionState().DidResume, err
		}
		status, _, err := talk("closed.test")
		if err != nil || status != "200" {
			t.Fatalf("TLS %x, closed.test: %s, %v", version, status, err)
		}
		status, resumed, err := talk("closed.test")
		t.Logf("TLS %x: resumed at closed.test %v", version, resumed)
		if status != "200" {
			t.Errorf("TLS %x, closed.test again: %s, %v", version, status, err)
		}
		status, resumed, err = talk("partner.test")
		t.Logf("TLS %x: resumed at partner.test %v: %s, %v", version, resumed, status, err)
		if status == "200" {
			t.Errorf("TLS %x: a session of closed.test opens partner.test (resumed: %v)", version, resumed)
		}
	}
}

// anyName offers the session of one name to all.
type anyName struct{ tls.ClientSessionCache }

func (c anyName) Get(string) (*tls.ClientSessionState, bool) { return c.ClientSessionCache.Get("any") }
func (c anyName) Put(_ string, session *tls.ClientSessionState) {
	c.ClientSessionCache.Put("any", session)
}
