package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vipilot/vipilot/config"
)

// TestHostileDirectory reads directories that somebody made for harm. Each is
// refused with a reason, or what is of harm in it is left out; nothing waits,
// nothing is read without end.
func TestHostileDirectory(t *testing.T) {
	const good = "version: 1\nnodes: {lb1: {address: 10.77.0.21, interface: eth0}}\n"
	password := func(name string) string {
		return good + "vips: {v: {addresses: [203.0.113.10], vrrp: {advert_interval: 1s, password_file: " + name + "}}}\n"
	}
	for name, c := range map[string]struct {
		make func(dir string)
		want string // in the error; "" = it loads
	}{
		"a device for a file": {func(dir string) { link(t, "/dev/zero", filepath.Join(dir, "z.yaml")) }, ""},
		"a device for a secret": {func(dir string) { put(t, filepath.Join(dir, "p.yaml"), password("/dev/zero")) },
			`cannot read "/dev/zero": not a regular file`},
		"a device behind a link": {func(dir string) {
			link(t, "/dev/urandom", filepath.Join(dir, "pw"))
			put(t, filepath.Join(dir, "p.yaml"), password("pw"))
		}, "not a regular file"},
		"a directory for a secret": {func(dir string) { put(t, filepath.Join(dir, "p.yaml"), password("/etc")) }, "not a regular file"},
		"a FIFO for a secret": {func(dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "pw"), 0o600); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, "p.yaml"), password("pw"))
		}, "not a regular file"},
		"a memory of a process":       {func(dir string) { put(t, filepath.Join(dir, "p.yaml"), password("/proc/self/mem")) }, "cannot read"},
		"a secret out of the tree":    {func(dir string) { put(t, filepath.Join(dir, "p.yaml"), password("../../etc/passwd")) }, "leads out of the configuration directory"},
		"a secret with a NUL":         {func(dir string) { put(t, filepath.Join(dir, "p.yaml"), password(`"pw\0.txt"`)) }, "is not the name of a file"},
		"a file that leads to itself": {func(dir string) { link(t, "a.yaml", filepath.Join(dir, "a.yaml")) }, "too many levels of symbolic links"},
		"a huge file": {func(dir string) {
			f, err := os.Create(filepath.Join(dir, "huge.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Truncate(1<<40), f.Close()); err != nil { // a hole
				t.Fatal(err)
			}
		}, "larger than 4 MiB"},
		"directories that lead to each other": {func(dir string) {
			for i := range 12 {
				for j := range 12 {
					put(t, filepath.Join(dir, fmt.Sprint("d", i), "x.yaml"), "# nothing\n")
					link(t, fmt.Sprint("../d", j), filepath.Join(dir, fmt.Sprint("d", i), fmt.Sprint("l", j)))
				}
			}
		}, "there are more than 50000 files and directories below it"},
		"many large files": {func(dir string) {
			put(t, filepath.Join(dir, "zeros"), strings.Repeat("0", config.MaxFileSize))
			peers := good + "routing:\n  bgp:\n    asn: 65010\n    peers:\n"
			for i := range 80 {
				link(t, "zeros", filepath.Join(dir, fmt.Sprint("pw", i)))
				peers += fmt.Sprintf("      p%d: {address: 10.77.0.%d, asn: 65000, password_file: pw%d}\n", i, i+1, i)
			}
			put(t, filepath.Join(dir, "a0.yaml"), peers)
		}, "the files hold more than 256 MiB together"},
		"a name of control characters": {func(dir string) { put(t, filepath.Join(dir, "a\x1b[2J\n.yaml"), "unknown: 1\n") }, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, filepath.Join(dir, "a0.yaml"), good)
			if strings.Contains(name, "secret") || strings.Contains(name, "process") || strings.Contains(name, "behind a link") {
				_ = os.Remove(filepath.Join(dir, "a0.yaml")) // the file has all
			}
			c.make(dir)
			_, err := config.Load(config.Dir(dir))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%.500v, want %q", err, c.want)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\x00") {
				t.Errorf("unprintable: %q", err)
			}
		})
	}
}

// TestHostileText loads texts that are made for harm; see also TestBombs.
func TestHostileText(t *testing.T) {
	deep := func(open, end string, n int) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }
	for name, text := range map[string]string{
		"NULs":            "version: 1\n\x00\x00\x00",
		"a NUL in a name": "version: 1\nnodes: {\"a\\0b\": {address: 10.77.0.21, interface: eth0}}\n",
		"not UTF-8":       "version: 1\nnodes: {\xff\xfe: 1}\n",
		"deep maps":       "version: 1\nnodes: " + deep("{a: ", "}", 5000),
		"deep blocks": "version: 1\nnodes:\n" + func() (s string) {
			for i := range 1000 {
				s += strings.Repeat(" ", i+1) + "a:\n"
			}
			return s
		}(),
		"an anchor in itself":     "version: 1\nnodes: &a {lb1: *a}\n",
		"a merge of itself":       "version: 1\nnodes: &a {<<: *a}\n",
		"a merge of many":         "version: 1\nnodes: {<<: [" + strings.Repeat("{a: 1},", 10_000) + "]}\n",
		"an alias of nothing":     "version: 1\nnodes: *nothing\n",
		"a tag of another tongue": "version: 1\nnodes: !!python/object/apply:os.system [id]\n",
		"binary":                  "version: 1\nnodes: !!binary AAAA\n",
		"a long key":              "version: 1\n" + strings.Repeat("k", 1<<20) + ": 1\n",
		"a key that is a map":     "version: 1\n? {a: b}\n: c\n",
		"a number without end":    "version: " + strings.Repeat("9", 100_000) + "\n",
		"an escape":               "version: 1\nnodes: {\"\\e[2J\": {address: \"\\e]0;x\\a\"}}\n",
		"a line without end":      "version: 1 " + strings.Repeat(" ", 1<<20) + "x",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(with("z.yaml", text))
			if err == nil {
				t.Fatal("it was taken")
			}
			if faults := new(config.Faults); !errors.As(err, faults) {
				t.Fatalf("not a list of faults: %v", err)
			}
			if text := err.Error(); strings.ContainsAny(text, "\x1b\x00\a") || len(text) > 4<<20 {
				t.Errorf("unprintable or long (%d): %.300q", len(text), text)
			}
		})
	}
}
