package cli

import (
	"bytes"
	"crypto/rand"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/internal/planted"
)

// vault is a configuration that has every secret there can be in files.
const vault = `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}, lb2: {address: 10.77.0.22, interface: eth0}}
hosts:
  app1: {docker: "tcp://10.77.0.11:2376", tls: {ca_file: docker/ca.pem, cert_file: docker/cert.pem, key_file: docker/key.pem}}
vips:
  public:
    addresses: [203.0.113.10]
    vrrp: {password_file: secrets/vrrp, advert_interval: 1s}
    announce: {protocols: [bgp, ospf], when: proxy}
services:
  shop:
    vip: public
    http:
      hosts: [shop.example.net]
      tls: {certificate_file: certs/shop.pem, redirect: true, client_ca_file: docker/ca.pem}
      basic_auth: {users_file: secrets/users}
    backend:
      servers: [10.77.0.40:443]
      tls: {ca_file: docker/ca.pem, cert_file: certs/client.pem, key_file: certs/client.key, server_name: inner.example.net}
  wiki: {vip: public, http: {hosts: [wiki.example.net], tls: {certificates_dir: certs/more}}, backend: {servers: [10.77.0.41:80]}}
routing:
  bgp: {asn: 65010, speaker: frr, peers: {edge: {address: 10.77.0.1, asn: 65000, password_file: secrets/bgp}}}
  ospf: {area: 0.0.0.0, interfaces: [eth0], password_file: secrets/ospf}
`

// fillVault writes the configuration with secrets of its own.
func fillVault(t *testing.T, s *planted.Secrets) map[string]string {
	t.Helper()
	pair := func(what string, names ...string) (string, string) {
		chain, key, err := s.Pair(what, names...)
		if err != nil {
			t.Fatal(err)
		}
		return string(chain), string(key)
	}
	shop, shopKey := pair("key of a site", "shop.example.net")
	wiki, wikiKey := pair("key of a directory", "wiki.example.net")
	client, clientKey := pair("key shown to servers", "lb.example.net")
	docker, dockerKey := pair("key for Docker", "vipilot")
	text := func(what string, n int) string {
		return s.Plant(what, (rand.Text() + rand.Text() + rand.Text() + rand.Text())[:n])
	}
	hash := text("htpasswd hash", 86)
	return map[string]string{
		"fleet.yaml": vault, "secrets/vrrp": text("VRRP password", 8) + "\n", "secrets/bgp": text("BGP password", 30) + "\n", "secrets/ospf": text("OSPF password", 14) + "\n",
		"secrets/users": "ann:$6$abcdefgh$" + hash + "\n", "certs/shop.pem": shop + shopKey, "certs/more/wiki.pem": wiki + wikiKey,
		"certs/client.pem": client, "certs/client.key": clientKey, "docker/ca.pem": docker, "docker/cert.pem": docker, "docker/key.pem": dockerKey,
	}
}

func lay(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// patience is what tests have for an answer that has to come.
const patience = time.Minute

// said is all that a command prints, and its exit code.
func said(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	code := Run(t.Context(), Program{Version: "test", Args: args, Stdout: &out, Stderr: &out, Getenv: environment(nil), Patience: patience})
	return out.String(), code
}

// No command prints a secret of the configuration, whole or changed. Only the
// files that `render` writes for daemons hold those that the daemons need.
func TestCommandsKeepSecrets(t *testing.T) {
	var s planted.Secrets
	before, after := fillVault(t, &s), fillVault(t, &s)
	bare := map[string]string{"fleet.yaml": "version: 1\nnodes: {lb1: {address: 10.77.0.21, interface: eth0}, lb2: {address: 10.77.0.22, interface: eth0}}\n"}
	old, fresh, none := lay(t, before), lay(t, after), lay(t, bare)
	rendered := t.TempDir()
	for _, command := range [][]string{
		{"validate", "--no-daemons", fresh}, {"validate", "--no-daemons", "--format", "json", fresh}, {"validate", "--no-daemons", "--format", "github", fresh},
		{"validate", "--no-daemons", "--format", "sarif", fresh}, {"render", fresh, "--node", "lb1", "-o", rendered},
		{"plan", fresh, "--base", old, "--diff"}, {"plan", fresh, "--base", old, "--diff", "--markdown"}, {"plan", fresh, "--base", old, "--diff", "--json"},
		{"plan", fresh, "--base", none, "--diff"}, {"plan", none, "--base", old, "--diff", "--json"},
		{"simulate", fresh, "--all"}, {"simulate", fresh, "--fail", "lb1", "--json"},
	} {
		out, code := said(t, command...)
		if code != exitOK {
			t.Fatalf("%q: exit code %d\n%s", command, code, out)
		}
		if slices.Contains(command, "--diff") && !slices.Contains(command, "--json") && !strings.Contains(out, "***") && !strings.Contains(out, "only a secret in it changed") {
			t.Errorf("%q shows no file with a secret, so it proves nothing:\n%s", command, out)
		}
		for _, leak := range s.In(out) {
			t.Errorf("%q prints the %s", command, leak)
		}
	}
	wantOnlyIn(t, &s, rendered, "certs/", "haproxy.cfg", "keepalived.conf", "frr.conf")
}

// wantOnlyIn looks into every file below dir: secrets are in those for the
// daemons alone, which nobody but their owner can read.
func wantOnlyIn(t *testing.T, s *planted.Secrets, dir string, allowed ...string) {
	t.Helper()
	held := make(map[string]bool)
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil || len(s.In(string(data))) == 0 {
			return err
		}
		relative, _ := filepath.Rel(dir, name)
		i := slices.IndexFunc(allowed, func(a string) bool {
			return relative == a || strings.HasSuffix(a, "/") && strings.HasPrefix(relative, a)
		})
		if i < 0 {
			t.Errorf("%s holds %q", relative, s.In(string(data)))
			return nil
		}
		held[allowed[i]] = true
		info, err := entry.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %s", relative, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range allowed {
		if !held[a] {
			t.Errorf("%s holds no secret: the test is wrong, or the daemon lacks it", a)
		}
	}
}

