package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/internal/cyclonedx"
)

// TestRelease makes a release in two directories and wants the same bytes:
// binary, tarball, package, bill of materials, licences and checksums. (What is
// compiled may come from the build cache; make reproduce compiles it twice.)
func TestRelease(t *testing.T) {
	onDaemons(t)
	var made []map[string][]byte
	for _, place := range []string{"a", "somewhere/else/entirely"} {
		dir := filepath.Join(t.TempDir(), place)
		run(t, "sh", "-c", `mkdir -p "$1" && cd .. && git ls-files -coz --exclude-standard | xargs -0 cp --parents -t "$1"`, "sh", dir)
		out := run(t, "env", "-C", dir, "ARCHS=amd64", "deploy/release.sh", "v1.2.0", "out")
		if !strings.Contains(out, "vipilot-v1.2.0-linux-amd64.tar.gz") {
			t.Errorf("release.sh says\n%s", out)
		}
		run(t, "env", "-C", dir+"/out", "sha256sum", "--check", "--strict", "SHA256SUMS")
		made = append(made, files(t, dir+"/out"))
	}
	for name, data := range made[0] {
		if !bytes.Equal(data, made[1][name]) {
			t.Errorf("%s differs between two directories", name)
		}
	}
	want := []string{"SHA256SUMS", "THIRD_PARTY_LICENSES", "vipilot-v1.2.0-linux-amd64", "vipilot-v1.2.0-linux-amd64.cdx.json",
		"vipilot-v1.2.0-linux-amd64.tar.gz", "vipilot_1.2.0_amd64.deb"}
	if got := slices.Sorted(maps.Keys(made[0])); !slices.Equal(got, want) {
		t.Errorf("a release holds %v", got)
	}
	if lines := strings.Count(string(made[0]["SHA256SUMS"]), "\n"); lines != len(want)-1 {
		t.Errorf("%d checksums for %d files", lines, len(want)-1)
	}
	isBill(t, made[0]["vipilot-v1.2.0-linux-amd64.cdx.json"])
	unpacked := untar(t, made[0]["vipilot-v1.2.0-linux-amd64.tar.gz"], "vipilot-v1.2.0-linux-amd64/")
	for _, name := range []string{"LICENSE", "THIRD_PARTY_LICENSES", "CHANGELOG.md", "vipilot.service", "man1/vipilot.1", "completions/vipilot.bash"} {
		if len(unpacked[name]) == 0 {
			t.Errorf("the tarball has no %s", name)
		}
	}
	if !bytes.Equal(unpacked["vipilot"], made[0]["vipilot-v1.2.0-linux-amd64"]) {
		t.Error("the program in the tarball is another one")
	}
	if bytes.Contains(unpacked["vipilot"], []byte(t.TempDir())) {
		t.Error("the program names the directory it was built in")
	}
}

// isBill holds a bill of materials against the schema of CycloneDX 1.5.
func isBill(t *testing.T, data []byte) {
	t.Helper()
	standard, err := cyclonedx.Load()
	if err == nil {
		err = standard.Check(data)
	}
	if err != nil {
		t.Errorf("the bill of materials: %v", err)
	}
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]byte)
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// untar gives the files of a tarball, which all have to be below one directory,
// root's, and of one time.
func untar(t *testing.T, data []byte, below string) map[string][]byte {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]byte)
	for r := tar.NewReader(zipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(h.Name, below)
		if !ok || h.Uid != 0 || h.Gid != 0 || h.Mode&0o022 != 0 || h.ModTime.Unix() != 1700000000 {
			t.Errorf("%s: uid %d, gid %d, mode %o, %s", h.Name, h.Uid, h.Gid, h.Mode, h.ModTime)
		}
		if all[name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
