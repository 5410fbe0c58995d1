package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/internal/golden"
)

// TestMistakes loads one file a mistake and compares every fault, word for word.
func TestMistakes(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.bad.yaml")
	if len(files) < 60 {
		t.Fatalf("%d files, there should be more", len(files))
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".bad.yaml"), func(t *testing.T) {
			cfg, err := config.Load(testdata(t, name))
			faults := wantFaults(t, err)
			if cfg != nil {
				t.Error("a Config came with the faults")
			}
			golden.Equal(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(faults.Error()+"\n"))
		})
	}
}

// TestSameEveryTime loads everything often: neither faults nor Configs may
// depend on the order in which Go walks a map.
func TestSameEveryTime(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		tree := testdata(t, filepath.Base(file))
		cfg, err := config.Load(tree)
		for range 10 {
			again, errAgain := config.Load(tree)
			if !reflect.DeepEqual(cfg, again) || !reflect.DeepEqual(err, errAgain) {
				t.Errorf("%s: another result:\n%v\n%v", file, err, errAgain)
			}
		}
	}
}

// wantFaults fails unless err is a list of faults, each with its place and in order.
func wantFaults(t testing.TB, err error) config.Faults {
	t.Helper()
	var faults config.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("got error %v, want faults", err)
	}
	for i, f := range faults {
		if f.Pos.File == "" || f.Pos.Line < 1 || f.Pos.Column < 1 || f.Problem == "" {
			t.Errorf("fault without a place: %#v", f)
		}
		if i > 0 && f.Pos.File == faults[i-1].Pos.File && f.Pos.Line < faults[i-1].Pos.Line {
			t.Errorf("%s comes after %s", f, faults[i-1])
		}
	}
	return faults
}

// TestGood compares what each good file becomes, and that its own files give it again.
func TestGood(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.good.yaml")
	if len(files) == 0 {
		t.Fatal("no good file")
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".good.yaml"), func(t *testing.T) {
			cfg, err := config.Load(testdata(t, name))
			if err != nil {
				t.Fatal(err)
			}
			again, err := config.Load(cfg.Files)
			if err != nil {
				t.Fatalf("load from Config.Files: %v", err)
			}
			if !reflect.DeepEqual(cfg, again) {
				t.Errorf("loaded from Config.Files it differs:\n%s", cmp.Diff(show(cfg), show(again)))
			}
			golden.Equal(t, strings.TrimSuffix(file, ".yaml")+".json", []byte(show(cfg)))
		})
	}
}

var pemInBase64 = regexp.MustCompile(`"LS0tLS1CRUdJ[^"]*"`)

// show gives a Config without what differs from run to run: the fixtures'
// keys, and with them the revision.
func show(cfg *config.Config) string {
	shown := *cfg
	shown.Files, shown.Revision = nil, ""
	for i := range shown.Hosts {
		if shown.Hosts[i].TLS != nil {
			shown.Hosts = slices.Clone(shown.Hosts)
			shown.Hosts[i].TLS = &config.ClientTLS{Key: shown.Hosts[i].TLS.Key}
		}
	}
	data, _ := json.MarshalIndent(shown, "", "  ")
	return pemInBase64.ReplaceAllString(string(data), `"PEM"`) + "\n"
}

func TestMergeAcrossFiles(t *testing.T) {
	tree := with(
		"a.yaml", "version: 1\nnodes: {zeta: {address: 10.77.0.22, interface: eth0}}\n",
		"b/c.yml", "nodes: {alpha: {address: 10.77.0.21, interface: eth0}}\nvips: {public: {addresses: [203.0.113.10], vrrp: {advert_interval: 1s, password_file: pw}}}\n",
		"b/pw", "hunter2\n",
		".hidden.yaml", "version: 9\n", "b/.git/x.yaml", "version: 9\n", "notes.txt", "not YAML: [",
	)
	cfg, err := config.Load(tree)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.VIPs[0].Nodes, []string{"zeta", "alpha"}; !slices.Equal(got, want) {
		t.Errorf("nodes %v, want the order of declaration %v", got, want)
	}
	if got := cfg.VIPs[0].VRRP.Password.Reveal(); got != "hunter2" {
		t.Errorf("password %q: not read from beside the file that names it", got)
	}
	if want := (config.Pos{File: "b/c.yml", Line: 2, Column: 8}); cfg.VIPs[0].Pos != want {
		t.Errorf("VIP at %s, want %s", cfg.VIPs[0].Pos, want)
	}
	if _, ok := cfg.Files["b/pw"]; !ok || len(cfg.Files) != 3 {
		t.Errorf("files %v, want the three that were read", len(cfg.Files))
	}
}

