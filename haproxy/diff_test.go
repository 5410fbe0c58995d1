package haproxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// base has one frontend and two backends; the tests change a deep copy.
func base() Config {
	return Config{
		Frontends: []Frontend{{Name: "f", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:80")},
			Routes:       []Route{{Host: "a.example.net", Path: "/", Backend: "a"}, {Host: "b.example.net", Path: "/", Backend: "b"}, {Host: "z.example.net", Path: "/", Backend: "a"}},
			Certificates: []Certificate{{Name: "c", PEM: []byte("one")}}}},
		Backends: []*Backend{
			{Name: "a", Mode: HTTP, Servers: []Server{ready("s1", "10.77.0.11:1"), ready("s2", "10.77.0.11:2")}},
			{Name: "b", Mode: HTTP, Servers: []Server{ready("s1", "10.77.0.11:3")}},
		},
	}
}

func TestClassification(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string // cause of a reload, "" = runtime
	}{
		{"nothing", func(*Config) {}, ""},
		{"server added", func(c *Config) {
			c.Backends[0].Servers = append(c.Backends[0].Servers, ready("s3", "10.77.0.11:9"))
		}, ""},
		{"server gone", func(c *Config) { c.Backends[0].Servers = nil }, ""},
		{"server drained", func(c *Config) { c.Backends[0].Servers[0].State = Drain }, ""},
		{"weight", func(c *Config) { c.Backends[0].Servers[0].Weight = 0 }, ""},
		{"route added", func(c *Config) {
			c.Frontends[0].Routes = append(c.Frontends[0].Routes, Route{Host: "c.example.net", Path: "/c", Backend: "b"})
		}, ""},
		{"route gone", func(c *Config) { c.Frontends[0].Routes = c.Frontends[0].Routes[:2] }, ""},
		{"all routes to one backend", func(c *Config) { c.Frontends[0].Routes = c.Frontends[0].Routes[:1] }, "frontend f: leads to a alone"},
		{"certificate renewed", func(c *Config) { c.Frontends[0].Certificates[0].PEM = []byte("two") }, ""},
		{"certificate too long", func(c *Config) { c.Frontends[0].Certificates[0].PEM = make([]byte, maxRuntimePEM+1) }, "frontend f: certificate c has more than the 12288 bytes that can be changed at run time"},
		{"another OCSP response", func(c *Config) { c.Frontends[0].Certificates[0].OCSP = []byte("der") }, ""},
		{"OCSP responses are fetched", func(c *Config) { c.Frontends[0].Certificates[0].FetchOCSP = true },
			"frontend f: certificate c: http.tls.ocsp, or the certificate's responder, changed"},
		{"certificate added with OCSP", func(c *Config) {
			c.Frontends[0].Certificates = append(c.Frontends[0].Certificates, Certificate{Name: "d", FetchOCSP: true})
		}, "frontend f: certificate d with http.tls.ocsp added"},
		{"certificate added", func(c *Config) {
			c.Frontends[0].Certificates = append(c.Frontends[0].Certificates, Certificate{Name: "d"})
		}, ""},
		{"another default certificate", func(c *Config) { c.Frontends[0].Certificates[0].Name = "d" }, "frontend f: another default certificate, d"},
		{"client certificates asked for", func(c *Config) { c.Frontends[0].Certificates[0].Client = &ClientCheck{CA: Bundle{Name: "ca"}} },
			"frontend f: certificate c: hosts or client certificates changed"},
		{"TLS ends", func(c *Config) { c.Frontends[0].Certificates = nil }, "frontend f: TLS ends"},
		{"another profile", func(c *Config) { c.Frontends[0].Profile = Modern }, "frontend f: http.tls.profile unset became modern"},
		{"TLS to the servers", func(c *Config) { c.Backends[0].TLS = new(BackendTLS) }, "backend a: TLS to the servers changed"},
		{"first wildcard", func(c *Config) { c.Frontends[0].Routes[0].Host = "*.example.net" }, "frontend f: its first or last route of a kind (http.hosts, http.paths, http.redirect)"},
		{"first redirect", func(c *Config) { c.Frontends[0].Redirects = []Route{{Host: "r.example.net"}} }, "frontend f: its first or last route of a kind (http.hosts, http.paths, http.redirect)"},
		{"bind", func(c *Config) { c.Frontends[0].Binds = append(c.Frontends[0].Binds, bind("203.0.113.11:80")) }, "frontend f: binds changed (vips.addresses or a port)"},
		{"timeout", func(c *Config) { c.Frontends[0].ClientTimeout = time.Second }, "frontend f: timeouts.client 0s became 1s"},
		{"frontend added", func(c *Config) {
			c.Frontends = append(c.Frontends, Frontend{Name: "g", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:81")}, Default: "a"})
		}, "frontend g added"},
		{"frontend gone", func(c *Config) { c.Frontends = nil }, "frontend f removed"},
		{"backend added", func(c *Config) { c.Backends = append(c.Backends, &Backend{Name: "c", Mode: HTTP}) }, "backend c added"},
		{"backend gone", func(c *Config) {
			c.Backends, c.Frontends[0].Routes = c.Backends[:1], c.Frontends[0].Routes[:1]
		}, "backend b removed"},
		{"balance", func(c *Config) { c.Backends[0].Balance = "leastconn" }, "backend a: balance unset became leastconn"},
		{"check", func(c *Config) { c.Backends[0].Check.Path = "/" }, "backend a: check.path unset became /"},
		{"server by host name", func(c *Config) {
			c.Backends[0].Servers = append(c.Backends[0].Servers, Server{Name: "vm", Host: "vm", Port: 1, State: Ready})
		}, "backend a: server vm is not named by an IP address"},
		{"same name, other address", func(c *Config) {
			c.Backends[0].Servers[0].Address = netip.MustParseAddrPort("10.77.0.99:1")
		}, "backend a: server s1 changed"},
		{"maxconn", func(c *Config) { c.MaxConn = 10 }, "maxconn 0 became 10"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := base()
			test.change(&want)
			if got := structural(base(), want); got != test.want {
				t.Errorf("structural = %q, want %q", got, test.want)
			}
			// What is reachable never needs a reload, and needs none when all is.
			got := reachable(base(), want)
			if cause := structural(base(), got); cause != "" {
				t.Errorf("reachable still needs a reload: %s", cause)
			}
			if err := checkConfig(got, func(*Backend) bool { return false }); err != nil {
				t.Errorf("reachable is not sound: %v", err)
			}
			if test.want == "" && structural(got, want) != "" {
				t.Errorf("reachable stops short: %s", structural(got, want))
			}
		})
	}
}

