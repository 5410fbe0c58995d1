package controller

import (
	"strings"
	"testing"

	"github.com/vipilot/vipilot/status"
)

// Two services that name one static address both get traffic; that they share
// it is said, as neither counts the other's connections.
func TestExplainASharedStaticAddress(t *testing.T) {
	s := stage(t, `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
vips: {public: {addresses: [203.0.113.10], ha: static}}
services:
  a: {vip: public, tcp: {port: 5001}, backend: {servers: [10.77.0.40:5432, 10.77.0.41:5432]}}
  b: {vip: public, tcp: {port: 5002}, backend: {servers: [10.77.0.40:5432]}}
`)
	a := s.ask("10.77.0.40:5432")
	if a.Verdict != status.GetsTraffic || len(a.Others) != 1 {
		t.Fatalf("%s: %s, %d others", a.Verdict, a.Reason, len(a.Others))
	}
	said := step(a.Explanation, "service")
	if said.Verdict != status.Warn || len(said.Detail) != 1 || !strings.HasPrefix(said.Detail[0].Text, "b names 10.77.0.40:5432 too") {
		t.Errorf("the other service is not told: %+v", said)
	}
	if alone := step(s.ask("10.77.0.41:5432").Explanation, "service"); alone.Verdict != status.OK || alone.Detail != nil {
		t.Errorf("of an address of its own: %+v", alone)
	}
}
