package config_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
)

// TestWatchHands changes one directory as the tools do that people change files
// with. Whatever came of the news on the way, the last of it is followed
// by a Load that sees the whole change.
func TestWatchHands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "conf")
	at := func(name string) string { return filepath.Join(dir, name) }
	text := func(n int) string {
		return "version: 1\nnodes: {lb1: {address: 10.77.0." + strconv.Itoa(n) + ", interface: eth0}}\n"
	}
	sh := func(script string) func(int) {
		return func(n int) {
			t.Helper()
			cmd := exec.Command("sh", "-ec", script)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "TEXT="+text(n), "N="+strconv.Itoa(n), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
				"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.net", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.net")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", script, err, out)
			}
		}
	}
	put(t, at("a.yaml"), text(1))
	ctx := t.Context()
	changed := make(chan struct{}, 1)
	go func() { _ = config.Watch(ctx, dir, changed) }()
	for i, c := range []struct {
		name string
		do   func(n int)
	}{
		{"vim with a backup by renaming", sh(`cp a.yaml 4913; rm 4913; mv a.yaml a.yaml~; printf %s "$TEXT" >a.yaml; rm a.yaml~`)},
		{"vim with a backup by copying", sh(`cp a.yaml a.yaml~; : >a.yaml; printf %s "$TEXT" >a.yaml; rm a.yaml~`)},
		{"emacs with its lock and backup", sh(`ln -s ann@host.1:2 '.#a.yaml'; mv a.yaml 'a.yaml~'; printf %s "$TEXT" >a.yaml; rm '.#a.yaml' 'a.yaml~'`)},
		{"nano in place, in two writes", sh(`: >a.yaml; printf %s "${TEXT%%nodes*}" >>a.yaml; printf %s "nodes${TEXT#*nodes}" >>a.yaml`)},
		{"sed -i", sh(`sed -i "s/10[.]77[.]0[.][0-9]*/10.77.0.$N/" a.yaml`)},
		{"rsync", sh(`printf %s "$TEXT" >.a.yaml.X8hQ2b; touch -r a.yaml .a.yaml.X8hQ2b; mv .a.yaml.X8hQ2b a.yaml`)},
		{"rsync --inplace that keeps times", sh(`touch -r a.yaml ../stamp; printf %s "$TEXT" >a.yaml; touch -r ../stamp a.yaml`)},
		{"an atomic write from elsewhere", sh(`printf %s "$TEXT" >../new; mv ../new a.yaml`)},
		{"git commit, for what follows", sh(`printf %s "$TEXT" >a.yaml; git init -q -b main; git add -A; git commit -qm one`)},
		{"git checkout of another branch", sh(`git checkout -q -b two; printf %s "$TEXT" >a.yaml; git commit -qam two; git checkout -q main; git checkout -q two`)},
		{"git reset --hard", sh(`printf %s "$TEXT" >a.yaml; git commit -qam three; git reset -q --hard HEAD~1; git reset -q --hard ORIG_HEAD`)},
		{"cp -a over the directory", sh(`mkdir ../from; printf %s "$TEXT" >../from/a.yaml; cp -a ../from/. .; rm -r ../from`)},
		{"the directory exchanged", sh(`mkdir ../fresh; printf %s "$TEXT" >../fresh/a.yaml; mv "$PWD" ../old; mv ../fresh "$PWD"`)},
		{"a Kubernetes-like mount", func(n int) {
			put(t, at("..2026_01/a.yaml"), text(n))
			link(t, "..2026_01", at("..data"))
			link(t, "..data/a.yaml", at("a.yaml.new"))
			do(t, os.Rename(at("a.yaml.new"), at("a.yaml")))
		}},
		{"its swap", func(n int) {
			put(t, at("..2026_02/a.yaml"), text(n))
			link(t, "..2026_02", at("..data_tmp"))
			do(t, os.Rename(at("..data_tmp"), at("..data")))
			do(t, os.RemoveAll(at("..2026_01")))
		}},
	} {
		n := i + 2
		c.do(n)
		want := "10.77.0." + strconv.Itoa(n)
		deadline := time.After(patience)
		for got := ""; got != want; {
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("%s: the last news left the address at %q, want %s", c.name, got, want)
			}
			if cfg, err := config.Load(config.Dir(dir)); err == nil {
				got = cfg.Nodes[0].Address.String()
			}
		}
	}
}
