package lab

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// NextImage is NodeImage by another name, as that of an upgrade.
const NextImage = "vipilot:next"

// RunCompose has Docker Compose start the containers of deploy/compose.yaml
// from an image: all or those that are named, in the place of older ones. It
// waits until the node's status can be read.
func (n *Node) RunCompose(ctx context.Context, image string, names ...string) error {
	if _, err := n.Engine(ctx, "tag", NodeImage, NextImage); err != nil {
		return err
	}
	if _, err := n.compose(ctx, image, append([]string{"up", "--detach"}, names...)...); err != nil {
		return err
	}
	return n.awaitStatus(ctx)
}

// Inside runs a command in the container of a service of deploy/compose.yaml.
func (n *Node) Inside(ctx context.Context, service string, command ...string) (string, error) {
	return n.compose(ctx, NodeImage, append([]string{"exec", "-T", service}, command...)...)
}

// Containers gives the containers of deploy/compose.yaml that run, by their service.
func (n *Node) Containers(ctx context.Context) (map[string]string, error) {
	out, err := n.Engine(ctx, "ps", "--no-trunc", "--format", `{{.Label "com.docker.compose.service"}} {{.ID}}`)
	if err != nil {
		return nil, err
	}
	byService := make(map[string]string)
	for line := range strings.Lines(out) {
		service, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		byService[service] = id
	}
	return byService, nil
}

// compose runs Docker Compose (e2e/compose/setup.sh) with deploy/compose.yaml
// and the least that this machine needs besides: without CAP_SYS_RESOURCE the
// engine cannot raise the limit of open files.
func (n *Node) compose(ctx context.Context, image string, args ...string) (string, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return "", err
	}
	var limits strings.Builder
	limits.WriteString("services:\n")
	for _, service := range []string{"sentinel", "haproxy", "keepalived", "vipilot"} {
		fmt.Fprintf(&limits, "  %s: {ulimits: {nofile: %d}}\n", service, min(files.Max, 524288))
	}
	override := filepath.Join(n.dir, "compose-limits.yaml")
	if err := os.WriteFile(override, []byte(limits.String()), 0o644); err != nil {
		return "", err
	}
	slim := cmp.Or(os.Getenv("VIPILOT_SLIM"), caches+"/trixie-slim")
	return n.Run(ctx, "env", slices.Concat([]string{
		"DOCKER_HOST=unix://" + n.engineSocket(),
		"SENTINEL_IMAGE=" + image, "HAPROXY_IMAGE=" + image, "KEEPALIVED_IMAGE=" + image, "VIPILOT_IMAGE=" + image,
		"VIPILOT_NODE=" + n.Name, "VIPILOT_CONFIG_DIR=" + n.lab.RepoDir(),
		filepath.Join(filepath.Dir(slim), "docker-compose"),
		"-f", filepath.Join(Source(), "deploy/compose.yaml"), "-f", override}, args)...)
}
