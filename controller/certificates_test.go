package controller

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

const secure = `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
vips: {public: {addresses: [203.0.113.10], ha: static}}
acme: {own: {directory: "https://ca.example.net/dir"}}
services:
  admin:
    vip: public
    http: {hosts: [admin.example.net], tls: {certificate_file: admin.pem, redirect: true, client_ca_file: admin.pem, hsts: 1h}}
    backend: {servers: ["10.77.0.40:8443"], tls: {ca_file: admin.pem, server_name: inner.example.net}}
  shop:
    vip: public
    http: {hosts: [shop.example.net], tls: {certificates_dir: shop, redirect: true}}
    backend: {servers: ["10.77.0.41:80"]}
  todo:
    vip: public
    http: {hosts: [todo.example.net, www.todo.example.net], tls: {acme: own, redirect: true}}
    backend: {servers: ["10.77.0.42:80"]}
`

func secureConfig(t *testing.T) *config.Config {
	t.Helper()
	day := time.Now().Add(24 * time.Hour)
	cfg, err := config.Load(config.Tree{
		"v.yaml": []byte(secure), "admin.pem": certificate(t, day, "admin.example.net"),
		"shop/a.pem": certificate(t, day, "shop.example.net"), "shop/b.pem": certificate(t, day, "other.example.net"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// What the configuration says of TLS is what HAProxy is told, and it takes it.
func TestDesireTLS(t *testing.T) {
	cfg := secureConfig(t)
	want, err := Desire(Input{Node: "lb1", Config: cfg, RunDir: "/run/v", Obtained: standIns(cfg)})
	if err != nil {
		t.Fatal(err)
	}
	front := want.HAProxy.Frontends[0]
	if front.Name != "public_443" || front.Profile != haproxy.Intermediate {
		t.Fatalf("%+v", front)
	}
	var names []string
	for _, c := range front.Certificates {
		names = append(names, c.Name+" "+strings.Join(c.Hosts, " "))
		if (c.Client != nil) != (c.Name == "admin") {
			t.Errorf("%s: client check %+v", c.Name, c.Client)
		}
	}
	// The default is one of which no client certificate is asked.
	if got, want := strings.Join(names, ", "), "shop@a shop.example.net, admin admin.example.net, own@@todo.example.net todo.example.net, own@@www.todo.example.net www.todo.example.net"; got != want {
		t.Errorf("certificates %s\nwant %s", got, want)
	}
	backends := make(map[string]*haproxy.Backend)
	for _, b := range want.HAProxy.Backends {
		backends[b.Name] = b
	}
	admin := backends["admin"]
	if admin.Guard != (haproxy.Guard{HSTS: time.Hour, Client: haproxy.CertRequired}) || !admin.TLS.Verify || admin.TLS.ServerName != "inner.example.net" || len(admin.TLS.CA.PEM) == 0 {
		t.Errorf("backend admin: %+v, %+v", admin.Guard, admin.TLS)
	}
	challenges := backends[challengeBackend]
	if challenges == nil || challenges.Servers[0].Socket != "acme.sock" {
		t.Fatalf("challenges: %+v", challenges)
	}
	led := slices.IndexFunc(want.HAProxy.Frontends[1].Routes, func(r haproxy.Route) bool {
		return r.Host == "www.todo.example.net" && r.Path == challengePath && r.Backend == challengeBackend
	})
	if led < 0 {
		t.Errorf("routes of the plain port: %+v", want.HAProxy.Frontends[1].Routes)
	}
	if _, err := Render(cfg, "lb1", nil, "/run/v"); err != nil {
		t.Error(err)
	}
}

// A port that would end TLS and has no certificate is not bound in plain text.
func TestDesireWithoutCertificate(t *testing.T) {
	cfg, err := config.Load(config.Tree{"v.yaml": []byte(secure[:strings.Index(secure, "  admin:")] + secure[strings.Index(secure, "  todo:"):])})
	if err != nil {
		t.Fatal(err)
	}
	for obtained, ports := range map[*Obtained]int{nil: 1, standIns(cfg): 2} {
		want, err := Desire(Input{Node: "lb1", Config: cfg, Obtained: obtained})
		if err != nil || len(want.HAProxy.Frontends) != ports {
			t.Errorf("%d frontends, want %d, %v", len(want.HAProxy.Frontends), ports, err)
		}
	}
}

// A certificate that arrives changes the frontends and nothing else.
func TestPlannerTakesCertificates(t *testing.T) {
	in := Input{Node: "lb1", Config: secureConfig(t)}
	p := new(planner)
	before, err := p.desire(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Obtained = standIns(in.Config)
	after, err := p.desire(in)
	if err != nil || len(after.HAProxy.Frontends[0].Certificates) != len(before.HAProxy.Frontends[0].Certificates)+2 {
		t.Fatalf("%v, %+v", err, after.HAProxy.Frontends)
	}
	if !slices.Equal(before.HAProxy.Backends, after.HAProxy.Backends) {
		t.Error("backends are other ones")
	}
}

// HAProxy is to ask for OCSP responses where it is wanted and can be done.
func TestFetchOCSP(t *testing.T) {
	for _, c := range []struct {
		responder    string
		chain, wants bool
		fetches      bool
	}{
		{"http://ocsp.example.net", true, true, true},
		{"http://ocsp.example.net", true, false, false},
		{"http://ocsp.example.net", false, true, false},
		{"", true, true, false},
	} {
		bundle := certificateWith(t, func(template *x509.Certificate) {
			template.NotAfter, template.DNSNames = time.Now().Add(time.Hour), []string{"todo.example.net"}
			if c.responder != "" {
				template.OCSPServer = []string{c.responder}
			}
		})
		if c.chain {
			bundle = append(bundle, certificate(t, time.Now().Add(time.Hour), "authority")...)
		}
		s := config.Service{Name: "todo", HTTP: &config.HTTP{Hosts: []string{"todo.example.net"},
			TLS: &config.ServerTLS{OCSP: c.wants, Certificates: []config.Certificate{{PEM: config.Secret(bundle), OCSP: []byte("der")}}}}}
		var f haproxy.Frontend
		terminate(&f, s, nil)
		if len(f.Certificates) != 1 || f.Certificates[0].FetchOCSP != c.fetches || string(f.Certificates[0].OCSP) != "der" {
			t.Errorf("%+v: %+v", c, f.Certificates)
		}
	}
}
