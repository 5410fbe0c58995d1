package controller

import (
	"strings"
	"testing"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
)

const routed = `version: 1
nodes:
  lb1: {address: 10.77.0.21, interface: eth0}
  lb2: {address: 10.77.0.22, interface: eth0}
hosts: {app1: {docker: "tcp://10.77.0.11:2375"}}
vips:
  public: {addresses: [203.0.113.10, "2001:db8::10"], announce: {protocols: [bgp, ospf], when: proxy, backup: med, med: 70, local_preference: 300}}
  longer: {addresses: [203.0.113.11], announce: {protocols: [bgp], when: proxy, backup: prepend}}
  any: {addresses: [203.0.113.53], ha: anycast, announce: {protocols: [bgp], last: keep}}
services:
  web: {vip: public, http: {}, backend: {servers: ["10.77.0.40:80"]}}
  two: {vip: longer, http: {}, backend: {servers: ["10.77.0.40:81"]}}
  dns: {vip: any, tcp: {port: 53}, backend: {port: 53, containers: {labels: {app: dns}}}}
routing:
  bgp:
    asn: 65010
    peers:
      edge: {address: 10.77.0.1, asn: 65000, bfd: {interval: 50ms}, med: 5, communities: ["1:2"]}
      far: {address: 10.78.0.1, asn: 65001, multihop: 3, source_address: 10.77.0.99}
  ospf: {interfaces: [eth0, eth1], bfd: {}}
`

func routedConfig(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.Tree{"vipilot.yaml": []byte(routed)})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestWantRouting(t *testing.T) {
	d, err := Desire(Input{Node: "lb1", Config: routedConfig(t)})
	if err != nil {
		t.Fatal(err)
	}
	r := d.Routing
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	edge, far := r.Peers[0], r.Peers[1]
	if edge.BFD.Interval.String() != "50ms" || edge.Export.MED != 5 || edge.LocalAddress.String() != "10.77.0.21" || far.LocalAddress.String() != "10.77.0.99" || far.Multihop != 3 {
		t.Errorf("peers %+v", r.Peers)
	}
	if len(r.Prefixes) != 3 || *r.Prefixes[0].MED != 0 || *r.Prefixes[0].Standby.MED != 70 || r.Prefixes[0].LocalPreference != 300 || r.Prefixes[1].Standby.Prepend != 3 {
		t.Errorf("prefixes %+v", r.Prefixes)
	}
	if r.OSPF == nil || len(r.OSPF.Prefixes) != 2 || r.OSPF.Interfaces[0].Address.String() != "10.77.0.21" || r.OSPF.Interfaces[1].Address.IsValid() {
		t.Errorf("ospf %+v", r.OSPF)
	}
}

func TestKeepLast(t *testing.T) {
	cfg := routedConfig(t)
	connected := map[string]discovery.Snapshot{"app1": {Host: "app1", Connected: true}}
	for name, test := range map[string]struct {
		hosts  map[string]discovery.Snapshot
		others map[string]map[string]bool
		want   string // of the reason to be silent; "" = announced
	}{
		"every engine says that there is none": {connected, nil, ""},
		"the engine is away, lb2 unknown":      {nil, nil, "node lb2, which may have one, could not be asked"},
		"the engine is away, lb2 serves":       {nil, map[string]map[string]bool{"lb2": {"any": true}}, "node lb2 has one"},
		"the engine is away, lb2 has none":     {nil, map[string]map[string]bool{"lb2": {}}, ""},
	} {
		d, err := Desire(Input{Node: "lb1", Config: cfg, Hosts: test.hosts, Others: test.others})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Silent["any"]; (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
