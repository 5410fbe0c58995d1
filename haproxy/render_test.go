package haproxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/vipilot/vipilot/internal/golden"
)

var testPaths = Paths{Dir: "/run/vipilot/haproxy", FDLimit: 20_000}

// testPEM is a fresh self-signed certificate with its key.
func testPEM(t testing.TB, names ...string) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
}

func ready(name, address string) Server {
	return Server{Name: name, Address: netip.MustParseAddrPort(address), State: Ready, Weight: 100}
}

func bind(address string) Bind {
	a := netip.MustParseAddrPort(address)
	return Bind{a.Addr(), a.Port()}
}

// goldens are whole configurations and the name of the file with what they
// render to.
func goldens(t testing.TB) map[string]Config {
	retries := 1
	down, draining, spare := ready("app1.web-2", "10.77.0.11:32769"), ready("app2.web-1", "[2001:db8::12]:8080"), ready("spare", "10.77.0.40:80")
	down.State, draining.State, spare.Backup = Maint, Drain, true
	all := map[string]Config{
		"ports": {
			Frontends: []Frontend{{Name: "public_30000", Mode: TCP, Binds: []Bind{bind("203.0.113.10:30000"), bind("[2001:db8::10]:30000")}, LastPort: 30100, Default: "media"}},
			Backends: []*Backend{{Name: "media", Mode: TCP, Check: Check{Port: 30005}, Servers: []Server{
				ready("app1.media", "10.77.0.11:0"), ready("app2.media", "[2001:db8::12]:0"),
			}}},
		},
		"empty": {},
		"one_service": {
			Frontends: []Frontend{{Name: "http_public_80", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:80"), bind("[2001:db8::10]:80")},
				Routes: []Route{{Host: "todo.example.net", Path: "/", Backend: "todo"}}}},
			Backends: []*Backend{{Name: "todo", Mode: HTTP, Balance: "leastconn", Check: Check{Path: "/healthz", Interval: time.Second, Rise: 2, Fall: 3},
				Servers: []Server{ready("app1.web-1", "10.77.0.11:32768"), down, draining, spare}}},
		},
		"routes": {
			MaxConn: 5000,
			Frontends: []Frontend{
				{Name: "http_public_80", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:80")},
					Routes:    []Route{{Path: "/api", Backend: "api"}, {Host: "*.example.net", Path: "/", Backend: "web"}},
					Redirects: []Route{{Host: "web.example.net", Path: "/"}}, RedirectPort: 8443, ClientTimeout: 5 * time.Second},
				{Name: "http_public_8443", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:8443")}, Default: "web",
					Routes:       []Route{{Host: "web.example.net", Path: "/api/", Backend: "api"}, {Host: "[2001:db8::10]", Path: "/", Backend: "web"}},
					Certificates: []Certificate{{Name: "web", PEM: testPEM(t)}}},
			},
			Backends: []*Backend{
				{Name: "api", Mode: HTTP, Balance: "uri", StickyCookie: "SRV", MaxConn: 50, Retries: &retries, Servers: []Server{ready("a", "10.77.0.11:1")}},
				{Name: "web", Mode: HTTP, TLS: &BackendTLS{Verify: true, ServerName: "app.example.net", CA: Bundle{"apps", testPEM(t)}}, ProxyProtocol: ProxyV2, Connect: time.Second, Server: 2 * time.Second, Queue: 3 * time.Second, Tunnel: 4 * time.Hour,
					Servers: []Server{{Name: "vm", Host: "localhost", Port: 8443, State: Ready, Weight: 100}}},
			},
		},
		"tls": {
			Frontends: []Frontend{{Name: "public_443", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:443")}, Profile: Modern,
				Routes: []Route{{Host: "a.example.net", Path: "/", Backend: "a"}, {Host: "b.example.net", Path: "/", Backend: "b"}},
				Certificates: []Certificate{
					{Name: "a", PEM: testPEM(t), Hosts: []string{"a.example.net"}, Client: &ClientCheck{CA: Bundle{"a", testPEM(t)}, Required: true}},
					{Name: "b", PEM: testPEM(t), Hosts: []string{"b.example.net"}, Client: &ClientCheck{CA: Bundle{"b", testPEM(t)}}},
				}}},
			Backends: []*Backend{
				{Name: "a", Mode: HTTP, Guard: Guard{HSTS: 4320 * time.Hour, Client: CertRequired}, TLS: &BackendTLS{Verify: true, ServerName: "a.inner", CA: Bundle{"a", testPEM(t)}}, Servers: []Server{ready("a", "10.77.0.11:1")}},
				{Name: "b", Mode: HTTP, Guard: Guard{Client: CertOptional}, TLS: &BackendTLS{Cert: &Certificate{Name: "b.client", PEM: testPEM(t)}}, Servers: []Server{{Name: "s", Socket: "s.sock", State: Ready}}},
			},
		},
		"tier":     tierOf(t, "10.77.0.11:7080"),
		"via_tier": viaTier("10.77.0.11:7080"),
		"tcp": {
			Frontends: []Frontend{
				{Name: "tcp_intra_5432", Mode: TCP, AcceptProxy: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}, Binds: []Bind{bind("10.77.0.101:5432")}, Default: "db"},
				{Name: "tcp_public_443", Mode: TCP, Binds: []Bind{bind("203.0.113.10:443")},
					Routes: []Route{{Host: "db.example.net", Backend: "db"}, {Host: "*.example.net", Backend: "pass"}}},
				{Name: "tcp_public_9", Mode: TCP, Binds: []Bind{bind("203.0.113.10:9")}},
			},
			Backends: []*Backend{
				{Name: "db", Mode: TCP, Balance: "source", Servers: []Server{ready("a", "10.77.0.40:5432")}},
				{Name: "pass", Mode: TCP, Balance: "random"},
			},
		},
		"passthrough": {
			Frontends: []Frontend{{Name: "public_443", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:443"), bind("[2001:db8::10]:443")},
				AcceptProxy:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
				Routes:       []Route{{Host: "a.example.net", Path: "/", Backend: "a"}, {Host: "todo.example.org", Path: "/api", Backend: "a"}, {Host: "todo.example.org", Path: "/", Backend: "a"}},
				Passthrough:  []Route{{Host: "db.example.net", Backend: "db"}, {Host: "*.example.org", Backend: "pass"}},
				Certificates: []Certificate{{Name: "a", PEM: testPEM(t)}}}},
			Backends: []*Backend{
				{Name: "a", Mode: HTTP, Tunnel: 4 * time.Hour, Servers: []Server{ready("a", "10.77.0.11:1")}},
				{Name: "db", Mode: TCP, Servers: []Server{ready("a", "10.77.0.40:5432")}},
				{Name: "pass", Mode: TCP},
			},
		},
		"split": {
			Frontends: []Frontend{
				{Name: "intra_443", Mode: TCP, Binds: []Bind{bind("10.77.0.101:443")}, Routes: []Route{{Host: "db.example.net", Backend: "db"}, {Host: "*.example.net", Backend: "plain"}}},
				{Name: "intra_5432", Mode: TCP, Binds: []Bind{bind("10.77.0.101:5432")}, Default: "db"},
				{Name: "public_80", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:80")}, Routes: []Route{{Path: "/", Backend: "todo"}}},
			},
			Backends: []*Backend{
				{Name: "db", Mode: TCP, Balance: "source", Split: []Share{{"v2", 20}}, Servers: []Server{inSet("v2", ready("a", "10.77.0.40:5432"))}},
				{Name: "plain", Mode: TCP},
				{Name: "todo", Mode: HTTP, StickyCookie: "SRV", Split: []Share{{"v2", 10}, {"v3", 5}}, Servers: []Server{inSet("v3", ready("a", "10.77.0.11:1")), ready("b", "10.77.0.11:2")}},
			},
		},
		"release": {
			Peers: Peers{Local: "lb1", Nodes: []Peer{{"lb1", netip.MustParseAddr("10.77.0.21")}, {"lb2", netip.MustParseAddr("2001:db8::22")}}},
			Frontends: []Frontend{
				{Name: "intra_5432", Mode: TCP, Binds: []Bind{bind("10.77.0.101:5432")}, Default: "db"},
				{Name: "public_80", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:80")}, Routes: []Route{{Path: "/", Backend: "todo"}}},
			},
			Backends: []*Backend{
				{Name: "db", Mode: TCP, StickySource: 30 * time.Minute, ProxyProtocol: ProxyV1, Outlier: Outlier{Errors: 3, Observe: "layer4"},
					Servers: []Server{ready("a", "10.77.0.40:5432")}},
				{Name: "todo", Mode: HTTP, SlowStart: 10 * time.Second, Outlier: Outlier{Errors: 10, Observe: "layer7"},
					Servers: []Server{ready("a", "10.77.0.11:1")}},
			},
		},
	}
	maps.Copy(all, ruled())
	return all
}

func TestRenderGolden(t *testing.T) {
	for name, want := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			files, err := Render(want, testPaths)
			if err != nil {
				t.Fatal(err)
			}
			var archive txtar.Archive
			for _, file := range files.names() {
				if strings.HasSuffix(file, ".pem") || strings.HasSuffix(file, ".ca") {
					continue
				}
				archive.Files = append(archive.Files, txtar.File{Name: file, Data: files[file]})
			}
			golden.Equal(t, filepath.Join("testdata", name+".txtar"), txtar.Format(&archive))
		})
	}
}

