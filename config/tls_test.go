package config_test

import (
	"strings"
	"testing"

	"github.com/vipilot/vipilot/config"
)

// A certificate out of its time is refused where a better one may be in
// force, and stays where it is the one in force.
func TestCertificateOutOfTime(t *testing.T) {
	for file, want := range map[string]string{"expired.pem": "the certificate expired on 20", "early.pem": "the certificate is valid only from 20"} {
		tree := with("v.yaml", `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
vips: {public: {addresses: [203.0.113.10]}}
services: {todo: {vip: public, http: {hosts: [todo.example.net], tls: {certificate_file: certs/`+file+`}}}}
`)
		want = "v.yaml:4:90: services.todo.http.tls.certificate_file: " + want
		_, err := config.Load(tree)
		if faults := wantFaults(t, err); len(faults) != 1 || !strings.HasPrefix(faults.Error(), want) {
			t.Errorf("%s: %v", file, faults)
		}
		inForce, err := config.LoadOver(tree, nil)
		if err != nil || !strings.HasPrefix(inForce.Warnings.Error(), want) {
			t.Fatalf("%s, nothing in force: %v", file, err)
		}
		tree["w.yaml"] = []byte("networks: {lan: {direct: true}}\n")
		if again, err := config.LoadOver(tree, inForce); err != nil || again.Revision == inForce.Revision {
			t.Errorf("%s, in force already: %v", file, err)
		}
	}
}

// Every certificate of the directory that covers one of the service's hosts is
// served, and what else lies there is let be.
func TestCertificatesDir(t *testing.T) {
	tree := with("s/v.yaml", `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
vips: {public: {addresses: [203.0.113.10]}}
services: {todo: {vip: public, http: {hosts: [a.todo.example.net, other.example.net], tls: {certificates_dir: ../certs/d}}}}
`)
	cfg, err := config.Load(tree)
	if err != nil {
		t.Fatal(err)
	}
	found := cfg.Services[0].HTTP.TLS.Certificates
	if len(found) != 2 || found[0].Name != "one" || found[1].Name != "two" || found[1].PEM.Reveal() != string(tree["certs/other.pem"]) {
		t.Errorf("certificates %+v", found)
	}
	if len(cfg.Dirs) != 1 || cfg.Dirs[0] != "certs/d" {
		t.Errorf("directories %q", cfg.Dirs)
	}
	if text := cfg.Services[0].HTTP.TLS.Certificates[0].PEM.String(); text != "***" {
		t.Errorf("a certificate with its key prints as %q", text)
	}
}