// An endpoint of one service does not wait for another service's reload.
func TestReachableTakesServers(t *testing.T) {
	want := base()
	want.Backends[0].Servers = want.Backends[0].Servers[:1]
	want.Backends = append(want.Backends, &Backend{Name: "c", Mode: HTTP})
	want.Frontends[0].Routes = append(slices.Clone(want.Frontends[0].Routes), Route{Host: "c.example.net", Path: "/", Backend: "c"})
	got := reachable(base(), want)
	if len(got.Backends) != 2 || len(got.Backends[0].Servers) != 1 || len(got.Frontends[0].Routes) != 3 {
		t.Errorf("reachable = %+v", got)
	}
}

// A backend that waits for a reload, or whose reload is refused, follows its
// endpoints meanwhile.
func TestReachableTakesServersOfWhatWaits(t *testing.T) {
	s3 := ready("s3", "10.77.0.11:9")
	for _, test := range []struct {
		name   string
		change func(*Backend)
		want   string
	}{
		{"one comes", func(b *Backend) { b.Servers = append(b.Servers, s3) }, "s1 ready, s2 ready, s3 ready"},
		{"one leaves", func(b *Backend) { b.Servers = b.Servers[1:] }, "s2 ready"},
		{"one is drained", func(b *Backend) { b.Servers[0].State = Drain }, "s1 drain, s2 ready"},
		{"another comes for all", func(b *Backend) { b.Servers = []Server{s3} }, "s3 ready"},
		{"another comes that is not understood yet", func(b *Backend) { b.ProxyProtocol, b.Servers = ProxyV2, []Server{b.Servers[0], s3} }, "s1 ready"},
		{"only such come", func(b *Backend) { b.TLS, b.Servers = new(BackendTLS), []Server{s3} }, "s1 ready, s2 ready"},
		{"all are drained", func(b *Backend) { b.Servers[0].State, b.Servers[1].State = Maint, Maint }, "s1 ready, s2 ready"},
		{"nothing", func(*Backend) {}, "s1 ready, s2 ready"},
	} {
		want := clone(base())
		want.Backends[0].Balance = "leastconn"
		test.change(want.Backends[0])
		have := base()
		got := reachable(have, want)
		var servers []string
		for _, s := range got.Backends[0].Servers {
			servers = append(servers, s.Name+" "+string(s.State))
		}
		if text := strings.Join(servers, ", "); text != test.want || structural(have, got) != "" {
			t.Errorf("%s: %s, want %s (%s)", test.name, text, test.want, structural(have, got))
		}
		if test.name == "nothing" && got.Backends[0] != have.Backends[0] {
			t.Error("a backend of which nothing changes has lost its identity")
		}
	}
}

