package controller

import (
	"errors"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

const ruled = `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
vips: {public: {addresses: [203.0.113.10], announce: {protocols: [bgp]}}}
routing: {bgp: {asn: 65010, peers: {edge: {address: 10.77.0.1, asn: 65000}}}}
services:
`

func frontend(t testing.TB, d Desired, name string) haproxy.Frontend {
	t.Helper()
	for _, f := range d.HAProxy.Frontends {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no frontend %q", name)
	return haproxy.Frontend{}
}

func TestRawLinesAreFaultsWithPlaces(t *testing.T) {
	cfg := load(t, ruled+`  a: {vip: public, http: {}, raw: ["option http-no-delay", "frobnicate 5", "server evil 10.0.0.1:80"]}
haproxy: {global: ["lua-load /tmp/x"], defaults: ["bind :80"]}
`)
	_, err := Desire(Input{Node: "lb1", Config: cfg})
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("%v, want faults", err)
	}
	want := `vipilot.yaml:7:20: haproxy.global[0]: lua-load is vipilot's own to say
vipilot.yaml:7:51: haproxy.defaults[0]: "bind" is no line of a defaults section, or written wrongly
vipilot.yaml:6:60: services.a.raw[1]: "frobnicate" is no line of a backend section, or written wrongly
vipilot.yaml:6:76: services.a.raw[2]: server is vipilot's own to say`
	if err.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", err, want)
	}
}

func TestARedirectIsServedWithoutEndpoints(t *testing.T) {
	d := desire(t, Input{Node: "lb1", Config: load(t, ruled+"  old: {vip: public, http: {redirect: {host: www.example.net}}}\n")})
	if d.Silent["public"] != "" || len(d.Routing.Prefixes) != 1 {
		t.Errorf("a VIP whose service needs no endpoint is silent: %q", d.Silent["public"])
	}
	if r := backend(t, d, "old").Rules.Redirect; r == nil || r.Host != "www.example.net" || r.Code != 301 {
		t.Errorf("redirect: %+v", r)
	}
}

// Where a path keeps clients out, paths are compared as servers read them; a
// service that is closed as a whole, or told apart by host, needs no such care.
func TestGuardedPaths(t *testing.T) {
	for rule, want := range map[string]bool{
		"{paths: [/admin], allow: [10.0.0.0/8]}": true,
		"{paths: [/admin], deny: [10.0.0.0/8]}":  true,
		"{allow: [10.0.0.0/8]}":                  false,
		"{paths: [/admin]}":                      false,
	} {
		d := desire(t, Input{Node: "lb1", Config: load(t, ruled+"  a: {vip: public, http: "+rule+"}\n")})
		if got := frontend(t, d, "public_80").Guarded; got != want {
			t.Errorf("%s: guarded %v, want %v", rule, got, want)
		}
	}
}

func TestConditionsBecomeRoutes(t *testing.T) {
	d := desire(t, Input{Node: "lb1", Config: load(t, ruled+`  a: {vip: public, http: {hosts: [a.example.net], methods: [POST, GET], headers: {x-tenant: blue}, trusted_proxies: [10.0.0.0/8]}}
  b: {vip: public, http: {hosts: [a.example.net]}}
`)})
	f := frontend(t, d, "public_80")
	if len(f.Routes) != 2 || f.Routes[0].If.String() != "method GET or POST, header X-Tenant: blue" || !f.Routes[0].KeepForwarded || f.Routes[1].KeepForwarded {
		t.Errorf("routes %+v", f.Routes)
	}
	rules := judge(f, "a.example.net", "/")
	if rules[0].Backend != "b" {
		t.Errorf("a plain GET leads to %s", rules[0].Backend)
	}
	if note := (listener{Frontend: f}).losers(rules[1:], rules[0]); len(note) != 1 || !strings.Contains(note[0].Text, "wants method GET or POST, header X-Tenant: blue") {
		t.Errorf("why not the other: %+v", note)
	}
}
