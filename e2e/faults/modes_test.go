package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// mode is a way in which a VIP is placed and announced.
type mode struct {
	name, about  string
	vip, address string
	protocol     string // of the router's routes; "" = none: clients meet the VIP by ARP
	anycast      bool
	frr          bool     // FRR speaks on the nodes
	smallDisks   bool     // the master's, until it boots
	ownClock     bool     // the master's
	only         []string // faults that are tried; nil = all
	fleet        []string // what the fleet has, and what it becomes
	router       func(*scene) (undo func(), err error)
}

// holders are the nodes that a healthy router sends the VIP to.
func (m mode) holders(s *scene) []*lab.Node {
	if m.anycast {
		return s.Nodes()
	}
	return []*lab.Node{s.LB1}
}

// settled checks what a node says of its part.
func (m mode) settled(s *scene, n *lab.Node, r status.Report) error {
	vip := r.VIPs[m.vip]
	if want := "master"; n == s.LB1 && !m.anycast && vip.Role != want {
		return fmt.Errorf("%s is %s", m.vip, vip.Role)
	}
	for name, p := range r.Components.Speaker.Peers {
		if p.State != "established" {
			return fmt.Errorf("peer %s is %s", name, p.State)
		}
		if p.BFD != "" && p.BFD != "up" {
			return fmt.Errorf("BFD of peer %s is %s", name, p.BFD)
		}
	}
	if m.protocol == "ospf" {
		return lab.HearsRouter(r)
	}
	return nil
}

const (
	guarded = "hold_time: 9s, bfd: {interval: 100ms, multiplier: 3}"
	anyVIP  = "vips:\n  any: {addresses: [203.0.113.53], ha: anycast, announce: {protocols: [bgp]}}\n"
	ospf    = "routing:\n  ospf: {interfaces: [eth0], hello_interval: 1s, dead_interval: 4s, network: broadcast, bfd: {interval: 60ms, multiplier: 3}}\n"
)

// guarded says whether BFD tells the router of a dead node, or its hold
// time alone.
func (m mode) guarded() bool { return m.protocol == "" || slices.ContainsFunc(m.fleet, hasBFD) }

func hasBFD(text string) bool { return strings.Contains(text, "bfd:") }

func guardPeers(s *scene) (func(), error) { return s.Router.GuardPeers(s.ctx) }
func useOSPF(s *scene) (func(), error)    { return s.Router.StartGuardedOSPF(s.ctx) }
func useBIRD(s *scene) (func(), error) {
	undo, err := s.Router.UseBIRD(s.ctx, options)
	return func() { _ = undo(context.Background()) }, err
}

// modes are the columns of the matrix.
func modes() []mode {
	return []mode{
		{
			name: "VRRP", about: "a VIP on the local network, taken over by gratuitous ARP; advert 100 ms",
			vip: "local", address: "10.77.0.100", smallDisks: true,
			fleet: []string{"vips:\n", "vips:\n  local: {addresses: [10.77.0.100], ha: vrrp, nodes: [lb1, lb2], vrrp: {advert_interval: 100ms, preempt_delay: 1s}}\n"},
		},
		{
			name: "VRRP+BGP", about: "VRRP, and the master announces by GoBGP to FRR; advert 100 ms, BFD 100 ms × 3",
			vip: "public", address: lab.VIP, protocol: "bgp", smallDisks: true,
			fleet: []string{"hold_time: 3s", guarded}, router: guardPeers,
		},
		{
			name: "anycast+BGP", about: "both nodes announce by GoBGP to FRR, which balances; BFD 100 ms × 3",
			vip: "any", address: "203.0.113.53", protocol: "bgp", anycast: true, smallDisks: true,
			fleet: []string{"hold_time: 3s", guarded, "vips:\n", anyVIP}, router: guardPeers,
		},
		{
			name: "VRRP+OSPF", about: "VRRP, and FRR on the nodes announces by OSPF to FRR; advert 100 ms, BFD 60 ms × 3, so that it is sooner than the election",
			vip: "public", address: lab.VIP, protocol: "ospf", frr: true, smallDisks: true,
			fleet: []string{"protocols: [bgp]", "protocols: [ospf]", "routing:\n", ospf}, router: useOSPF,
		},
		{
			name: "VRRP+BGP by FRR", about: "as VRRP+BGP, with FRR's bgpd as the speaker on the nodes",
			vip: "public", address: lab.VIP, protocol: "bgp", frr: true, smallDisks: true,
			fleet: []string{"hold_time: 3s", guarded, "    asn: 65010\n", "    asn: 65010\n    speaker: frr\n"}, router: guardPeers,
		},
		{
			name: "anycast+BGP, hold time", about: "both nodes announce by GoBGP to FRR with its own defaults for graceful restart; no BFD, hold time 3 s",
			vip: "any", address: "203.0.113.53", protocol: "bgp", anycast: true, only: []string{"node loses power", "uplink down"},
			fleet: []string{"vips:\n", anyVIP},
		},
		{
			name: "anycast+BGP, BIRD", about: "both nodes announce by GoBGP to BIRD with its own defaults for graceful restart; no BFD, hold time 3 s",
			vip: "any", address: "203.0.113.53", protocol: "bird", anycast: true, smallDisks: true,
			fleet: []string{"vips:\n", anyVIP}, router: useBIRD,
		},
	}
}
