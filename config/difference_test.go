package config

import (
	"slices"
	"testing"
)

const oneService = `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
vips: {public: {addresses: [203.0.113.10], ha: static}}
`

func TestDifferences(t *testing.T) {
	load := func(services, secret string) *Config {
		t.Helper()
		cfg, err := Load(Tree{
			"base.yaml":   []byte(oneService),
			"s/web.yaml":  []byte("services:\n" + services),
			"s/bgp.yaml":  []byte("routing: {bgp: {asn: 65010, peers: {edge: {address: 10.77.0.1, asn: 65000, password_file: secret}}}}\n"),
			"s/secret":    []byte(secret),
			"unrelated":   []byte(secret),
			"other/x.txt": nil,
		})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	old := load(`  web: {vip: public, http: {hosts: [a.example.net]}, backend: {balance: leastconn, servers: ["10.77.0.40:80"]}}
  gone: {vip: public, tcp: {port: 5432}, backend: {servers: ["10.77.0.40:5432"]}}
`, "hunter1")
	fresh := load(`  web:
    vip: public
    http: {hosts: [a.example.net, b.example.net]}
    backend: {balance: random, servers: ["10.77.0.40:80"], maxconn: 10}
`, "hunter2")
	want := []Difference{
		{"routing.bgp.peers.edge.password_file", "secret", "secret (content changed)"},
		{"services.gone.backend.servers", `['10.77.0.40:5432']`, ""},
		{"services.gone.tcp.port", "5432", ""},
		{"services.gone.vip", "public", ""},
		{"services.web.backend.balance", "leastconn", "random"},
		{"services.web.backend.maxconn", "", "10"},
		{"services.web.http.hosts", "[a.example.net]", "[a.example.net, b.example.net]"},
	}
	if got := Differences(old, fresh); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := Differences(old, old); len(got) != 0 {
		t.Errorf("a configuration differs from itself: %q", got)
	}
	if section, name := want[5].Thing(); section != "services" || name != "web" || want[5].Key() != "backend.maxconn" {
		t.Errorf("%s belongs to %s %s, key %s", want[5].Path, section, name, want[5].Key())
	}
	if section, name := want[0].Thing(); section != "routing" || name != "" || want[0].Key() != "bgp.peers.edge.password_file" {
		t.Errorf("%s belongs to %s %s, key %s", want[0].Path, section, name, want[0].Key())
	}
}