// HAProxy's own parser takes every golden, and can say no.
func TestE2EGoldensPassHAProxy(t *testing.T) {
	e2e(t)
	check := func(files Files) error {
		dir, err := os.MkdirTemp("/tmp", "haproxy-golden-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		store := storeIn(dir)
		if err := store.write(dir, files); err != nil {
			t.Fatal(err)
		}
		return CheckFiles(t.Context(), realBinary(), dir)
	}
	for name, want := range goldens(t) {
		files, err := Render(want, testPaths)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(files); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken, err := txtar.ParseFile("testdata/broken.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if err := check(Files{ConfigFile: broken.Files[0].Data}); err == nil || !strings.Contains(err.Error(), "balance only supports") {
		t.Errorf("broken.txtar: %v, want HAProxy's complaint", err)
	}
}

func storeIn(dir string) *files { return &files{paths: Paths{Dir: dir}} }

func TestCheckFilesMissingBinary(t *testing.T) {
	err := CheckFiles(context.Background(), "vipilot-no-such-haproxy", t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "apt-get install haproxy") {
		t.Errorf("CheckFiles = %v", err)
	}
}

// Nothing hostile or meaningless reaches a file.
func TestRenderRefuses(t *testing.T) {
	good := func() Config {
		return Config{
			Frontends: []Frontend{{Name: "f", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:80")}, Routes: []Route{{Host: "a.example.net", Path: "/", Backend: "b"}}}},
			Backends:  []*Backend{{Name: "b", Mode: HTTP, Servers: []Server{ready("s", "10.77.0.11:1")}}},
		}
	}
	if _, err := Render(good(), testPaths); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Frontends[0].Name = "f\n  bind :1" }, "a name may hold"},
		{func(c *Config) { c.Frontends[0].Mode = "health" }, "mode"},
		{func(c *Config) { c.Frontends[0].Binds = nil }, "no bind"},
		{func(c *Config) { c.Frontends[0].Binds[0].Port = 0 }, "not an address"},
		{func(c *Config) { c.Frontends[0].Routes[0].Host = "a b" }, "route host"},
		{func(c *Config) { c.Frontends[0].Routes[0].Host = "A.example.net" }, "route host"},
		{func(c *Config) { c.Frontends[0].Routes[0].Host = "*" }, "route host"},
		{func(c *Config) { c.Frontends[0].Routes[0].Path = "/x y" }, "route path"},
		{func(c *Config) { c.Frontends[0].Routes[0].Path = "/x;shutdown sessions" }, "route path"},
		{func(c *Config) { c.Frontends[0].Routes[0].Path = "x" }, "route path"},
		{func(c *Config) { c.Frontends[0].Routes[0].Backend = "nope" }, `"nope" does not exist`},
		{func(c *Config) { c.Frontends[0].Redirects = c.Frontends[0].Routes }, "twice"},
		{func(c *Config) { c.Frontends[0].Certificates = []Certificate{{Name: "../x"}} }, "certificate name"},
		{func(c *Config) { c.Frontends = append(c.Frontends, c.Frontends[0]) }, "sorted and unique"},
		{func(c *Config) { c.Backends[0].Name = "b;c" }, "a name may hold"},
		{func(c *Config) { c.Backends[0].Mode = TCP }, "has mode tcp, not http"},
		{func(c *Config) { c.Backends[0].Balance = "first" }, "balance"},
		{func(c *Config) { c.Backends[0].StickyCookie = "a b" }, "cookie"},
		{func(c *Config) { c.Backends[0].Check.Path = "/ HTTP/1.1" }, "check path"},
		{func(c *Config) { c.Backends[0].Check.Path = "/$HOME" }, "check path"},
		{func(c *Config) { c.Backends[0].Servers[0].Name = "s x" }, "a name may hold"},
		{func(c *Config) { c.Backends[0].Servers[0].Weight = 257 }, "weight"},
		{func(c *Config) { c.Backends[0].Servers[0].State = "" }, "state"},
		{func(c *Config) { c.Backends[0].Servers[0].Address = netip.AddrPort{} }, "neither an address"},
		{func(c *Config) { c.Backends[0].Servers[0].Host = "a b" }, "host name"},
		{func(c *Config) { c.MaxConn = 20_000 }, "needs 40202 open files"},
	} {
		want := good()
		test.change(&want)
		if _, err := Render(want, testPaths); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want an error with %q, got %v", test.want, err)
		}
	}
}

