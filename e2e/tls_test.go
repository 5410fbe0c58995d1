package e2e

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
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// secureTodo is the usual service with TLS; %s says with which certificate.
const secureTodo = `services:
  todo:
    vip: public
    http: {hosts: [todo.example.net], tls: {%s, redirect: true}}
    backend: {containers: {labels: {app: todo}}, port: 8080, check: {path: /healthz, interval: 500ms, rise: 1, fall: 2}}
`

// selfSigned is a certificate with its key that ends so long from now.
func (f *fleet) selfSigned(ends time.Duration, names ...string) string {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	f.must(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(ends)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	f.must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	f.must(err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// shown is the certificate that the VIP shows for a name.
func (f *fleet) shown(name string) (*x509.Certificate, error) { return f.shownAt(lab.VIP, name) }

func (f *fleet) shownAt(address, name string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(f.ctx, patient)
	defer cancel()
	raw, err := f.Client.Dial(ctx, "tcp", address+":443")
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

// secured asks the site over TLS, whoever vouches for it.
func (f *fleet) secured(name string) error { return f.securedAt(lab.VIP, name) }

func (f *fleet) securedAt(address, name string) error {
	client := f.Client.HTTPClient(patient, false)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{ServerName: name, InsecureSkipVerify: true}
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, "https://"+address+"/", nil)
	if err != nil {
		return err
	}
	req.Host = name
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// loadTLS is the public asking the usual service over TLS, whoever vouches for it.
func (f *fleet) loadTLS(rate int, keepAlive bool) *lab.Running {
	return lab.Load{From: f.Client, URL: "https://" + lab.VIP + "/", Name: "todo.example.net", Method: http.MethodPost, Rate: rate, KeepAlive: keepAlive,
		TLS: &tls.Config{ServerName: "todo.example.net", InsecureSkipVerify: true}, Timeout: patient}.Start(f.ctx)
}

// A changed certificate goes live without a reload or a lost request; one that
// nobody could accept is refused with the reason, and the old one stays.
func TestCertificateFile(t *testing.T) {
	f := start(t, fmt.Sprintf(secureTodo, "certificate_file: certs/todo.pem"))
	first := f.selfSigned(24*time.Hour, "todo.example.net")
	f.must(f.UpdateConfig(map[string]string{"certs/todo.pem": first}))
	defer func() { f.must(f.UpdateConfig(map[string]string{"certs/todo.pem": ""})) }()
	f.todo(f.App1, "web-1")
	f.boot()
	f.awaitMaster(f.LB1)
	f.await("an answer over TLS", func() error { return f.secured("todo.example.net") })
	before := f.reloads(f.LB1)
	kept, closing := f.loadTLS(100, true), f.loadTLS(50, false)
	replace := func(what, content string, serial string) {
		f.t.Helper()
		f.must(f.UpdateConfig(map[string]string{"certs/todo.pem": content}))
		f.await(what, func() error {
			leaf, err := f.shown("todo.example.net")
			if err == nil && leaf.SerialNumber.String() != serial {
				err = fmt.Errorf("serial %s, want %s", leaf.SerialNumber, serial)
			}
			return err
		})
	}
	second := f.selfSigned(24*time.Hour, "todo.example.net")
	replace("the new certificate", second, serial(t, second))
	for reason, bad := range map[string]string{
		"the certificate expired on":  f.selfSigned(-time.Hour, "todo.example.net"),
		"no certificate covers":       f.selfSigned(time.Hour, "other.example.net"),
		"private key does not match":  strings.Split(first, "-----BEGIN PRIVATE")[0] + "-----BEGIN PRIVATE" + strings.Split(second, "-----BEGIN PRIVATE")[1],
		"the chain is broken":         first + f.selfSigned(time.Hour, "other.example.net"),
		"not a certificate with its ": "nothing of the kind\n",
	} {
		f.must(f.UpdateConfig(map[string]string{"certs/todo.pem": bad}))
		f.awaitStatus(f.LB1, reason, func(r status.Report) error {
			if !strings.Contains(lab.Text(r.Config.Error), reason) {
				return fmt.Errorf("config.error %q", lab.Text(r.Config.Error))
			}
			return nil
		})
		if leaf, err := f.shown("todo.example.net"); err != nil || leaf.SerialNumber.String() != serial(t, second) {
			t.Errorf("%s: %v, %v", reason, leaf, err)
		}
	}
	third := f.selfSigned(24*time.Hour, "todo.example.net")
	replace("a good one again", third, serial(t, third))
	for range 10 {
		f.steady(50 * time.Millisecond)
		next := f.selfSigned(24*time.Hour, "todo.example.net")
		replace("one after the other", next, serial(t, next))
	}
	f.steady(500 * time.Millisecond)
	f.lossless("changes of a certificate, HTTP/2", kept)
	f.lossless("changes of a certificate, a connection each", closing)
	if n := f.reloads(f.LB1) - before; n != 0 {
		t.Errorf("%d reloads for certificates", n)
	}
	c := f.ready(f.LB1).Certificates["todo"]
	if len(c.Names) != 1 || time.Until(c.NotAfter) < 22*time.Hour {
		t.Errorf("status: %+v", c)
	}
}

func serial(t *testing.T, bundle string) string {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(bundle), []byte(bundle))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.SerialNumber.String()
}

// Two nodes obtain one certificate from an ACME authority, over HTTP-01 through
// the VIP, whoever orders and whoever is asked; it outlives the storage.
func TestACME(t *testing.T) {
	f := start(t, "services: {}\n")
	authority, err := f.StartAuthority(f.ctx, lab.VIP)
	f.must(err)
	defer func() { f.must(authority.Stop()) }()
	f.must(f.Declare(fmt.Sprintf(secureTodo, "acme: pebble") +
		fmt.Sprintf("acme: {pebble: {directory: %q, storage: %s, ca_file: %s}}\n", authority.Directory, authority.Storage, authority.CAFile)))
	f.todo(f.App1, "web-1")
	f.boot()
	f.awaitMaster(f.LB1)
	const name = "todo.example.net"
	took := f.await("a certificate from the authority", func() error {
		leaf, err := f.shown(name)
		if err == nil && !strings.Contains(leaf.Issuer.CommonName, "Pebble") {
			err = fmt.Errorf("issued by %s", leaf.Issuer)
		}
		return err
	})
	t.Logf("obtained in %v", took.Round(time.Millisecond))
	f.await("an answer over TLS", func() error { return f.secured(name) })
	leaf, err := f.shown(name)
	f.must(err)
	for _, n := range f.Nodes() {
		f.awaitStatus(n, "the certificate", func(r status.Report) error {
			c := r.Certificates["pebble@@"+name]
			if c.Temporary || !c.NotAfter.Equal(leaf.NotAfter) {
				return fmt.Errorf("certificates %+v", r.Certificates)
			}
			return nil
		})
		// A node that is up first has the VIP for a moment, and reloads when it gives it back.
		causes := slices.DeleteFunc(f.reloadCauses(n), func(cause string) bool { return strings.HasSuffix(cause, "asked to reconnect") })
		if len(causes) > 0 {
			t.Errorf("%s was reloaded for a certificate: %q", n.Name, causes)
		}
		f.noKeys(n)
	}
	orders, _ := filepath.Glob(authority.Storage + "/certificates/*/*/*.crt")
	if len(orders) != 1 {
		t.Errorf("certificates in the storage: %v", orders)
	}
	f.must(os.Rename(authority.Storage, authority.Storage+".away"))
	f.must(f.PowerOff(f.ctx, f.LB1))
	f.awaitMaster(f.LB2)
	f.await("the other node's answer", func() error { return f.secured(name) })
	now, err := f.shown(name)
	if err != nil || now.SerialNumber.Cmp(leaf.SerialNumber) != 0 {
		t.Errorf("the other node shows %v, %v", now, err)
	}
	f.must(authority.Stop()) // of which the next controller would order anew
	f.LB2.KillController()
	f.must(f.LB2.StartVipilot(f.ctx))
	f.ready(f.LB2)
	if now, err := f.shown(name); err != nil || now.SerialNumber.Cmp(leaf.SerialNumber) != 0 {
		t.Errorf("after a restart without the storage: %v, %v", now, err)
	}
}

// reloadCauses are why a node's HAProxy was reloaded, as the events tell.
func (f *fleet) reloadCauses(n *lab.Node) (causes []string) {
	f.t.Helper()
	all := strconv.Itoa(f.reloads(n))
	if all == "0" {
		return nil
	}
	ctx, cancel := context.WithTimeout(f.ctx, lab.Patience)
	defer cancel()
	told := ""
	_ = n.Events(ctx, func(e status.Event) {
		if e.Subject == "haproxy reloads" && told != all {
			told = e.To
			causes = append(causes, e.Cause)
		}
		if told == all {
			cancel()
		}
	})
	if told != all {
		f.t.Fatalf("the events tell of reload %s of %s", told, all)
	}
	return causes
}

// noKeys looks for private keys where nobody should find them.
func (f *fleet) noKeys(n *lab.Node) {
	f.t.Helper()
	if strings.Contains(n.Logs(10_000), "PRIVATE KEY") {
		f.t.Errorf("%s: a private key is in a log", n.Name)
	}
	for _, dir := range []string{n.RunDir, n.StateDir} {
		f.must(filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
			if err == nil && filepath.Ext(name) == ".pem" && info.Mode().Perm()&0o077 != 0 {
				f.t.Errorf("%s is readable by others: %v", name, info.Mode())
			}
			return nil
		}))
	}
}
