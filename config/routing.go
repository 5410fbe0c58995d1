package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// readRouting reads the routing section.
func readRouting(parts []value) Routing {
	r := Routing{Converge: 2 * time.Second, HandoverPort: 10025}
	object(parts, keys{
		"bgp":           func(v value) { r.BGP = readBGP(v) },
		"ospf":          func(v value) { r.OSPF = readOSPF(v) },
		"handover_port": into(&r.HandoverPort, asPort),
		"converge":      into(&r.Converge, asDuration(0, time.Minute, time.Millisecond)),
	})
	return r
}

// readBGP reads routing.bgp.
func readBGP(v value) *BGP {
	b := BGP{Speaker: "gobgp"}
	object([]value{v}, keys{
		"asn":              into(&b.ASN, asASN),
		"speaker":          into(&b.Speaker, word("gobgp", "frr")),
		"graceful_restart": into(&b.GracefulRestart, asDuration(0, 4095*time.Second, time.Second)),
		"peers":            func(p value) { b.Peers = named([]value{p}, kindPeer, readPeer) },
	}, "asn")
	checkGracefulRestart(&b, v)
	for _, p := range b.Peers {
		checkPeering(p, b.ASN, v.dig("peers", p.Name))
	}
	return &b
}

// checkGracefulRestart says what it costs: a router cannot tell a sentinel
// that restarts from a node that is dead.
func checkGracefulRestart(b *BGP, v value) {
	at := v.dig("graceful_restart")
	if b.GracefulRestart == 0 {
		return
	}
	if b.Speaker == "frr" {
		at.faultf("has no effect with speaker: frr").Hint = "FRR's sessions outlive the sentinel anyway"
		return
	}
	var unguarded []string
	for _, p := range b.Peers {
		if p.BFD.Interval == 0 {
			unguarded = append(unguarded, p.Name)
		}
	}
	if len(unguarded) > 0 {
		at.warnf("a dead node's routes stay in a router for up to %s where BFD does not guard the peer (%s)", brief(b.GracefulRestart), strings.Join(unguarded, ", ")).
			Hint = "set bfd on the peer and on the router, or leave graceful_restart out"
	}
}

// checkPeering looks for what means nothing within, or between, autonomous systems.
func checkPeering(p Peer, asn uint32, at value) {
	if p.ASN == asn && p.Prepend > 0 {
		at.dig("prepend").faultf("this peer has our own ASN and would take the path for a loop").Hint = "use local_preference or med"
	}
	if p.ASN != asn && p.LocalPreference > 0 {
		at.dig("local_preference").faultf("has no effect on a peer with another ASN").Hint = "use med or prepend"
	}
}

func asASN(v value) (uint32, bool) { return number[uint32](1, 1<<32-1)(v) }

// readPeer reads routing.bgp.peers.<name>.
func readPeer(v value) Peer {
	p := Peer{Name: v.name(), HoldTime: 9 * time.Second}
	object([]value{v}, keys{
		"address":       into(&p.Address, asAddress),
		"asn":           into(&p.ASN, asASN),
		"password_file": into(&p.Password, asBGPPassword),
		"ttl_security":  into(&p.TTLSecurity, asBool),
		"hold_time":     into(&p.HoldTime, asHoldTime),

		"source_address":   into(&p.Source, asAddress),
		"multihop":         into(&p.Multihop, number[uint8](2, 255)),
		"bfd":              func(b value) { p.BFD = readBFD(b) },
		"med":              into(&p.MED, number[uint32](0, 1<<32-1)),
		"prepend":          into(&p.Prepend, asPrepend),
		"local_preference": into(&p.LocalPreference, number[uint32](1, 1<<32-1)),
		"communities":      into(&p.Communities, someOf(asCommunity)),
	}, "address", "asn")
	if p.TTLSecurity && p.Multihop > 0 {
		v.dig("multihop").faultf("cannot be together with ttl_security").Hint = "ttl_security wants the router on the wire"
	}
	if p.Source.IsValid() && p.Address.IsValid() && p.Source.Is4() != p.Address.Is4() {
		v.dig("source_address").faultf("%s cannot be the source of a session to %s", p.Source, p.Address)
	}
	return p
}

func asPrepend(v value) (uint8, bool) { return number[uint8](0, 20)(v) }

// readBFD reads a bfd section, of a BGP peer or of OSPF.
func readBFD(v value) BFD {
	b := BFD{Interval: 100 * time.Millisecond, Multiplier: 3}
	object([]value{v}, keys{
		"interval":   into(&b.Interval, asDuration(10*time.Millisecond, 60*time.Second, time.Millisecond)),
		"multiplier": into(&b.Multiplier, number[uint8](2, 255)),
	})
	return b
}

// asHoldTime reads what RFC 4271 allows: none, or at least three seconds.
func asHoldTime(v value) (time.Duration, bool) {
	d, ok := asDuration(0, 65535*time.Second, time.Second)(v)
	if ok && d > 0 && d < 3*time.Second {
		v.faultf("%s is out of range", v.node.Value).Hint = "0, or at least 3s"
		return 0, false
	}
	return d, ok
}

// readOSPF reads routing.ospf.
func readOSPF(v value) *OSPF {
	o := OSPF{Area: netip.IPv4Unspecified(), HelloInterval: time.Second, DeadInterval: 4 * time.Second}
	seconds := asDuration(time.Second, 65535*time.Second, time.Second)
	object([]value{v}, keys{
		"area":           into(&o.Area, asArea),
		"interfaces":     into(&o.Interfaces, someOf(asInterface)),
		"hello_interval": into(&o.HelloInterval, seconds),
		"dead_interval":  into(&o.DeadInterval, seconds),
		"network":        into(&o.Broadcast, oneOf(map[string]bool{"point-to-point": false, "broadcast": true})),
		"bfd":            func(b value) { o.BFD = readBFD(b) },
		"password_file":  into(&o.Password, asOSPFPassword),
	}, "interfaces")
	if o.DeadInterval <= o.HelloInterval {
		v.dig("dead_interval").faultf("%s is not longer than hello_interval, %s", brief(o.DeadInterval), brief(o.HelloInterval))
	}
	return &o
}

// asArea reads an OSPF area, as a number or like an address.
func asArea(v value) (netip.Addr, bool) {
	v.outlines(form{kind: kWhole, most: 1<<32 - 1})
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!int" {
		n, err := strconv.ParseUint(v.node.Value, 10, 32)
		if err == nil {
			return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), true
		}
	}
	return parsed("an OSPF area", func(text string) (netip.Addr, *refusal) {
		addr, err := netip.ParseAddr(text)
		if err != nil || !addr.Is4() {
			return addr, &refusal{"is not an OSPF area", "as in 0.0.0.0"}
		}
		return addr, nil
	})(v)
}
