package controller

import (
	"strings"
	"testing"

	"github.com/vipilot/vipilot/discovery"
)

const ranged = `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
hosts: {app1: {docker: "tcp://10.77.0.11:2375"}}
vips: {public: {addresses: [203.0.113.10, "2001:db8::10"]}}
services:
  media:
    vip: public
    tcp: {ports: "30000-30100"}
    backend: {port: 30005, containers: {labels: {app: media}}, servers: [10.77.0.40]}
`

func TestPortRange(t *testing.T) {
	c := web(1, "app", "media")
	c.HostMode, c.Networks = true, nil
	s := stage(t, ranged, snapshot("app1", c, web(2, "app", "media")))
	want := s.loop.applied.want
	b := backend(t, want, "media")
	if b.Check.Port != 30005 || len(b.Servers) != 2 || b.Servers[0].Address.Port() != 0 || b.Servers[1].Address.Port() != 0 {
		t.Errorf("backend %+v", b)
	}
	if f := want.HAProxy.Frontends[0]; f.LastPort != 30100 || len(f.Binds) != 2 || f.Binds[0].Port != 30000 {
		t.Errorf("frontend %+v", f)
	}
	if r := want.Pools["media"].Rejected; len(r) != 1 || r[0].Reason != discovery.PortNotPublished {
		t.Errorf("rejected %+v", r)
	}
	if e := s.ask("203.0.113.10:30077"); !e.Found || !strings.Contains(step(e.Explanation, "frontend").Detail[0].Text, "every connection to port 30000-30100 → media") {
		t.Errorf("explain a port of the range: %+v", e)
	}
	if e := s.ask("203.0.113.10:30101"); step(e.Explanation, "frontend").Verdict == "ok" {
		t.Errorf("explain a port beside the range: %+v", e)
	}
}
