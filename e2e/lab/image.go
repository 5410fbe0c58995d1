package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// NodeImage is the image of deploy/Dockerfile, on the engines of nodes.
const NodeImage = "vipilot:lab"

const caches = "/var/cache/vipilot"

// StartEngine starts a Docker engine on the node, for vipilot and its daemons
// in containers. It has no network of its own: the containers use the node's.
// Its data outlives the node's life; its containers are forgotten.
func (n *Node) StartEngine(ctx context.Context) error {
	data := filepath.Join(n.lab.Dir, "engine-"+n.Name)
	for _, old := range []string{"containers", "volumes"} {
		if err := os.RemoveAll(filepath.Join(data, old)); err != nil {
			return err
		}
	}
	engine, err := n.daemon(nil, "dockerd", "--data-root", data, "--exec-root", filepath.Join(n.dir, "exec"),
		"--pidfile", "/run/docker.pid", "--host", "unix://"+n.engineSocket(), "--bridge", "none", "--iptables=false", "--ip-forward=false",
		"--cgroup-parent", "/"+n.lab.id+"-"+n.Name, "--exec-opt", "native.cgroupdriver=cgroupfs", "--log-level", "warn")
	if err != nil {
		return err
	}
	err = Poll(ctx, 60*time.Second, func(ctx context.Context) error {
		_, err := n.Engine(ctx, "version")
		return err
	})
	if err != nil {
		return fmt.Errorf("start the engine of %s: %w\n%s", n.Name, err, engine.tail(10))
	}
	return nil
}

func (n *Node) engineSocket() string { return filepath.Join(n.dir, "engine.sock") }

// Engine runs a command of the docker client against the node's engine.
func (n *Node) Engine(ctx context.Context, args ...string) (string, error) {
	return n.Run(ctx, "docker", append([]string{"--host", "unix://" + n.engineSocket()}, args...)...)
}

// script runs a shell script on the node, with the docker client set to its engine.
func (n *Node) script(ctx context.Context, text string, args ...string) (string, error) {
	return n.Run(ctx, "env", append([]string{"DOCKER_HOST=unix://" + n.engineSocket(), "DOCKER_BUILDKIT=0", "sh", "-c", "set -eu\n" + text, "sh"}, args...)...)
}

// BuildImage builds deploy/Dockerfile from this source on the node's engine,
// as NodeImage, and writes it to a file. Nothing is downloaded: the images it
// starts from are made from the Debian tree of e2e/image/setup.sh, which holds
// the packages, and from this machine's Go with its build cache.
func (n *Node) BuildImage(ctx context.Context) (file string, err error) {
	slim := cmp.Or(os.Getenv("VIPILOT_SLIM"), caches+"/trixie-slim")
	if _, err := os.Stat(slim + "/.complete"); err != nil {
		return "", fmt.Errorf("no Debian tree; run e2e/image/setup.sh: %w", err)
	}
	source := filepath.Join(n.lab.Dir, "source")
	if err := n.lab.copySource(ctx, source); err != nil {
		return "", err
	}
	defer os.RemoveAll(source)
	file = filepath.Join(n.lab.Dir, "image.tar")
	_, err = n.script(ctx, `slim=$1 cache=$2 source=$3 file=$4
tar -C $slim -c . | docker import - debian:trixie-slim >/dev/null
goroot=$(go env GOROOT)
printf 'FROM debian:trixie-slim\nCOPY go /usr/local/go\nCOPY gocache /root/.cache/go-build\nENV PATH=/usr/local/go/bin:/usr/bin:/bin GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-buildvcs=false\n' >$source.Dockerfile
tar -c --exclude=go/test --exclude=go/api --exclude=go/doc -C "$(dirname $goroot)" go -C "$(dirname $cache)" gocache \
    -C "$(dirname $source)" --transform 's,^.*\.Dockerfile$,Dockerfile,' "$(basename $source).Dockerfile" |
    docker build -q -t golang:1.26-trixie - >/dev/null
rm $source.Dockerfile
docker build -q --network none -f $source/deploy/Dockerfile -t `+NodeImage+` --build-arg BUILDPLATFORM=linux/$(go env GOARCH) \
    --build-arg VERSION=lab $source
docker save -o $file `+NodeImage, slim, caches+"/gocache", source, file)
	return file, err
}

