package controller

import (
	"net"
	"testing"

	"github.com/vipilot/vipilot/vrrp"
)

// keepalived is asked on interfaces it could run on, wherever that is.
func TestInterfacesToAskKeepalivedOn(t *testing.T) {
	link := func(name string, flags net.Flags) net.Interface { return net.Interface{Name: name, Flags: flags} }
	lo, ifb := link("lo", net.FlagLoopback|net.FlagMulticast), link("ifb0", net.FlagBroadcast)
	eth0, eth1 := link("eth0", net.FlagBroadcast|net.FlagMulticast), link("eth1", net.FlagBroadcast|net.FlagMulticast)
	for _, c := range []struct {
		wanted string
		here   []net.Interface
		want   string // "" = keepalived is not asked
	}{
		{"eth1", []net.Interface{lo, ifb, eth0, eth1}, "eth1"},
		{"ens18", []net.Interface{lo, ifb, eth0, eth1}, "eth0"},
		{"ifb0", []net.Interface{lo, ifb, eth0}, "eth0"},
		{"eth0", []net.Interface{lo, ifb}, ""},
	} {
		want := vrrp.Config{Instances: []vrrp.Instance{{Interface: c.wanted}}}
		got, ok := standOn(c.here, want)
		if ok != (c.want != "") || ok && got.Instances[0].Interface != c.want {
			t.Errorf("%s on %v: %v, %v", c.wanted, c.here, got.Instances, ok)
		}
		if want.Instances[0].Interface != c.wanted {
			t.Error("what a node runs was changed")
		}
	}
}