func TestPairs(t *testing.T) {
	name := func(s *string) string { return *s }
	var got []string
	for o, n := range pairs([]string{"a", "b", "d"}, []string{"b", "c", "d", "e"}, name) {
		switch {
		case o == nil:
			got = append(got, "+"+*n)
		case n == nil:
			got = append(got, "-"+*o)
		default:
			got = append(got, "="+*o)
		}
	}
	if want := []string{"-a", "=b", "+c", "=d", "+e"}; !slices.Equal(got, want) {
		t.Errorf("pairs = %v, want %v", got, want)
	}
}

// Passing TLS through and ending it on one port: which changes are reloads.
func TestPassthroughClassification(t *testing.T) {
	both := func() Config {
		c := base()
		c.Backends = append(c.Backends, &Backend{Name: "db", Mode: TCP}, &Backend{Name: "wild", Mode: TCP})
		c.Frontends[0].Passthrough = []Route{{Host: "db.test", Backend: "db"}, {Host: "*.test", Backend: "wild"}}
		return c
	}
	alone := func(c Config) Config {
		c.Frontends[0].Passthrough = nil
		return c
	}
	more := both()
	more.Frontends[0].Passthrough = append(more.Frontends[0].Passthrough, Route{Host: "db2.test", Backend: "db"})
	hosts := both()
	hosts.Frontends[0].Routes = append(hosts.Frontends[0].Routes, Route{Host: "own.test", Path: "/", Backend: "a"})
	for _, test := range []struct {
		name       string
		have, want Config
		kind       ChangeKind
		cause      string
	}{
		{"nothing", both(), both(), None, ""},
		{"a name more", both(), more, Runtime, ""},
		{"a host below a wildcard that is passed through", both(), hosts, Runtime, ""},
		{"the first name", alone(both()), both(), Reload, "frontend f: TLS is passed through as well (tcp.sni)"},
		{"the last name", both(), alone(both()), Reload, "frontend f: TLS is not both passed through (tcp.sni) and ended any more"},
	} {
		kind, causes := Compare(test.have, test.want)
		if kind != test.kind || test.cause != "" && !slices.Contains(causes, test.cause) {
			t.Errorf("%s: %s, %q", test.name, kind, causes)
		}
	}
	for _, change := range []func(*Config){
		func(c *Config) { c.Frontends[0].Certificates = nil },
		func(c *Config) { c.Frontends[0].Mode = TCP },
		func(c *Config) { c.Frontends[0].Passthrough[0].Backend = "a" },
	} {
		c := both()
		change(&c)
		if _, err := Render(c, testPaths); err == nil {
			t.Errorf("rendered: %+v", c.Frontends[0])
		}
	}
}
