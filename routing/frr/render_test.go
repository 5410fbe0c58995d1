package frr

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/internal/golden"
	"github.com/vipilot/vipilot/routing"
)

func pfx(texts ...string) (list []routing.Prefix) {
	for _, text := range texts {
		list = append(list, routing.Prefix{Prefix: netip.MustParsePrefix(text), VIP: "v", WhileHeld: true})
	}
	return list
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func ospfOnly() routing.Config {
	return routing.Config{OSPF: &routing.OSPF{
		RouterID: addr("10.77.0.21"), Area: addr("0.0.0.0"), HelloInterval: time.Second, DeadInterval: 4 * time.Second,
		Interfaces: []routing.OSPFInterface{{Name: "eth0", Address: addr("10.77.0.21")}, {Name: "eth1"}},
		Prefixes:   pfx("203.0.113.10/32", "2001:db8::10/128"),
	}}
}

func everything() routing.Config {
	c := ospfOnly()
	c.OSPF.BFD, c.OSPF.Password, c.OSPF.Broadcast = routing.BFD{Interval: 100 * time.Millisecond, Multiplier: 3}, "ospf-secret", true
	med := uint32(7)
	c.ASN, c.RouterID, c.ViaFRR = 65010, addr("10.77.0.21"), true
	c.Prefixes = pfx("203.0.113.10/32", "203.0.113.11/32", "2001:db8::10/128")
	c.Prefixes[1].MED, c.Prefixes[1].Prepend, c.Prefixes[1].Communities = &med, 2, []string{"65010:100", "65010:1:2", "65535:65281"}
	c.Peers = []routing.Peer{
		{Name: "core", Address: addr("10.77.0.2"), ASN: 65000, Multihop: 4, Export: routing.Export{MED: 50, Prepend: 1, LocalPreference: 200, Communities: []string{"1:2"}}},
		{Name: "edge", Address: addr("10.77.0.1"), ASN: 65000, Password: "bgp-secret", TTLSecurity: true, HoldTime: 3 * time.Second,
			LocalAddress: addr("10.77.0.21"), BFD: routing.BFD{Interval: 50 * time.Millisecond, Multiplier: 5}},
		{Name: "six", Address: addr("2001:db8:77::1"), ASN: 65010},
	}
	c.Prefixes[1].Prepend, c.Peers[0].Export.Prepend = 0, 1
	return c
}

func guarded() routing.Config {
	c := everything()
	c.OSPF, c.ViaFRR = nil, false
	return c
}

func attached() routing.Config {
	c := everything()
	c.FRR.Attach = true
	return c
}

// TestRender compares with the files in testdata and, where FRR is installed
// and asked for, has vtysh read them.
func TestRender(t *testing.T) {
	for name, c := range map[string]routing.Config{
		"ospf": ospfOnly(), "everything": everything(), "guarded": guarded(), "attached": attached(), "nothing": {},
	} {
		got, err := Render(c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		golden.Equal(t, filepath.Join("testdata", name+".conf"), got)
		if os.Getenv("VIPILOT_E2E") == "1" {
			if err := Check(t.Context(), "vtysh", filepath.Join("testdata", name+".conf")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestCheckSaysNo(t *testing.T) {
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run against real daemons (root)")
	}
	if _, err := exec.LookPath("vtysh"); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "bad.conf")
	if err := os.WriteFile(name, []byte("router bgp 65010\n neighbour 10.0.0.1 remote-as 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Check(context.Background(), "vtysh", name); err == nil || !strings.Contains(err.Error(), "neighbour") {
		t.Errorf("vtysh takes nonsense: %v", err)
	}
}

func TestRenderRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*routing.Config){
		"interface":    func(c *routing.Config) { c.OSPF.Interfaces[0].Name = "eth0\nrouter bgp 1" },
		"ospf: passw":  func(c *routing.Config) { c.OSPF.Password = "a b" },
		"printable":    func(c *routing.Config) { c.Peers[1].Password = "a\nno router bgp" },
		"community":    func(c *routing.Config) { c.Prefixes[0].Communities = []string{"1:2 additive"} },
		"multiplier":   func(c *routing.Config) { c.Peers[1].BFD.Multiplier = 1 },
		"bfd.interval": func(c *routing.Config) { c.OSPF.BFD.Interval = time.Millisecond },
	} {
		c := everything()
		spoil(&c)
		if _, err := Render(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("shows a secret: %v", err)
		}
	}
}