func TestSameNameInTwoFiles(t *testing.T) {
	_, err := config.Load(config.Tree{
		"a.yaml": []byte("version: 1\nnodes:\n  lb1: {address: 10.77.0.21}\n"),
		"b.yaml": []byte("nodes:\n  lb1: {address: 10.77.0.22}\nrouting: {bgp: {asn: 1}}\n"),
		"c.yaml": []byte("routing: {bgp: {asn: 1}}\n"),
	})
	want := "b.yaml:2:3: nodes.lb1: \"lb1\" is declared twice, first at a.yaml:3:3\n" +
		"c.yaml:1:11: routing.bgp: \"bgp\" is declared twice, first at b.yaml:3:11"
	if got := wantFaults(t, err).Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWarnings(t *testing.T) {
	cfg, err := config.LoadOver(with("v.yaml", `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
hosts: {app1: {docker: "tcp://10.77.0.11:2375"}}
vips: {public: {addresses: [203.0.113.10], vrrp: {password_file: secrets/vrrp}}, slow: {addresses: [203.0.113.12], vrrp: {advert_interval: 1s, password_file: secrets/vrrp}}}
services:
  todo: {vip: public, http: {hosts: [todo.example.net], tls: {certificate_file: certs/expired.pem}}}
  blog: {vip: public, http: {hosts: [other.example.net], tls: {certificate_file: certs/other.pem}}, backend: {servers: [10.77.0.40:80]}}
  shop: {vip: public, http: {hosts: [shop.example.net]}, backend: {servers: [10.77.0.40:80]}}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.Warnings.Error()
	for _, want := range []string{
		"v.yaml:3:24: hosts.app1.docker: tcp without tls",
		"v.yaml:4:66: vips.public.vrrp.password_file: a password needs VRRPv2",
		"vips.slow.vrrp.password_file: VRRPv2 sends the password in the clear",
		"services.todo.http.tls.certificate_file: the certificate expired on",
		`services.shop.backend.servers[0]: 10.77.0.40:80 serves "blog" as well`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning %q in\n%s", want, got)
		}
	}
}

// A canary is of use only if the others wait until it cannot go back any more.
func TestCanaryWarnings(t *testing.T) {
	for guard, want := range map[string]string{
		"{}":                      "",
		"{soak: 10s}":             "",
		"{soak: 9s}":              "v.yaml:2:61: nodes.lb1.canary: guard.soak (9s) is shorter than guard.settle (10s): the other nodes may take a revision that it is about to take back; set guard.soak to at least guard.settle",
		"{soak: 0s}":              "v.yaml:2:61: nodes.lb1.canary: the other nodes do not wait for it: guard.soak is 0s; set guard.soak to how long it has to be well with a revision",
		"{soak: 0s, settle: 0s}":  "v.yaml:2:61: nodes.lb1.canary: the other nodes do not wait for it: guard.soak is 0s; set guard.soak to how long it has to be well with a revision",
		"{soak: 1ms, settle: 0s}": "",
	} {
		cfg, err := config.Load(config.Tree{"v.yaml": []byte("version: 1\nnodes: {lb1: {address: 10.77.0.21, interface: eth0, canary: true}, lb2: {address: 10.77.0.22, interface: eth0}}\nguard: " + guard + "\n")})
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.Warnings.Error(); got != want {
			t.Errorf("guard: %s: warned %q, want %q", guard, got, want)
		}
	}
}

func TestRevision(t *testing.T) {
	text := "version: 1\nnodes: {lb1: {address: 10.77.0.21, interface: eth0}}\nvips: {v: {addresses: [203.0.113.10], vrrp: {advert_interval: 1s, password_file: secrets/vrrp}}}\n"
	tree := with("v.yaml", text)
	one, err := config.Load(tree)
	if err != nil {
		t.Fatal(err)
	}
	tree["unread"] = []byte("x")
	if same, _ := config.Load(tree); same.Revision != one.Revision || len(one.Revision) != 12 {
		t.Errorf("revision %q, then %q with a file that nobody reads", one.Revision, same.Revision)
	}
	tree["secrets/vrrp"] = []byte("other")
	if other, _ := config.Load(tree); other.Revision == one.Revision {
		t.Error("another password, the same revision")
	}
}

func TestSecretsStayHidden(t *testing.T) {
	cfg, err := config.Load(testdata(t, "contract.good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Files = nil
	encoded, _ := json.Marshal(cfg)
	for _, text := range []string{fmt.Sprintf("%+v", *cfg), fmt.Sprintf("%#v", *cfg), string(encoded)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the password is in %s", text)
		}
	}
}

func TestNothingToRead(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, err := config.Load(config.Dir(missing))
	var faults config.Faults
	if err == nil || errors.As(err, &faults) || !strings.Contains(err.Error(), missing) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	empty := t.TempDir()
	_, err = config.Load(config.Dir(empty))
	if got := wantFaults(t, err).Error(); !strings.Contains(got, empty) || !strings.Contains(got, "no configuration") {
		t.Errorf("empty directory: %v", got)
	}
}

// TestBombs wants a fault, soon, of input that is made to grow.
func TestBombs(t *testing.T) {
	var wide strings.Builder
	wide.WriteString("version: 1\nnodes:\n  a: &a {")
	for i := range 2000 {
		fmt.Fprintf(&wide, "k%d: 1, ", i)
	}
	wide.WriteString("}\n")
	for i := range 20000 {
		fmt.Fprintf(&wide, "  n%d: *a\n", i)
	}
	for name, tree := range map[string]config.Tree{
		"large file": {"a.yaml": make([]byte, config.MaxFileSize+1)},
		"wide":       {"a.yaml": []byte(wide.String())},
		"cycle":      {"a.yaml": []byte("version: 1\nnodes: &a {x: *a}\nvips: &b [*b]\n")},
		"deep":       {"a.yaml": []byte("version: 1\nnodes: " + strings.Repeat("[", 9000))},
		"laughs": {"a.yaml": []byte("version: 1\nhosts: {a: &a [x,x,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]}\n" +
			"vips: {v: {addresses: *c}}\n")},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := config.Load(tree)
			wantFaults(t, err)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestFaultJSON(t *testing.T) {
	fault := config.Fault{Pos: config.Pos{File: "a.yaml", Line: 2, Column: 3}, Path: "nodes.lb1", Problem: "p", Hint: "h"}
	data, err := json.Marshal(config.Faults{fault})
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"file":"a.yaml","line":2,"column":3,"path":"nodes.lb1","problem":"p","hint":"h"}]`; string(data) != want {
		t.Errorf("got %s, want %s", data, want)
	}
	var back config.Faults
	if err := json.Unmarshal(data, &back); err != nil || !slices.Equal(back, config.Faults{fault}) {
		t.Errorf("read back: %v, %v", back, err)
	}
}

func TestLookups(t *testing.T) {
	cfg, err := config.Load(testdata(t, "everything.good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	node, ok := cfg.Node("lb1")
	if !ok || node.Address != netip.MustParseAddr("10.77.0.21") {
		t.Errorf("Node: %v %v", node, ok)
	}
	if _, ok := cfg.Service("nobody"); ok {
		t.Error("Service found nobody")
	}
	names := func(n config.Node) (out []string) {
		for _, p := range cfg.PeersOf(n) {
			out = append(out, p.Name)
		}
		return out
	}
	if got := names(node); !slices.Equal(got, []string{"edge", "west"}) {
		t.Errorf("all peers: %v", got)
	}
	node.Peers = []string{"west"}
	if got := names(node); !slices.Equal(got, []string{"west"}) {
		t.Errorf("one peer: %v", got)
	}
	node.Peers = []string{}
	if got := names(node); got != nil {
		t.Errorf("no peers: %v", got)
	}
}
