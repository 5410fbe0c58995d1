package haproxy

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/vipilot/vipilot/internal/command"
)

// staple is the OCSP response that comes with TLS for name.
func staple(t *testing.T, port uint16, ca *authority, name string) []byte {
	t.Helper()
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: &tls.Config{ServerName: name, RootCAs: ca.pool()}}
	conn, err := d.DialContext(t.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().OCSPResponse
}

// What an authority says of a certificate is stapled, from a file and changed
// at run time, and never once it is too old or another's.
func TestE2EStapling(t *testing.T) {
	l := newLab(t)
	ca, a := newAuthority(t, "public"), app(t, "a")
	port := freePort(t)
	later := func(hours int) time.Time { return time.Now().Add(time.Duration(hours) * time.Hour) }
	one, two, b := ca.chain("", "a.test"), ca.chain("", "a.test"), ca.chain("", "b.test")
	want := securePort(port, []Certificate{{Name: "a", PEM: one, OCSP: ca.ocsp(one, later(1))}}, map[string]Server{"a.test": a, "b.test": a})
	l.set(want)
	worker := l.worker()
	if got := staple(t, port, ca, "a.test"); !bytes.Equal(got, want.Frontends[0].Certificates[0].OCSP) {
		t.Fatalf("at the start: %d bytes are stapled", len(got))
	}
	with := func(list ...Certificate) Config {
		next := want
		next.Frontends = slices.Clone(want.Frontends)
		next.Frontends[0].Certificates = list
		return next
	}
	first := Certificate{Name: "a", PEM: two, OCSP: ca.ocsp(two, later(3))}
	steps := []struct {
		what string
		list []Certificate
	}{
		{"another response", []Certificate{{Name: "a", PEM: one, OCSP: ca.ocsp(one, later(2))}}},
		{"another certificate with its response", []Certificate{first}},
		{"another certificate without one", []Certificate{{Name: "a", PEM: one}}},
		{"a response for one that had none", []Certificate{{Name: "a", PEM: one, OCSP: ca.ocsp(one, later(4))}}},
		{"a second certificate", []Certificate{first, {Name: "b", PEM: b, OCSP: ca.ocsp(b, later(5))}}},
	}
	for _, step := range steps {
		if change := l.set(with(step.list...)); change.Kind != Runtime || l.worker() != worker {
			t.Fatalf("%s: %+v", step.what, change)
		}
		for _, c := range step.list {
			if got := staple(t, port, ca, c.Name+".test"); !bytes.Equal(got, c.OCSP) {
				t.Errorf("%s: of %s %d bytes are stapled, want %d", step.what, c.Name, len(got), len(c.OCSP))
			}
		}
	}
	l.successor()
	last := with(steps[len(steps)-1].list...)
	if change := l.set(last); change.Kind != Adopted {
		t.Errorf("the successor: %+v", change)
	}
	// A reload takes the files, and leaves aside what has expired meanwhile.
	old := with(first, Certificate{Name: "b", PEM: b, OCSP: ca.ocsp(b, later(-1))})
	old.Frontends[0].ClientTimeout = time.Minute
	if change := l.set(old); change.Kind != Reload {
		t.Fatalf("a reload: %+v", change)
	}
	if got := staple(t, port, ca, "a.test"); !bytes.Equal(got, first.OCSP) {
		t.Errorf("after a reload %d bytes are stapled", len(got))
	}
	if got := staple(t, port, ca, "b.test"); got != nil {
		t.Error("a response that has expired is stapled")
	}
}

// From 2.8 on HAProxy asks the responder itself; before, that is refused with
// the reason.
func TestE2EFetchOCSP(t *testing.T) {
	l := newLab(t)
	ca, a := newAuthority(t, "public"), app(t, "a")
	port := freePort(t)
	responder := responderOf(t, ca)
	want := securePort(port, []Certificate{{Name: "a", PEM: ca.chain(responder, "a.test"), FetchOCSP: true}}, map[string]Server{"a.test": a})
	says, err := command.Run(t.Context(), realBinary(), "-vv")
	if err != nil {
		t.Fatal(err)
	}
	if older(versionWords.FindStringSubmatch(says)[1], 2, 8) {
		if _, err := l.Set(t.Context(), want); err == nil || !strings.Contains(err.Error(), "tls.ocsp needs HAProxy 2.8") {
			t.Errorf("an old HAProxy: %v", err)
		}
		return
	}
	l.set(want)
	stapled := func(pem []byte) func() bool {
		pair, err := tls.X509KeyPair(pem, pem)
		if err != nil {
			t.Fatal(err)
		}
		return func() bool {
			r, err := ocsp.ParseResponseForCert(staple(t, port, ca, "a.test"), pair.Leaf, ca.cert)
			return err == nil && r.Status == ocsp.Good
		}
	}
	l.eventually("a response is stapled", stapled(want.Frontends[0].Certificates[0].PEM))
	next := want
	next.Frontends = slices.Clone(want.Frontends)
	next.Frontends[0].Certificates = []Certificate{{Name: "a", PEM: ca.chain(responder, "a.test"), FetchOCSP: true}}
	if change := l.set(next); change.Kind != Runtime {
		t.Fatalf("another certificate: %+v", change)
	}
	l.eventually("the response for the new certificate is stapled", stapled(next.Frontends[0].Certificates[0].PEM))
}

// responderOf answers for the authority and returns its URL.
func responderOf(t *testing.T, ca *authority) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, err := io.ReadAll(r.Body)
		if r.Method == http.MethodGet { // RFC 6960, appendix A
			path := strings.ReplaceAll(strings.TrimPrefix(r.URL.Path, "/"), " ", "+")
			question, err = base64.StdEncoding.DecodeString(path)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		request, err := ocsp.ParseRequest(question)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := ca.vouch(request.SerialNumber, time.Now().Add(time.Hour))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/ocsp-response")
		_, _ = w.Write(answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
