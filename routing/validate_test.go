package routing

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func valid() Config {
	return Config{
		ASN: 65010, RouterID: netip.MustParseAddr("10.77.0.21"),
		Peers: []Peer{{Name: "edge", Address: netip.MustParseAddr("10.77.0.1"), ASN: 65000}},
		Prefixes: []Prefix{
			{Prefix: netip.MustParsePrefix("203.0.113.10/32"), Communities: []string{"65010:100", "65010:1:4294967295"}, Prepend: 2},
			{Prefix: netip.MustParsePrefix("2001:db8::10/128")},
		},
	}
}

func TestValidate(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("nothing wanted: %v", err)
	}
	for want, spoil := range map[string]func(*Config){
		"asn: is 0, but there are peers":     func(c *Config) { c.ASN = 0 },
		"router_id":                          func(c *Config) { c.RouterID = netip.MustParseAddr("::1") },
		"graceful_restart: -1s":              func(c *Config) { c.GracefulRestart = -time.Second },
		"used twice":                         func(c *Config) { c.Peers = append(c.Peers, c.Peers[0]) },
		`peer "": has no name`:               func(c *Config) { c.Peers[0].Name = "" },
		"is not the address of a router":     func(c *Config) { c.Peers[0].Address = netip.Addr{} },
		`peer "edge": asn: is 0`:             func(c *Config) { c.Peers[0].ASN = 0 },
		"cannot be the source":               func(c *Config) { c.Peers[0].LocalAddress = netip.MustParseAddr("2001:db8::1") },
		"is not a usable IPv6":               func(c *Config) { c.Peers[0].LocalAddress6 = netip.MustParseAddr("10.0.0.1") },
		"password: longer than 80":           func(c *Config) { c.Peers[0].Password = strings.Repeat("x", 81) },
		"hold_time: 1.5s":                    func(c *Config) { c.Peers[0].HoldTime = 1500 * time.Millisecond },
		"is there twice":                     func(c *Config) { c.Prefixes = append(c.Prefixes, c.Prefixes[0]) },
		"is not a prefix in canonical form":  func(c *Config) { c.Prefixes[0].Prefix = netip.PrefixFrom(netip.MustParseAddr("10.1.2.3"), 8) },
		`"65536" is not a number of 16 bits`: func(c *Config) { c.Prefixes[0].Communities = []string{"65536:1"} },
		`community "no-export": want a:b`:    func(c *Config) { c.Prefixes[0].Communities = []string{"no-export"} },
		"would take the path for a loop":     func(c *Config) { c.Peers[0].ASN = c.ASN },
	} {
		c := valid()
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		} else if strings.Contains(err.Error(), "xxx") {
			t.Errorf("the password is shown: %v", err)
		}
	}
}
