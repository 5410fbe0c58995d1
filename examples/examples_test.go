// Package examples holds complete configurations, one or two for each situation
// that vipilot is made for; every one is tried here.
package examples

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/cli"
	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/internal/golden"
)

// situations are the directories of each, with the how-to that goes through it.
var situations = []struct {
	howto string
	dirs  []string
}{
	{"home", []string{"home"}},
	{"stages", []string{"stages"}},
	{"pair", []string{"pair"}},
	{"tier", []string{"tier"}},
	{"ospf", []string{"ospf"}},
	{"bgp", []string{"bgp", "anycast"}},
	{"swarm", []string{"swarm"}},
	{"weave", []string{"weave"}},
	{"wire", []string{"wire"}},
	{"private", []string{"private"}},
	{"sites", []string{"sites/berlin", "sites/hamburg"}},
}

func examples() (dirs []string) {
	for _, s := range situations {
		dirs = append(dirs, s.dirs...)
	}
	return dirs
}

// vipilot runs a command as a user would.
func vipilot(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), cli.Program{Version: "test", Args: args, Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }})
	if code != 0 {
		t.Fatalf("vipilot %s: exit code %d\n%s%s", strings.Join(args, " "), code, &out, &errs)
	}
	return out.String()
}

// TestAllAreTried finds an example that nobody tries, and one that no how-to goes through.
func TestAllAreTried(t *testing.T) {
	found := make(map[string]bool)
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(name) == ".yaml" {
			found[filepath.ToSlash(filepath.Dir(name))] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want, got := slices.Sorted(slices.Values(examples())), slices.Sorted(maps.Keys(found)); !slices.Equal(want, got) {
		t.Errorf("examples %v, tried are %v", got, want)
	}
	for _, s := range situations {
		text, err := os.ReadFile("../docs/howto/" + s.howto + ".md")
		if err != nil {
			t.Error(err)
		}
		for _, dir := range s.dirs {
			if !strings.Contains(string(text), "examples/"+dir) {
				t.Errorf("docs/howto/%s.md does not name examples/%s", s.howto, dir)
			}
		}
	}
}

// TestValid wants no fault and no warning. The parsers of the daemons have
// their say where they are installed, and must be when VIPILOT_E2E is set.
func TestValid(t *testing.T) {
	for _, dir := range examples() {
		t.Run(dir, func(t *testing.T) {
			var verdict struct {
				Daemons []struct{ Node, Host, Daemon, Error, Skipped string }
			}
			if err := json.Unmarshal([]byte(vipilot(t, "validate", dir, "--strict", "--format", "json")), &verdict); err != nil {
				t.Fatal(err)
			}
			asked := 0
			for _, d := range verdict.Daemons {
				if d.Skipped != "" && os.Getenv("VIPILOT_E2E") == "1" {
					t.Errorf("%s was not asked: %s", d.Daemon, d.Skipped)
				}
				if d.Skipped == "" {
					asked++
				}
			}
			if os.Getenv("VIPILOT_E2E") == "1" && asked == 0 {
				t.Error("no daemon was asked")
			}
		})
	}
}

// TestWhatTheySay compares what simulate foresees, and what each node would
// run as far as it is the example's own.
func TestWhatTheySay(t *testing.T) {
	for _, dir := range examples() {
		t.Run(dir, func(t *testing.T) {
			cfg, err := config.Load(config.Dir(dir))
			if err != nil {
				t.Fatal(err)
			}
			endpoints := filepath.Join(dir, "endpoints.json")
			var b bytes.Buffer
			fmt.Fprintf(&b, "-- simulate --all --\n%s", vipilot(t, "simulate", dir, "--all", "--endpoints", endpoints))
			var first string
			for i, node := range cfg.Nodes {
				fmt.Fprintf(&b, "-- render --node %s --\n", node.Name)
				said := rendered(t, dir, node.Name, endpoints)
				if i == 0 {
					b.WriteString(said)
					first = said
				} else {
					b.WriteString("# what is not as on " + cfg.Nodes[0].Name + "\n" + otherLines(first, said))
				}
			}
			golden.Equal(t, filepath.Join("testdata", strings.ReplaceAll(dir, "/", "-")+".txt"), b.Bytes())
		})
	}
}

// otherLines are the lines of said that first has not.
func otherLines(first, said string) string {
	var b strings.Builder
	known := slices.Collect(strings.Lines(first))
	for line := range strings.Lines(said) {
		if i := slices.Index(known, line); i >= 0 {
			known = slices.Delete(known, i, i+1)
		} else {
			b.WriteString(line)
		}
	}
	return b.String()
}

// rendered are the files of a node, as far as they are the example's own.
func rendered(t *testing.T, dir, node, endpoints string) string {
	t.Helper()
	out := t.TempDir()
	vipilot(t, "render", dir, "--node", node, "--endpoints", endpoints, "-o", out)
	var b strings.Builder
	err := fs.WalkDir(os.DirFS(out), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			return err
		}
		switch {
		case name == "haproxy.cfg":
			data = only(data, "frontend", "backend", "bind", "balance", "server", "default_backend", "http-check", "cookie")
		case name == "keepalived.conf":
			data = only(data, "vrrp_instance", "virtual_router_id", "priority", "advert_int", "unicast_peer", "[0-9a-f.:]+/[0-9]+")
		case path.Ext(name) == ".pem" || name == "maps/closing.map":
			return nil // a stand-in made anew every time; the same everywhere
		}
		fmt.Fprintf(&b, "# %s\n%s\n", name, bytes.TrimRight(data, "\n"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// cipherList is HAProxy's room's business.
var cipherList = regexp.MustCompile(` (ssl-min-ver|ciphers|ciphersuites|curves) \S+| prefer-client-ciphers| no-tls-tickets`)

// only leaves of a file its lines that begin with one of the words.
func only(file []byte, words ...string) []byte {
	begins := regexp.MustCompile(`^\s*(` + strings.Join(words, "|") + `)(\s|$)`)
	var b bytes.Buffer
	for line := range bytes.Lines(file) {
		if begins.Match(line) {
			b.Write(cipherList.ReplaceAll(line, nil))
		}
	}
	return b.Bytes()
}

// TestSitesSayTheSame is what the repository's CI would hold: both sites
// declare the same services and guard.
func TestSitesSayTheSame(t *testing.T) {
	for _, name := range []string{"services.yaml", "guard.yaml"} {
		berlin, err1 := os.ReadFile("sites/berlin/" + name)
		hamburg, err2 := os.ReadFile("sites/hamburg/" + name)
		if err1 != nil || err2 != nil || !bytes.Equal(berlin, hamburg) {
			t.Errorf("%s differs between the sites (%v, %v)", name, err1, err2)
		}
	}
}
