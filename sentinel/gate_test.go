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