// spoiled are the ways in which a file with a secret goes wrong.
var spoiled = map[string]func(text, other string) string{
	"cut off":         func(text, _ string) string { return text[:len(text)*2/3] },
	"twice":           func(text, _ string) string { return text + text },
	"words before it": func(text, _ string) string { return "password = " + text },
	"a NUL in it":     func(text, _ string) string { return text[:4] + "\x00" + text[4:] },
	"another secret":  func(_, other string) string { return other },
	"upside down": func(text, _ string) string {
		lines := strings.Split(text, "\n")
		slices.Reverse(lines)
		return strings.Join(lines, "\n")
	},
}

// Nor does a fault show a secret, whatever is wrong with its file.
func TestFaultsKeepSecrets(t *testing.T) {
	var s planted.Secrets
	files := fillVault(t, &s)
	dir := lay(t, files)
	if out, code := said(t, "validate", "--no-daemons", dir); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	refused := 0
	try := func(what, name, text string) {
		t.Helper()
		target := filepath.Join(dir, name)
		if err := os.WriteFile(target, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range [][]string{
			{"validate", "--no-daemons", dir}, {"validate", "--no-daemons", "--format", "json", dir}, {"validate", "--no-daemons", "--format", "sarif", dir},
			{"validate", "--no-daemons", "--format", "github", dir}, {"simulate", dir, "--all"},
		} {
			out, code := said(t, command...)
			if code == exitInvalid {
				refused++
			}
			for _, leak := range s.In(out) {
				t.Errorf("%s, %s: %q prints the %s", name, what, command, leak)
			}
		}
		if original, ok := files[name]; ok {
			text = original
		} else {
			text = ""
		}
		if err := os.WriteFile(target, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name == "fleet.yaml" {
			continue
		}
		for what, spoil := range spoiled {
			try(what, name, spoil(files[name], files["secrets/users"]))
		}
	}
	for _, wrong := range []string{"password_file: secrets/bgp", "password_file: secrets/ospf", "password_file: secrets/vrrp"} {
		inline := s.Plant("password written inline", "correct-horse-"+wrong[len(wrong)-4:])
		try("inline", "fleet.yaml", strings.Replace(vault, wrong, "password: "+inline, 1))
	}
	try("a password in the URL", "fleet.yaml", strings.Replace(vault, "tcp://10.77.0.11:2376", "tcp://ann:"+s.Plant("password in a URL", "battery-staple")+"@10.77.0.11:2376", 1))
	try("a password in the status URL", "fleet.yaml", strings.Replace(vault, "10.77.0.21, interface: eth0", `10.77.0.21, interface: eth0, status: "http://ann:battery-staple@10.77.0.21:9890"`, 1))
	try("a password in the ACME URL", "fleet.yaml", vault+`acme: {ca: {directory: "https://ann:battery-staple@10.77.0.9/dir", email: ops@example.net}}`)
	if refused < 100 {
		t.Errorf("only %d refusals: the faults are none", refused)
	}
}

// Nor does a file that a flag names.
func TestFlagsKeepSecrets(t *testing.T) {
	var s planted.Secrets
	_, key, err := s.Pair("key of the listener", "lb1.example.net")
	if err != nil {
		t.Fatal(err)
	}
	token := s.Plant("token", "hunter2-and-more")
	dir := lay(t, map[string]string{"fleet/fleet.yaml": "version: 1\n", "token": token + "\n", "empty": "", "key.pem": string(key[:len(key)/2]), "cert.pem": token})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, command := range [][]string{
		{"run", "--config", at("fleet"), "--token-file", at("token"), "--tls-cert-file", at("cert.pem"), "--tls-key-file", at("key.pem")},
		{"run", "--config", at("fleet"), "--webhook-secret-file", at("empty"), "--token-file", at("token")},
		{"run", "--config", "git+https://ann:" + token + "@git.example.net/fleet.git"},
		{"validate", "git+https://ann:" + token + "@git.example.net/fleet.git"},
		{"validate", "git+ssh://git:" + token + "@git.example.net/fleet.git?ref=main"},
		{"run", "--config", at("fleet"), "--otlp-endpoint", "http://ann:" + token + "@10.77.0.5"},
		{"validate", "git+ssh://git@127.0.0.1:1/fleet.git", "--git-key-file", at("key.pem"), "--git-known-hosts-file", at("token")},
		{"validate", "git+https://127.0.0.1:1/fleet.git", "--git-token-file", at("token"), "--git-ca-file", at("cert.pem")},
		{"plan", at("fleet"), "--addr", "http://ann:" + token + "@127.0.0.1:1", "--token-file", at("token")},
		{"status", "--addr", "127.0.0.1:1", "--cert-file", at("cert.pem"), "--key-file", at("key.pem")},
		{"run", "--config", at("fleet"), "--host", "app1", "--docker", "tcp://ann:" + token + "@127.0.0.1:1"},
	} {
		out, code := said(t, command...)
		if code == exitOK {
			t.Errorf("%q went well:\n%s", command, out)
		}
		for _, leak := range s.In(out) {
			t.Errorf("%q prints the %s", command, leak)
		}
	}
}
