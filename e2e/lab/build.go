package lab

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// NodeImage is the image of deploy/Dockerfile, on the engines of nodes.
const NodeImage = "vipilot:lab"

// caches is where a machine keeps what is long in the making; it may be removed.
const caches = "/var/cache/vipilot"

// buildCache is Go's cache for the static binary. It is apart from the user's
// own, because it is put into the image that the Dockerfile compiles in.
const buildCache = caches + "/gocache"

// BuildImage builds deploy/Dockerfile from this source, as NodeImage, for the
// engines of both nodes, which must not run. Nothing is downloaded: the images
// that the Dockerfile starts from are made from the Debian tree of
// e2e/image/setup.sh, which holds the packages, and from this machine's Go.
//
// The engine that builds keeps its data from run to run, so that Docker itself
// finds the layers of what has not changed.
func (l *Lab) BuildImage(ctx context.Context) error {
	unlock, err := lockFile(filepath.Join(caches, "engine.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	data := filepath.Join(caches, "engine")
	unclean := data + ".unclean" // stands while the engine runs: one that was killed may have left halves
	if _, err := os.Stat(unclean); err == nil {
		if err := os.RemoveAll(data); err != nil {
			return err
		}
	}
	if err := os.WriteFile(unclean, nil, 0o644); err != nil {
		return err
	}
	if err := l.buildImage(ctx, data); err != nil {
		return fmt.Errorf("build the image: %w", err)
	}
	if err := os.Remove(unclean); err != nil {
		return err
	}
	for _, n := range l.Nodes() {
		if err := n.copyImages(ctx, data); err != nil {
			return fmt.Errorf("give %s the image: %w", n.Name, err)
		}
	}
	return nil
}

// buildImage is BuildImage on an engine of its own with this data.
func (l *Lab) buildImage(ctx context.Context, data string) (err error) {
	h := l.host("builder")
	if err := h.powerOn(); err != nil {
		return err
	}
	defer h.powerOff()
	engine, err := h.startEngine(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Stop(60*time.Second)) }()
	source := filepath.Join(h.dir, "source")
	defer os.RemoveAll(source)
	if err := l.copySource(ctx, source); err != nil {
		return err
	}
	if err := h.baseImages(ctx); err != nil {
		return err
	}
	_, err = h.script(ctx, `docker build -q --network none -f $1/deploy/Dockerfile -t $2 --build-arg BUILDPLATFORM=linux/$3 --build-arg TARGETARCH=$3 --build-arg VERSION=lab $1
docker image prune -f # the last build's`, source, NodeImage, runtime.GOARCH)
	return err
}

// baseImages makes the two images that the Dockerfile starts from, each unless
// the one that is there is labelled with what it would be made of.
func (h *Host) baseImages(ctx context.Context) error {
	slim := cmp.Or(os.Getenv("VIPILOT_SLIM"), caches+"/trixie-slim")
	tree, err := os.ReadFile(filepath.Join(slim, ".complete"))
	if err != nil {
		return fmt.Errorf("no Debian tree; run e2e/image/setup.sh: %w", err)
	}
	modules, err := os.ReadFile(filepath.Join(Source(), "go.sum"))
	if err != nil {
		return err
	}
	key := func(parts ...[]byte) string {
		hash := sha256.New()
		for _, part := range parts {
			fmt.Fprintf(hash, "%d ", len(part))
			hash.Write(part)
		}
		return fmt.Sprintf("%x", hash.Sum(nil))
	}
	// Go would note the use of an old file of its cache in its time, and so copy
	// the whole cache into a layer; files of the future it leaves alone.
	_, err = h.script(ctx, `slim=$1 cache=$2 debian=$3 go=$4
has() { [ "$(docker image inspect --format '{{index .Config.Labels "lab.made-of"}}' $1 2>/dev/null)" = $2 ]; }
has debian:trixie-slim $debian || tar -C $slim -c . | docker import -c "LABEL lab.made-of=$debian" - debian:trixie-slim
goroot=$(go env GOROOT)
has golang:1.26-trixie $go || tar -c --exclude=./var/cache/apt --exclude=./var/lib/apt --exclude=go/test --exclude=go/api --exclude=go/doc --mtime=2100-01-01 \
    --transform 's,^go/,usr/local/go/,;s,^gocache/,root/.cache/go-build/,' -C $slim . -C "$(dirname $goroot)" go -C "$(dirname $cache)" gocache |
    docker import -c "LABEL lab.made-of=$go" -c 'ENV PATH=/usr/local/go/bin:/usr/bin:/bin GOTOOLCHAIN=local GOPROXY=off GOFLAGS=-buildvcs=false GOCACHE=/root/.cache/go-build' - golang:1.26-trixie`,
		slim, buildCache, key(tree), key(tree, modules, []byte(runtime.Version())))
	return err
}

// copySource copies the source as it is now, with the modules it needs, and
// compiles it once, so that the build in a container finds them in Go's cache.
func (l *Lab) copySource(ctx context.Context, to string) error {
	_, err := l.LB1.Run(ctx, "sh", "-c", `set -eu
cd "$1"; mkdir -p "$2" "$3"
git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh | tar -c --null -T - | tar -x -C "$2"
go mod vendor -o "$2/vendor"
cd "$2"
CGO_ENABLED=0 GOCACHE="$3" go build -trimpath -buildvcs=false -o /dev/null .`, "sh", Source(), to, buildCache)
	return err
}

// copyImages gives the node's engine all images of an engine that has stopped.
// Layers and their descriptions are never changed in place, so files are linked.
func (n *Node) copyImages(ctx context.Context, from string) error {
	_, err := n.Run(ctx, "sh", "-c", `set -eu
cd "$1"; mkdir -p "$2"
for part in image overlay2 fuse-overlayfs vfs; do
    [ ! -e $part ] || cp -al $part "$2" 2>/dev/null || { rm -rf "$2/$part"; cp -a $part "$2"; }
done`, "sh", from, n.engineData())
	return err
}

// lockFile waits until nobody else has the file locked.
func lockFile(name string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil
}

// startEngine starts a Docker engine that has no network of its own.
func (h *Host) startEngine(ctx context.Context, data string) (*Daemon, error) {
	id := strings.TrimPrefix(h.env[0], marker+"=")
	engine, err := h.daemon(nil, "dockerd", "--data-root", data, "--exec-root", filepath.Join(h.dir, "exec"),
		"--pidfile", "/run/docker.pid", "--host", "unix://"+h.engineSocket(), "--bridge", "none", "--iptables=false", "--ip-forward=false",
		"--cgroup-parent", "/"+id+"-"+h.Name, "--exec-opt", "native.cgroupdriver=cgroupfs", "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	err = Poll(ctx, Patience, func(ctx context.Context) error {
		_, err := h.Engine(ctx, "version")
		return err
	})
	if err != nil {
		engine.Kill()
		return nil, fmt.Errorf("start the engine of %s: %w\n%s", h.Name, err, engine.tail(10))
	}
	return engine, nil
}

func (h *Host) engineSocket() string { return filepath.Join(h.dir, "engine.sock") }

// Engine runs a command of the docker client against the engine of the host,
// a node whose daemons live in containers.
func (h *Host) Engine(ctx context.Context, args ...string) (string, error) {
	return h.Run(ctx, "docker", append([]string{"--host", "unix://" + h.engineSocket()}, args...)...)
}

// script runs a shell script on the host, with the docker client set to its engine.
func (h *Host) script(ctx context.Context, text string, args ...string) (string, error) {
	return h.Run(ctx, "env", append([]string{"DOCKER_HOST=unix://" + h.engineSocket(), "DOCKER_BUILDKIT=0", "sh", "-c", "set -eu\n" + text, "sh"}, args...)...)
}
