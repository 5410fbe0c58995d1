package haproxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// What is checked after a change is what changed; nothing hostile hides behind
// what was good before.
func TestCheckOfWhatChanged(t *testing.T) {
	server := Server{Name: "s1", Address: netip.MustParseAddrPort("10.77.0.11:8080"), Weight: 100, State: Ready}
	one := Config{
		Frontends: []Frontend{{
			Name: "web_80", Mode: HTTP, Binds: []Bind{{netip.MustParseAddr("203.0.113.10"), 80}}, Routes: []Route{{Host: "a.example.net", Path: "/", Backend: "a"}},
		}},
		Backends: []*Backend{{Name: "a", Mode: HTTP, Servers: []Server{server}}, {Name: "b", Mode: HTTP}},
	}
	change := func(f func(*Config)) Config {
		c := one
		c.Backends = slices.Clone(one.Backends)
		f(&c)
		return c
	}
	for name, c := range map[string]struct {
		want  Config
		fault string
	}{
		"the same":       {one, ""},
		"a good server":  {change(func(c *Config) { c.Backends[1] = &Backend{Name: "b", Mode: HTTP, Servers: []Server{server}} }), ""},
		"a bad server":   {change(func(c *Config) { c.Backends[1] = &Backend{Name: "b", Mode: HTTP, Servers: []Server{{Name: "x y"}}} }), "a name may hold"},
		"another mode":   {change(func(c *Config) { c.Backends[0] = &Backend{Name: "a", Mode: TCP} }), "has mode tcp"},
		"a lost backend": {change(func(c *Config) { c.Backends = c.Backends[1:] }), `backend "a" does not exist`},
		"a bad frontend": {change(func(c *Config) { c.Frontends = slices.Clone(c.Frontends); c.Frontends[0].Name = "x\ny" }), "a name may hold"},
	} {
		t.Run(name, func(t *testing.T) {
			h := New(Options{RunDir: t.TempDir()})
			h.applied = one
			err := h.check(c.want)
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("check: %v, want %q", err, c.fault)
			}
		})
	}
}
