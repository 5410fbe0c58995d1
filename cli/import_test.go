package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
)

// runImport runs an import and gives the exit code and what it said.
func runImport(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, said bytes.Buffer
	code = Run(context.Background(), Program{Version: "test", Args: append([]string{"import"}, args...), Stdout: &out, Stderr: &said, Getenv: func(string) string { return "" }})
	return code, out.String(), said.String()
}

// TestImport imports every fixture; what is written loads, and again byte by byte.
func TestImport(t *testing.T) {
	testdata, err := filepath.Abs("../importer/testdata")
	if err != nil {
		t.Fatal(err)
	}
	nodes := []string{"--node", "lb1=10.77.0.21", "--node", "lb2=10.77.0.22"}
	in := func(name string) string { return filepath.Join(testdata, name) }
	for name, args := range map[string][]string{
		"pair":    {"haproxy", "--haproxy", in("pair.cfg"), "--keepalived", in("lb1.conf"), "--keepalived", in("lb2.conf")},
		"sni":     {"haproxy", "--haproxy", in("sni.cfg")},
		"traefik": {"traefik", "--inspect", in("traefik.json")},
		"nginx":   {"nginx-proxy", "--inspect", in("nginx.json")},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "fleet")
			args := append(append(args, nodes...), "-o", dir)
			code, _, said := runImport(t, args...)
			if code != exitOK {
				t.Fatalf("exit %d: %s", code, said)
			}
			first, err := config.Load(config.Dir(dir))
			if err != nil {
				t.Fatal(err)
			}
			if vip, ok := first.VIP("vi_intra"); name == "pair" && (!ok || vip.VRRP.GARP != (config.GARP{Delay: 5 * time.Second, Repeat: 2})) {
				t.Errorf("gratuitous ARP: %+v", vip.VRRP.GARP)
			}
			if code, _, said := runImport(t, args...); code != exitFailed || !strings.Contains(said, "--force") {
				t.Errorf("over files that are there: exit %d: %s", code, said)
			}
			if code, _, said := runImport(t, append(args, "--force")...); code != exitOK {
				t.Errorf("--force: exit %d: %s", code, said)
			}
			if second, err := config.Load(config.Dir(dir)); err != nil || second.Revision != first.Revision {
				t.Errorf("the second import differs: %v", err)
			}
		})
	}
}

// TestImportClosed: a protection that is lost closes the service.
func TestImportClosed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fleet")
	if code, _, said := runImport(t, "traefik", "--inspect", "../importer/testdata/traefik.json", "--node", "home=10.77.0.5", "-o", dir); code != exitOK || !strings.Contains(said, "forwardauth") {
		t.Fatalf("exit %d: %s", code, said)
	}
	cfg, err := config.Load(config.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cfg.Services {
		if closed := s.HTTP != nil && len(s.HTTP.Allow) == 1 && s.HTTP.Allow[0].String() == "127.0.0.0/8"; closed != (s.Name == "api") {
			t.Errorf("service %s: closed is %v", s.Name, closed)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "secrets/auth")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secrets/auth: %v, %v", info, err)
	}
}

// fence is a code block with the name of a file, or a command.
var fence = regexp.MustCompile("(?ms)^```(?:[a-z]+ )?(file|run|gives)(?: ([a-z0-9./-]+))?\n(.*?)^```$")

// TestMovingIn does what docs/moving-in.md shows.
func TestMovingIn(t *testing.T) {
	doc, err := os.ReadFile("../docs/moving-in.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	ran, said := 0, ""
	for _, block := range fence.FindAllStringSubmatch(string(doc), -1) {
		kind, name, text := block[1], block[2], block[3]
		switch {
		case kind == "file":
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		case kind == "run":
			args := strings.Fields(strings.ReplaceAll(text, "\\\n", " "))
			code := 0
			if code, _, said = runImport(t, args[2:]...); code != exitOK {
				t.Fatalf("%s: exit %d: %s", text, code, said)
			}
			ran++
		case name == "stderr":
			if !strings.HasPrefix(said, text) {
				t.Errorf("said\n%s\nwant\n%s", said, text)
			}
		default:
			if got, err := os.ReadFile(name); err != nil || !strings.Contains(string(got), text) {
				t.Errorf("%s (%v):\n%s\nwant within\n%s", name, err, got, text)
			}
		}
	}
	if ran < 3 {
		t.Fatalf("%d commands were run, want 3", ran)
	}
}
