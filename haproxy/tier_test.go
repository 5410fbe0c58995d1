package haproxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// tierOf is a tier with two services on a container each.
func tierOf(t testing.TB, bind string) Config {
	db := ready("00000000000000db", "172.18.0.3:5432")
	todo := ready("0000000000000001", "172.18.0.2:8080")
	db.Weight, todo.Weight = 0, 0
	gate := func(s Server, service string) Server { s.Name += "." + service; return s }
	down := gate(db, "db")
	down.State = Maint
	return Config{
		Tier: &Tier{Bind: netip.MustParseAddrPort(bind), Idle: time.Hour, Certificate: testPEM(t, "tier"),
			Nodes: []netip.Addr{netip.MustParseAddr("10.77.0.21"), netip.MustParseAddr("10.77.0.22")}},
		Backends: []*Backend{
			{Name: "db", Mode: TCP, Place: BehindIt, ProxyProtocol: ProxyV2, Servers: []Server{db}},
			{Name: Gate, Mode: TCP, Place: AtGate, Servers: []Server{gate(todo, "todo.web"), down}},
			{Name: "todo.web", Mode: TCP, Place: BehindIt, Tunnel: time.Hour, Servers: []Server{todo}},
		},
	}
}

// viaTier is a node that reaches one container through a tier, another not.
func viaTier(tier string) Config {
	direct, via := ready("2222222222222222", "10.77.0.12:32768"), ready("0000000000000001", tier)
	via.Via, via.Source = "0000000000000001.todo.web", netip.MustParseAddr("10.77.0.21")
	return Config{
		Frontends: []Frontend{{Name: "public_80", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:80")}, Default: "todo.web"}},
		Backends: []*Backend{{Name: "todo.web", Mode: HTTP, ProxyProtocol: ProxyV2, StickyCookie: "SRV", StickyName: true, Check: Check{Path: "/healthz"},
			Servers: []Server{via, direct}}},
	}
}

// Nothing hostile reaches the file, and nothing is in a tier that is not there.
func TestCheckTier(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"no tier":        func(c *Config) { c.Tier = nil },
		"no nodes":       func(c *Config) { c.Tier.Nodes = nil },
		"no certificate": func(c *Config) { c.Tier.Certificate = nil },
		"no bind":        func(c *Config) { c.Tier.Bind = netip.AddrPort{} },
		"a zone":         func(c *Config) { c.Tier.Nodes[0] = netip.MustParseAddr("fe80::1%eth0") },
		"a space":        func(c *Config) { c.Backends[0].Servers[0].Via = "a b" },
		"a parenthesis":  func(c *Config) { c.Backends[0].Servers[0].Via = "a)" },
		"a colon":        func(c *Config) { c.Backends[0].Servers[0].Via = Gate },
	} {
		t.Run(name, func(t *testing.T) {
			want := tierOf(t, "10.77.0.11:7080")
			spoil(&want)
			if _, err := Render(want, testPaths); err == nil {
				t.Error("it was rendered")
			}
		})
	}
}

// A container that comes is two servers added, one that stops leaves the gate
// and may finish behind it.
func TestTierChanges(t *testing.T) {
	have, want := tierOf(t, "10.77.0.11:7080"), tierOf(t, "10.77.0.11:7080")
	want.Tier = have.Tier
	more := ready("0000000000000002", "172.18.0.4:8080")
	more.Weight = 0
	behind, gate := *have.Backends[2], *have.Backends[1]
	behind.Servers = append(slices.Clone(behind.Servers), more)
	more.Name += ".todo.web"
	gate.Servers = slices.Insert(slices.Clone(gate.Servers), 1, more)
	want.Backends = []*Backend{have.Backends[0], &gate, &behind}
	if kind, causes := Compare(have, want); kind != Runtime {
		t.Fatalf("%s: %v", kind, causes)
	}
	var commands []string
	for i := range want.Backends {
		requests, _ := serverRequests(want.Backends[i], have.Backends[i].Servers, func(string) bool { return false }, testPaths)
		for _, r := range requests {
			commands = append(commands, r.text)
		}
	}
	wanted := []string{
		"add server tier:gate/0000000000000002.todo.web unix@/run/vipilot/haproxy/jail/inside.sock check inter 1s fastinter 200ms rise 1 fall 3 addr 172.18.0.4 port 8080 weight 0 send-proxy-v2",
		"enable health tier:gate/0000000000000002.todo.web", "set server tier:gate/0000000000000002.todo.web state ready",
		"add server todo.web/0000000000000002 172.18.0.4:8080 weight 0", "set server todo.web/0000000000000002 state ready",
	}
	if !slices.Equal(commands, wanted) {
		t.Errorf("commands\n%s\nwant\n%s", strings.Join(commands, "\n"), strings.Join(wanted, "\n"))
	}
	want.Tier = nil
	if kind, causes := Compare(have, want); kind != Reload || causes[0] != "tier removed" {
		t.Errorf("without its tier: %s %v", kind, causes)
	}
}
