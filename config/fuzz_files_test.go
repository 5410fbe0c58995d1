package config_test

import (
	"errors"
	"testing"

	"github.com/vipilot/vipilot/config"
)

// FuzzReferenced gives any content to the files that a configuration names: a
// htpasswd file, a certificate with its key, an OCSP response. No fault shows a
// line of them.
func FuzzReferenced(f *testing.F) {
	tree := fixtures()
	certificate := tree["certs/todo.pem"]
	f.Add("ann:$6$rounds=5000$salt$hash\nbob:$2y$05$"+"abcdefghijklmnopqrstuuabcdefghijklmnopqrstuabcdefghij\n", certificate, []byte{0x30, 0x03, 0x0a, 0x01, 0x00})
	f.Add("# nobody\n\r\n:\na:b:c\nann:{SHA}x\nann:$apr1$x\n", []byte("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n"), []byte("hello"))
	f.Add("", certificate[:len(certificate)/2], []byte(nil))
	f.Fuzz(func(t *testing.T, users string, pem, ocsp []byte) {
		_, err := config.LoadOver(config.Tree{
			"v.yaml": []byte(`version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
vips: {public: {addresses: [203.0.113.10], ha: static}}
services:
  todo: {vip: public, http: {hosts: [todo.example.net], tls: {certificate_file: c.pem, ocsp: true}, basic_auth: {users_file: users}}, backend: {servers: ["10.77.0.40:80"]}}
`), "users": []byte(users), "c.pem": pem, "c.pem.ocsp": ocsp,
		}, nil)
		if err != nil {
			if faults := new(config.Faults); !errors.As(err, faults) {
				t.Fatalf("not a list of faults: %v", err)
			}
			wantFaults(t, err)
		}
	})
}