// copySource copies the source as it is now, with the modules it needs, and
// compiles it once, so that the build in a container finds all in Go's cache.
func (l *Lab) copySource(ctx context.Context, to string) error {
	_, err := l.LB1.Run(ctx, "sh", "-c", `set -eu
cd "$1"; mkdir -p "$2" "$3"
git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh | tar -c --null -T - | tar -x -C "$2"
go mod vendor -o "$2/vendor"
cd "$2"
CGO_ENABLED=0 GOCACHE="$3" go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=lab" -o /dev/null .`, "sh", Source(), to, caches+"/gocache")
	return err
}

// LoadImage has the node's engine know the image in a file.
func (n *Node) LoadImage(ctx context.Context, file string) error {
	if _, err := n.Engine(ctx, "image", "inspect", NodeImage); err == nil {
		return nil
	}
	_, err := n.Engine(ctx, "load", "-q", "-i", file)
	return err
}

// RunImage starts the whole node from one container, with exactly these
// capabilities and a read-only root, and waits until its status can be read.
func (n *Node) RunImage(ctx context.Context) error {
	args := []string{"run", "-d", "--name", "vipilot", "--network", "host", "--read-only", "--restart", "always", "--stop-timeout", "60",
		"--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--cap-add", "NET_BIND_SERVICE", "--security-opt", "no-new-privileges:true",
		"--health-interval", "1s", "--tmpfs", "/run/vipilot:mode=0755,exec", "--tmpfs", "/tmp", "-v", n.StateDir + ":/var/lib/vipilot", "-v", n.lab.RepoDir() + ":/etc/vipilot:ro",
		"-e", "VIPILOT_NODE=" + n.Name, "-e", "VIPILOT_LISTEN=" + StatusAddress, NodeImage}
	if _, err := n.Engine(ctx, args...); err != nil {
		return err
	}
	return n.awaitStatus(ctx)
}

// RunCompose starts the containers of deploy/compose.yaml, all or those that
// are named, in the place of older ones of that name.
func (n *Node) RunCompose(ctx context.Context, names ...string) error {
	project, err := readCompose(filepath.Join(Source(), "deploy/compose.yaml"), map[string]string{
		"SENTINEL_IMAGE": NodeImage, "HAPROXY_IMAGE": NodeImage, "KEEPALIVED_IMAGE": NodeImage, "VIPILOT_IMAGE": NodeImage,
		"VIPILOT_NODE": n.Name, "VIPILOT_CONFIG_DIR": n.lab.RepoDir(),
	})
	if err != nil {
		return err
	}
	for _, args := range project.volumes() {
		if _, err := n.Engine(ctx, args...); err != nil {
			return err
		}
	}
	if names == nil {
		names = project.names()
	}
	for _, name := range names {
		if old, _ := n.Engine(ctx, "ps", "-aq", "--filter", "name=^"+name+"$"); strings.TrimSpace(old) != "" {
			if _, err := n.Engine(ctx, "stop", name); err != nil {
				return err
			}
			if _, err := n.Engine(ctx, "rm", name); err != nil {
				return err
			}
		}
		args, err := project.run(name)
		if err != nil {
			return err
		}
		if _, err := n.Engine(ctx, args...); err != nil {
			return err
		}
	}
	return n.awaitStatus(ctx)
}

func (n *Node) awaitStatus(ctx context.Context) error {
	err := Poll(ctx, 20*time.Second, func(ctx context.Context) error {
		_, err := n.Status(ctx)
		return err
	})
	if err != nil {
		logs, _ := n.script(ctx, `for c in $(docker ps -aq); do docker inspect --format '{{.Name}}: {{.State.Status}} {{.State.ExitCode}}' $c; docker logs --tail 20 $c 2>&1; done`)
		return errors.Join(err, errors.New(logs))
	}
	return nil
}
