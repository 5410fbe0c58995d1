package importer_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/vipilot/vipilot/importer"
)

var options = importer.Options{Nodes: []importer.Node{{Name: "lb1", Address: netip.MustParseAddr("10.77.0.21")}, {Name: "lb2", Address: netip.MustParseAddr("10.77.0.22")}}}

// seeds adds the files of testdata that match.
func seeds(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob("testdata/" + pattern)
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds %s: %v", pattern, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
}

// holds wants files that are YAML, and remarks of one line each: whatever the
// old configuration says, it stays a value or a comment.
func holds(t *testing.T, repo *importer.Repository, err error) {
	t.Helper()
	if err != nil {
		return
	}
	files, err := repo.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fleet.yaml", "services.yaml"} {
		var top map[string]any
		if err := yaml.Unmarshal(files[name], &top); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, files[name])
		}
		for key := range top {
			if !strings.Contains(" version nodes hosts vips acme services ", " "+key+" ") {
				t.Fatalf("%s has the section %q\n%s", name, key, files[name])
			}
		}
	}
	for name := range files {
		if !filepath.IsLocal(name) || filepath.Clean(name) != name {
			t.Fatalf("a file named %q", name)
		}
	}
	for _, r := range repo.Left() {
		if strings.ContainsAny(r.String(), "\n\r\x1b") || r.Place == "" || r.Reason == "" {
			t.Fatalf("remark %q", r)
		}
	}
}

func FuzzHAProxy(f *testing.F) {
	seeds(f, "*.cfg")
	f.Add("backend b\n stick 00\n server s 10.0.0.1:80\n")
	f.Add("listen x\n bind :1\n server a 1.1.1.1:1 # }\n")
	f.Fuzz(func(t *testing.T, text string) {
		repo, err := importer.HAProxy(importer.Source{Name: "haproxy.cfg", Text: []byte(text)}, nil, options)
		holds(t, repo, err)
	})
}

func FuzzKeepalived(f *testing.F) {
	seeds(f, "*.conf")
	f.Add("vrrp_instance a {\nvirtual_ipaddress { 10.0.0.1 } }")
	cfg := importer.Source{Name: "haproxy.cfg", Text: []byte("frontend f\n bind :80\n mode http\n default_backend b\nbackend b\n server s 10.0.0.1:80\n")}
	f.Fuzz(func(t *testing.T, text string) {
		repo, err := importer.HAProxy(cfg, []importer.Source{{Name: "a.conf", Text: []byte(text)}, {Name: "b.conf", Text: []byte(text)}}, options)
		holds(t, repo, err)
	})
}

// FuzzRule goes through a whole container, whose name and other labels are hostile too.
func FuzzRule(f *testing.F) {
	f.Add("Host(`a.example.net`) && (PathPrefix(`/x`) || Method(`GET`))", "web", "8080", "10.0.0.0/8")
	f.Add("HostRegexp(`{sub:[a-z]+}.example.net`) || Headers(\"X-A\", 'b')", "a\nb: c", "0", "")
	f.Add(strings.Repeat("(", 100), "x", "", "")
	f.Add(strings.Repeat("!", 100_000), "x", "", "")
	f.Fuzz(func(t *testing.T, rule, name, port, networks string) {
		c := importer.Container{Name: name, Labels: map[string]string{
			"traefik.http.routers.r.rule": rule, "traefik.http.routers.r.entrypoints": "web", "traefik.http.routers.r.middlewares": "m",
			"traefik.tcp.routers.r.rule": rule, "traefik.http.middlewares.m.ipallowlist.sourcerange": networks,
			"traefik.http.middlewares.m.headers.customrequestheaders." + name: networks,
			"traefik.http.middlewares." + name + ".basicauth.users":           networks,
			"traefik.http.services.s.loadbalancer.server.port":                port,
		}}
		repo, err := importer.Traefik([]importer.Container{c}, options)
		holds(t, repo, err)
	})
}

func FuzzVirtualHost(f *testing.F) {
	f.Add("a.example.net,*.b.example.net", "8080", "/x", "/", "a.example.net", "a:\n  /: {port: 1}\n")
	f.Add("~^x", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, hosts, port, path, dest, secure, multi string) {
		env := map[string]string{"VIRTUAL_HOST": hosts, "VIRTUAL_PORT": port, "VIRTUAL_PATH": path, "VIRTUAL_DEST": dest, "LETSENCRYPT_HOST": secure, "HSTS": dest}
		repo, err := importer.NginxProxy([]importer.Container{{Name: path, Env: env}, {Name: "m", Env: map[string]string{"VIRTUAL_HOST_MULTIPORTS": multi}}}, options)
		holds(t, repo, err)
	})
}

func FuzzReadInspect(f *testing.F) {
	seeds(f, "*.json")
	f.Fuzz(func(t *testing.T, text string) {
		containers, err := importer.ReadInspect(strings.NewReader(text))
		if err == nil {
			for _, c := range containers {
				if c.Name == "" {
					t.Fatal(errors.New("a container without a name"))
				}
			}
		}
	})
}
