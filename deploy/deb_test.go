// Package deploy has tests only: of the packages and units beside it.
package deploy

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// onDaemons skips a test that needs root and what e2e/setup.sh installs.
func onDaemons(t *testing.T) {
	t.Helper()
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run on real daemons (make test does)")
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// program builds vipilot as the Makefile does.
func program(t *testing.T, arch string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "vipilot")
	run(t, "sh", "-c", `cd .. && deploy/build.sh "${1:-$(go env GOHOSTARCH)}" "$2"`, "sh", arch, to)
	return to
}

// debian makes the package in a new directory and gives its name.
func debian(t *testing.T, binary, version string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "./deb.sh", binary, version, "amd64", dir)
	found, _ := filepath.Glob(dir + "/*.deb")
	if len(found) != 1 {
		t.Fatalf("packages: %v", found)
	}
	return found[0]
}

// tree is the Debian tree that e2e/image/setup.sh made.
func tree(t *testing.T) string {
	t.Helper()
	dir := cmp.Or(os.Getenv("VIPILOT_SLIM"), "/var/cache/vipilot/trixie-slim")
	if _, err := os.Stat(dir + "/.complete"); err != nil {
		t.Fatalf("no Debian tree; run e2e/image/setup.sh: %v", err)
	}
	return dir
}

// TestDebian installs, upgrades, removes and purges the package on Debian 13.
func TestDebian(t *testing.T) {
	onDaemons(t)
	binary := program(t, "")
	first := debian(t, binary, "v1.2.0-3-gabcdef0")
	if name := filepath.Base(first); name != "vipilot_1.2.0+3+gabcdef0_amd64.deb" {
		t.Errorf("package is named %s", name)
	}
	newer := debian(t, binary, "v1.3.0")
	script := `set -eu
dir=$1 lower=$2; root=$dir/root
mkdir $root $dir/upper $dir/work
mount -t overlay overlay -o lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work $root
mount -t proc proc $root/proc
mount --rbind /dev $root/dev
rm -f $root/etc/dpkg/dpkg.cfg.d/docker
printf '#!/bin/sh\nexit 101\n' >$root/usr/sbin/policy-rc.d
chmod 755 $root/usr/sbin/policy-rc.d
cp "$3" $root/old.deb
cp "$4" $root/new.deb
inside() { DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $root "$@"; }

inside apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io /old.deb
inside vipilot version
inside vipilot validate /usr/share/doc/vipilot/examples
inside test -d /etc/vipilot -a -f /usr/share/bash-completion/completions/vipilot
inside haproxy -v >/dev/null
inside dpkg --verify vipilot
man -M $root/usr/share/man -w vipilot vipilot-run vipilot-explain

echo 'VIPILOT_NODE=lb7' >>$root/etc/default/vipilot
mkdir -p $root/var/lib/vipilot && touch $root/var/lib/vipilot/config.json $root/etc/vipilot/fleet.yaml
inside dpkg --force-confold -i /new.deb
grep -q lb7 $root/etc/default/vipilot

inside dpkg -r vipilot
! inside test -e /usr/bin/vipilot
inside test -f /etc/default/vipilot -a -f /var/lib/vipilot/config.json
inside dpkg -P vipilot
! inside test -e /etc/default/vipilot
! inside test -e /var/lib/vipilot
inside test -f /etc/vipilot/fleet.yaml
`
	out := run(t, "unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", t.TempDir(), tree(t), first, newer)
	if !strings.Contains(out, "man1/vipilot-explain.1") {
		t.Errorf("man does not find the pages:\n%s", out)
	}
}

// TestUnit holds the unit against systemd's own opinion.
func TestUnit(t *testing.T) {
	onDaemons(t)
	unit, err := os.ReadFile("vipilot.service")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(unit), "ExecStart=/usr/bin/vipilot", "ExecStart="+program(t, ""), 1)
	name := filepath.Join(t.TempDir(), "vipilot.service")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if said := run(t, "systemd-analyze", "verify", "--man=no", name); said != "" {
		t.Errorf("systemd-analyze verify:\n%s", said)
	}
	t.Log(strings.TrimSpace(run(t, "sh", "-c", `systemd-analyze security --offline=yes --no-pager "$0" | tail -n 1`, name)))
}

// TestManual has man read every page.
func TestManual(t *testing.T) {
	onDaemons(t)
	dir := t.TempDir()
	run(t, program(t, ""), "man", "-o", dir)
	pages, _ := filepath.Glob(dir + "/man1/*.1")
	if len(pages) < 12 {
		t.Errorf("only %d pages", len(pages))
	}
	for _, page := range pages {
		if said := run(t, "sh", "-c", `man --warnings -E UTF-8 -l -Tutf8 -Z "$0" >/dev/null`, page); said != "" {
			t.Errorf("%s: %s", filepath.Base(page), said)
		}
	}
	run(t, "bash", "-n", dir+"/completions/vipilot.bash")
}

// TestArm64 proves that the other architecture of the image is built.
func TestArm64(t *testing.T) {
	onDaemons(t)
	data, err := os.ReadFile(program(t, "arm64"))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) < 20 || data[18] != 183 { // e_machine of ELF: EM_AARCH64
		t.Error("not a program for arm64")
	}
}