func TestBudget(t *testing.T) {
	many := Config{Backends: []*Backend{{Servers: make([]Server, 10_000)}}}
	for _, test := range []struct {
		want  Config
		limit int
		got   int
		err   bool
	}{
		{Config{}, 0, 0, false},
		{Config{MaxConn: 7}, 0, 7, false},
		{Config{}, 1024, 412, false},
		{Config{}, 1 << 20, 100_000, false},
		{many, 20_000, 3000, false},
		{many, 12_000, 0, true},
	} {
		got, err := budget(test.want, test.limit)
		if got != test.got || (err != nil) != test.err {
			t.Errorf("budget(limit %d) = %d, %v; want %d", test.limit, got, err, test.got)
		}
	}
}

// fleet is n backends of m servers.
func fleet(n, m int) Config {
	c := Config{Frontends: []Frontend{{Name: "f", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:80")}}}}
	for i := range n {
		name := fmt.Sprintf("be%05d", i)
		b := &Backend{Name: name, Mode: HTTP}
		for j := range m {
			b.Servers = append(b.Servers, ready(fmt.Sprintf("s%03d", j), fmt.Sprintf("10.77.%d.%d:%d", i%256, j%256, 1000+i)))
		}
		c.Backends = append(c.Backends, b)
		c.Frontends[0].Routes = append(c.Frontends[0].Routes, Route{Host: name + ".example.net", Path: "/", Backend: name})
	}
	return c
}

func BenchmarkRender1000x10(b *testing.B) {
	want := fleet(1000, 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Render(want, Paths{Dir: "/run/vipilot/haproxy"}); err != nil {
			b.Fatal(err)
		}
	}
}

// An old worker may live as long as the most patient service is, an hour at least.
func TestHardStop(t *testing.T) {
	for _, test := range []struct {
		paths  Paths
		tunnel time.Duration
		want   string
	}{{Paths{}, 0, "3600000ms"}, {Paths{}, time.Minute, "3600000ms"}, {Paths{}, 8 * time.Hour, "28800000ms"}, {Paths{HardStop: time.Minute}, 8 * time.Hour, "60000ms"}} {
		want := base()
		want.Backends[1].Tunnel = test.tunnel
		files, err := Render(want, test.paths)
		if err != nil || !strings.Contains(string(files[ConfigFile]), "hard-stop-after "+test.want+"\n") {
			t.Errorf("%+v: %v, want %s in\n%.400s", test, err, test.want, files[ConfigFile])
		}
	}
}
