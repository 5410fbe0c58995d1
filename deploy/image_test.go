package deploy

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestImageScript: what make image is asked for wrongly it says so of, before
// anything is built. (The e2e tests build the image.)
func TestImageScript(t *testing.T) {
	const noDocker = "docker is not installed"
	for name, c := range map[string]struct {
		args, env []string
		want      string
	}{
		"an argument":                 {[]string{"vipilot"}, nil, "takes no arguments"},
		"no repository":               {nil, []string{"GIT_DIR=/nonexistent"}, "say which VERSION it is"},
		"no repository, but a name":   {nil, []string{"GIT_DIR=/nonexistent", "VERSION=v1.2.0"}, noDocker},
		"platforms and no place":      {nil, []string{"VERSION=v1.2.0", "PLATFORMS=linux/arm64"}, "say where to"},
		"platforms, a place":          {nil, []string{"VERSION=v1.2.0", "PLATFORMS=linux/arm64", "IMAGE=example.net/vipilot"}, noDocker},
		"this machine, and no Docker": {nil, []string{"VERSION=v1.2.0"}, noDocker},
	} {
		cmd := exec.Command("/bin/sh", append([]string{"image.sh"}, c.args...)...)
		cmd.Env = append([]string{"PATH=" + only(t, "git", "dirname")}, c.env...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.HasPrefix(string(out), "image: ") || !strings.Contains(string(out), c.want) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v, %q, want exit 2 and %q", name, err, out, c.want)
		}
	}
}

// TestPlatformArguments: ahead of the first FROM, an argument of BuildKit's own
// that is declared without a value is empty in Docker 26, and nothing is built.
func TestPlatformArguments(t *testing.T) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(text), "\nFROM --platform=${BUILDPLATFORM} ")
	if !found || !strings.Contains(head, "\nARG BUILDPLATFORM=${BUILDPLATFORM}\n") {
		t.Errorf("the stage that compiles is not on the builder's own platform with every builder:\n%s", head)
	}
}

// only is a PATH of these programs alone.
func only(t *testing.T, programs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range programs {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
