package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

// mixed has TLS that is ended, and TLS that is passed through, on port 443.
func mixed(t *testing.T) *config.Config {
	t.Helper()
	yaml := strings.Replace(pair, "http: {hosts: [shop.example.net]}",
		"http: {hosts: [shop.example.net, in.wild.example.net], tls: {certificate_file: shop.pem, redirect: true}}", 1)
	yaml = strings.Replace(yaml, "  dns:\n", `  vault:
    vip: public
    tcp: {port: 443, sni: [vault.example.net, "*.wild.example.net"], accept_proxy: [10.0.0.0/8]}
    backend: {servers: ["10.77.0.40:8200"], timeouts: {client: 2m}}
  dns:
`, 1)
	cfg, err := config.Load(config.Tree{"vipilot.yaml": []byte(yaml),
		"shop.pem": certificate(t, time.Now().Add(time.Hour), "shop.example.net", "in.wild.example.net")})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Both kinds of TLS are one frontend, which HAProxy's room divides.
func TestPassthroughBesideTLS(t *testing.T) {
	cfg := mixed(t)
	for _, f := range wantFrontends(cfg, cfg.Services, nil) {
		if f.Name != "public_443" {
			continue
		}
		if f.Mode != haproxy.HTTP || len(f.Certificates) != 1 || len(f.Passthrough) != 2 || f.Passthrough[0].Backend != "vault" ||
			len(f.AcceptProxy) != 1 || f.ClientTimeout != 2*time.Minute || len(f.Routes) != 2 {
			t.Errorf("public_443: %+v", f)
		}
		if !reaches([]haproxy.Frontend{f}, "vault") || !reaches([]haproxy.Frontend{f}, "shop") {
			t.Error("one of the two is not reached")
		}
		return
	}
	t.Error("there is no public_443")
}

// explain follows a name to the part of the port that it belongs to.
func TestExplainPassthroughBesideTLS(t *testing.T) {
	shop := web(1, "vipilot.service", "shop")
	shop.Published[0].Port = 80
	s := stage(t, pair, snapshot("app1", shop), snapshot("app2"))
	s.loop.in.Config = mixed(t)
	s.round()
	for _, test := range []struct{ url, words, not string }{
		{"https://shop.example.net/", "covers shop.example.net", "vault"},
		{"https://in.wild.example.net/", "covers in.wild.example.net", "vault"},
		{"https://vault.example.net/", "TLS for vault.example.net on port 443 leads to vault", "404"},
		{"https://other.wild.example.net/", "TLS for *.wild.example.net on port 443 leads to vault", "404"},
		{"https://todo.example.net/", "the answer is 404", "leads to vault"},
	} {
		all := ""
		for _, one := range s.ask(test.url).Steps {
			all += one.Text + "\n"
		}
		if !strings.Contains(all, test.words) || strings.Contains(all, test.not) {
			t.Errorf("%s:\n%s", test.url, all)
		}
	}
}
