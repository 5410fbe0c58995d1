package sentinel

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/vipilot/vipilot/routing"
)

func TestAdmit(t *testing.T) {
	want := []routing.Prefix{
		{Prefix: netip.MustParsePrefix("198.18.0.0/24")},
		{Prefix: netip.MustParsePrefix("203.0.113.10/32"), WhileHeld: true},
		{Prefix: netip.MustParsePrefix("203.0.113.64/26"), WhileHeld: true},
		{Prefix: netip.MustParsePrefix("2001:db8::10/128"), WhileHeld: true},
	}
	for _, test := range []struct {
		name string
		up   bool
		held []string
		want string
	}{
		{"zero", false, nil, "[]"},
		{"HAProxy away, all held", false, []string{"203.0.113.10", "203.0.113.65", "2001:db8::10"}, "[]"},
		{"up, nothing held", true, nil, "[198.18.0.0/24]"},
		{"another address", true, []string{"203.0.113.11"}, "[198.18.0.0/24]"},
		{"one family held", true, []string{"2001:db8::10"}, "[198.18.0.0/24 2001:db8::10/128]"},
		{"an address of a wider prefix", true, []string{"203.0.113.66"}, "[198.18.0.0/24 203.0.113.64/26]"},
		{"all", true, []string{"203.0.113.10", "203.0.113.127", "2001:db8::10"}, "[198.18.0.0/24 203.0.113.10/32 203.0.113.64/26 2001:db8::10/128]"},
	} {
		held := map[netip.Addr]bool{}
		for _, a := range test.held {
			held[netip.MustParseAddr(a)] = true
		}
		got := []netip.Prefix{}
		for _, p := range admit(want, test.up, held) {
			got = append(got, p.Prefix)
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s: %v, want %s", test.name, got, test.want)
		}
	}
}

// TestGateBeforeOSPF: FRR looks at the kernel itself, unless it is blind.
func TestGateBeforeOSPF(t *testing.T) {
	here, away := netip.MustParsePrefix("203.0.113.10/32"), netip.MustParsePrefix("203.0.113.11/32")
	want := routing.Config{OSPF: &routing.OSPF{Prefixes: []routing.Prefix{{Prefix: here, WhileHeld: true}, {Prefix: away, WhileHeld: true}}}}
	held := map[netip.Addr]bool{here.Addr(): true}
	for _, c := range []struct {
		up, blind bool
		passes    int
	}{{true, false, 2}, {true, true, 1}, {false, false, 0}, {false, true, 0}} {
		if got := admitAll(want, c.up, c.blind, held).OSPF.Prefixes; len(got) != c.passes {
			t.Errorf("HAProxy up %v, FRR blind %v: %v passes", c.up, c.blind, got)
		}
	}
	if len(want.OSPF.Prefixes) != 2 {
		t.Error("the orders were changed")
	}
}
