package config

import (
	"net/netip"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// readRouting reads the routing section.
func readRouting(parts []value) Routing {
	var r Routing
	object(parts, keys{
		"bgp":  func(v value) { r.BGP = readBGP(v) },
		"ospf": func(v value) { r.OSPF = readOSPF(v) },
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
	return &b
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
	}, "address", "asn")
	return p
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
