package controller

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/status"
	"github.com/vipilot/vipilot/vrrp"
)

const withUDP = `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
hosts: {app1: {docker: "tcp://10.77.0.11:2375"}}
vips:
  public: {addresses: [203.0.113.10]}
  names: {addresses: [203.0.113.53, "2001:db8::53"], announce: {protocols: [bgp]}}
services:
  todo: {vip: public, http: {}, backend: {containers: {labels: {app: todo}}, port: 8080}}
  dns:
    vip: names
    udp: {port: 53}
    backend:
      containers: {labels: {app: dns}}
      balance: leastconn
      check: {interval: 500ms, fall: 2}
      servers: [{address: "10.77.0.40:53", backup: true}]
routing:
  bgp: {asn: 65010, peers: {edge: {address: 10.77.0.1, asn: 65000}}}
`

// resolver is a container that publishes a UDP port.
func resolver(n int) discovery.Container {
	c := web(n, "app", "dns")
	c.UDP = &discovery.UDPPorts{Exposed: []uint16{53}, Published: []discovery.Published{{Port: 53, HostPort: uint16(5300 + n)}}}
	return c
}

func TestUDP(t *testing.T) {
	in := Input{Node: "lb1", Config: load(t, withUDP), Hosts: make(map[string]discovery.Snapshot)}
	stopping := resolver(2)
	stopping.State = discovery.Stopping
	in.Hosts["app1"] = snapshot("app1", resolver(1), stopping, web(3, "app", "dns"), web(4, "app", "todo"))
	d := desire(t, in)
	if len(d.HAProxy.Backends) != 1 || len(d.HAProxy.Frontends) != 1 {
		t.Errorf("HAProxy has %d backends and %d frontends, want those of todo", len(d.HAProxy.Backends), len(d.HAProxy.Frontends))
	}
	if len(d.VRRP.Virtual) != 1 {
		t.Fatalf("virtual servers %+v, want one: no endpoint has IPv6", d.VRRP.Virtual)
	}
	v := d.VRRP.Virtual[0]
	if v.String() != "[203.0.113.53]:udp:53" || v.Scheduler != vrrp.WeightedLeastConn || v.Fall != 2 || v.Backup.String() != "10.77.0.40:53" {
		t.Errorf("virtual server %+v", v)
	}
	weights := make(map[string]int)
	for _, s := range v.Servers {
		weights[s.Address.String()] = s.Weight
	}
	if len(weights) != 2 || weights["10.77.0.11:5301"] != 100 || weights["10.77.0.11:5302"] != 0 {
		t.Errorf("servers %v, want the one that stops without weight", weights)
	}
	if r := d.Pools["dns"].Rejected; len(r) != 1 || r[0].Reason != discovery.AmbiguousPort || !strings.Contains(r[0].Detail, "no UDP port") {
		t.Errorf("rejected %+v", r)
	}
	if d.Pools["dns"].Awaits || len(wantProbes(d)) != 1 {
		t.Error("a UDP endpoint is dialed")
	}
	files, err := Render(in.Config, "lb1", Given{"dns": {{Address: netip.MustParseAddrPort("[2001:db8::7]:53")}, {Address: netip.MustParseAddrPort("10.77.0.12:53")}}}, "/run/vipilot")
	if err != nil {
		t.Fatal(err)
	}
	conf := string(files["keepalived.conf"])
	for _, want := range []string{"virtual_server 203.0.113.53 53 {", "virtual_server 2001:db8::53 53 {", "real_server 10.77.0.12 53 {", "sorry_server 10.77.0.40 53"} {
		if !strings.Contains(conf, want) {
			t.Errorf("keepalived.conf has no %q:\n%s", want, conf)
		}
	}
}

// A VIP of UDP alone is announced while the kernel sends to somebody; a node
// that cannot serve UDP serves the rest.
func TestUDPAnnounced(t *testing.T) {
	s := stage(t, withUDP, snapshot("app1", resolver(1), web(4, "app", "todo")))
	s.node.balance = vrrp.Balance{Missing: errors.New("this node's kernel has no IPVS")}
	s.round()
	r := s.loop.board.Report()
	checker := r.Components.Keepalived.Checker
	if e := r.Services["dns"].Endpoints; len(e) != 2 || e[0].State != "down" || e[0].Reason != "this node's kernel has no IPVS" {
		t.Errorf("endpoints %+v", e)
	}
	if r.VIPs["names"].Reason != "this node's kernel has no IPVS" || checker == nil || checker.State != "off" || checker.Error == nil {
		t.Errorf("VIP %+v, checker %+v", r.VIPs["names"], checker)
	}
	if !r.Ready || r.Services["todo"].Endpoints[0].State != "ready" {
		t.Errorf("without IPVS the node is not ready for the rest: %+v", r.Components)
	}
	for subject, want := range map[string]string{"dns": "no_ipvs: this node's kernel has no IPVS", "app1/web-1": "no_ipvs", "203.0.113.53": "this node's kernel has no IPVS"} {
		if e := s.ask(subject); e.Verdict == status.GetsTraffic || !strings.Contains(e.Reason, want) {
			t.Errorf("explain %s: %+v", subject, e)
		}
	}

	at := netip.MustParseAddrPort
	s.node.balance = vrrp.Balance{Running: true, Weights: map[netip.AddrPort]map[netip.AddrPort]int{at("203.0.113.53:53"): {at("10.77.0.11:5301"): 100}}}
	s.round()
	r = s.loop.board.Report()
	if got := r.VIPs["names"].Announced; len(got) != 2 {
		t.Errorf("announced %v, reason %q", got, r.VIPs["names"].Reason)
	}
	if e := s.ask("dns"); e.Verdict != status.GetsTraffic {
		t.Errorf("explain dns: %+v", e)
	}
	s.node.balance.Weights[at("203.0.113.53:53")] = nil // the check took it out, keepalived sends to the backup
	s.round()
	if r := s.loop.board.Report(); len(r.VIPs["names"].Announced) != 2 {
		t.Errorf("with the backup alone: %+v", r.VIPs["names"])
	}
	s.node.balance.Weights = nil
	s.round()
	if r := s.loop.board.Report(); len(r.VIPs["names"].Announced) != 0 || !strings.Contains(r.VIPs["names"].Reason, "no ready endpoint in dns") {
		t.Errorf("without anybody: %+v", r.VIPs["names"])
	}
}
