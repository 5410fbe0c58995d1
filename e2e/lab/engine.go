package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
	"golang.org/x/sync/errgroup"
)

// Image is the application of e2e/app, present on every application host.
const Image = "vipilot-lab-app:1"

// App is an application host: a machine with a Docker engine of its own, which
// listens with TLS on port 2376 and on a unix socket.
type App struct {
	*Host
	Address string
	Docker  *client.Client // over the unix socket, which a cut cable does not stop

	lab    *Lab
	engine *Daemon
	tier   *Node
}

func (l *Lab) application(name string) *App {
	return &App{
		Host: l.host(name, "/etc/docker"), lab: l,
		Address: fmt.Sprintf("10.77.0.%d", lan[name]),
	}
}

// StartEngine starts the Docker engine, unless it runs, and waits until it answers.
func (a *App) StartEngine(ctx context.Context) error {
	if a.engine != nil && !a.engine.hasEnded() {
		return nil
	}
	engine, err := a.dockerd()
	if err != nil {
		return err
	}
	a.engine = engine
	if a.Docker == nil {
		a.Docker, err = client.NewClientWithOpts(client.WithHost(a.Socket()), client.WithAPIVersionNegotiation())
		if err != nil {
			return fmt.Errorf("make a Docker client: %w", err)
		}
	}
	err = Poll(ctx, Patience, func(ctx context.Context) error {
		if a.engine.hasEnded() { // its containerd took too long for it
			again, err := a.dockerd()
			if err != nil {
				return err
			}
			a.engine = again
		}
		_, err := a.Docker.Ping(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("start the engine of %s: %w\n%s", a.Name, err, a.engine.tail(10))
	}
	return a.importImage(ctx)
}

// dockerd starts the engine's process.
func (a *App) dockerd() (*Daemon, error) {
	pki := a.lab.pkiDir()
	return a.daemon(
		[]string{"HTTPS_PROXY=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9"}, // no registry: fail at once, without DNS
		"dockerd", "--data-root", filepath.Join(a.dir, "data"), "--exec-root", filepath.Join(a.dir, "exec"),
		"--pidfile", "/run/docker.pid", "--host", a.Socket(), "--host", "tcp://"+a.Address+":2376",
		"--tlsverify", "--tlscacert", pki+"/ca.pem", "--tlscert", pki+"/server.pem", "--tlskey", pki+"/server-key.pem",
		"--cgroup-parent", "/"+a.lab.id+"-"+a.Name, "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--log-level", "warn", "--max-concurrent-downloads", "1")
}

// KillEngine ends the engine with SIGKILL. Its containers run on.
func (a *App) KillEngine() { a.engine.Kill() }

// StopEngine ends the engine in order, and with it its containers.
func (a *App) StopEngine() error { return a.engine.Stop(60 * time.Second) }

// importImage makes the image from the one binary of e2e/app.
func (a *App) importImage(ctx context.Context) error {
	if _, err := a.Docker.ImageInspect(ctx, Image); err == nil {
		return nil // an engine that was started again
	}
	binary, err := os.ReadFile(a.lab.app)
	if err != nil {
		return fmt.Errorf("make the image: %w", err)
	}
	archive := new(bytes.Buffer)
	w := tar.NewWriter(archive)
	if err := w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(binary))}); err != nil {
		return err
	}
	if _, err := w.Write(binary); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	reply, err := a.Docker.ImageImport(ctx, image.ImportSource{Source: archive, SourceName: "-"}, Image,
		image.ImportOptions{Changes: []string{`ENTRYPOINT ["/app"]`, "EXPOSE 8080"}})
	if err != nil {
		return fmt.Errorf("import the image on %s: %w", a.Name, err)
	}
	defer reply.Close()
	_, err = io.Copy(io.Discard, reply)
	return err
}

// Container says what to run; only Name is needed.
type Container struct {
	Name    string
	Labels  map[string]string
	Env     []string
	Publish uint16 // container port that is published on a port that the engine chooses; 0 = none
	HostIP  string // where it is published, default every address
	Network string // "host", "none", or a network that exists
}

// Create makes a container from the lab's image without starting it.
func (a *App) Create(ctx context.Context, c Container) (id string, err error) {
	host := &container.HostConfig{NetworkMode: container.NetworkMode(c.Network)}
	if c.Publish != 0 {
		port := nat.Port(strconv.Itoa(int(c.Publish)) + "/tcp")
		host.PortBindings = nat.PortMap{port: []nat.PortBinding{{HostIP: c.HostIP}}}
	}
	config := &container.Config{Image: Image, Labels: maps.Clone(c.Labels), Env: slices.Clone(c.Env)}
	created, err := a.Docker.ContainerCreate(ctx, config, host, nil, nil, c.Name)
	if err != nil {
		return "", fmt.Errorf("create container %s on %s: %w", c.Name, a.Name, err)
	}
	return created.ID, nil
}

// Start starts a container by name or ID.
func (a *App) Start(ctx context.Context, name string) error {
	if err := a.Docker.ContainerStart(ctx, name, container.StartOptions{}); err != nil {
		return fmt.Errorf("start container %s on %s: %w", name, a.Name, err)
	}
	return nil
}

// Launch creates and starts a container.
func (a *App) Launch(ctx context.Context, c Container) (id string, err error) {
	id, err = a.Create(ctx, c)
	if err != nil {
		return "", err
	}
	return id, a.Start(ctx, id)
}

// Published gives the host's ports, for IPv4 and for IPv6, that lead to a port
// of a container; 0 is none.
func (a *App) Published(ctx context.Context, name string, port uint16) (four, six uint16, err error) {
	seen, err := a.Docker.ContainerInspect(ctx, name)
	if err != nil {
		return 0, 0, fmt.Errorf("inspect container %s of %s: %w", name, a.Name, err)
	}
	for _, b := range seen.NetworkSettings.Ports[nat.Port(strconv.Itoa(int(port))+"/tcp")] {
		n, err := strconv.ParseUint(b.HostPort, 10, 16)
		if err != nil {
			return 0, 0, fmt.Errorf("read a port of container %s of %s: %w", name, a.Name, err)
		}
		if b.HostIP == "::" {
			six = uint16(n)
		} else {
			four = uint16(n)
		}
	}
	return four, six, nil
}

// Stop stops containers the way docker stop does, all at the same time.
func (a *App) Stop(ctx context.Context, names ...string) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range names {
		group.Go(func() error {
			if err := a.Docker.ContainerStop(ctx, name, container.StopOptions{}); err != nil {
				return fmt.Errorf("stop container %s on %s: %w", name, a.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// Kill sends a signal to a container, e.g. SIGKILL.
func (a *App) Kill(ctx context.Context, name, signal string) error {
	if err := a.Docker.ContainerKill(ctx, name, signal); err != nil {
		return fmt.Errorf("kill container %s on %s: %w", name, a.Name, err)
	}
	return nil
}

// Clear removes every container of the host by force, and returns when none is
// left. An engine that is busy may say that one cannot be killed, or is being
// removed, and then it is asked again.
func (a *App) Clear(ctx context.Context) error {
	return Poll(ctx, Patience, a.clear)
}

func (a *App) clear(ctx context.Context) error {
	all, err := a.Docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs()})
	if err != nil {
		return fmt.Errorf("list containers of %s: %w", a.Name, err)
	}
	var group errgroup.Group
	group.SetLimit(8)
	for _, c := range all {
		group.Go(func() error { return a.remove(ctx, c.ID) })
	}
	return group.Wait()
}

// Remove removes a container by force, as Clear does all.
func (a *App) Remove(ctx context.Context, name string) error {
	return Poll(ctx, Patience, func(ctx context.Context) error { return a.remove(ctx, name) })
}

func (a *App) remove(ctx context.Context, name string) error {
	err := a.Docker.ContainerRemove(ctx, name, container.RemoveOptions{Force: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s of %s: %w", name, a.Name, err)
	}
	return nil
}

// binaries builds vipilot and the application, both static, but for vipilot where the race detector is in it.
func (l *Lab) binaries(ctx context.Context) error {
	l.app = filepath.Join(l.Dir, "app")
	if err := build(ctx, Source(), "./e2e/app", l.app); err != nil {
		return err
	}
	l.vipilot = l.opts.Binary
	if l.vipilot == "" {
		l.vipilot = filepath.Join(l.Dir, "vipilot")
		return buildVipilot(ctx, l.vipilot)
	}
	return nil
}

// Prepare compiles what a lab runs, so that the next lab finds it compiled. It
// does nothing for users who cannot have a lab.
func Prepare(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return errors.Join(buildVipilot(ctx, os.DevNull), build(ctx, Source(), "./e2e/app", os.DevNull))
}

// BuildRevision builds the vipilot of another commit of this repository, which
// calls itself by that name.
func (l *Lab) BuildRevision(ctx context.Context, commit string) (binary string, err error) {
	source := filepath.Join(l.Dir, "source-"+commit)
	defer os.RemoveAll(source)
	cmd := exec.CommandContext(ctx, "sh", "-c", `mkdir -p "$2" && git archive "$1" | tar -x -C "$2" && [ -e "$2/go.mod" ]`, "sh", commit, source)
	cmd.Dir = Source()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("take %s out of the repository: %w (a shallow clone? git fetch --unshallow)\n%s", commit, err, out)
	}
	binary = filepath.Join(l.Dir, "vipilot-"+commit)
	return binary, build(ctx, source, ".", binary, "-ldflags", "-X main.version="+commit)
}

func buildVipilot(ctx context.Context, to string) error {
	if racing() {
		return goBuild(ctx, Source(), ".", to, []string{"CGO_ENABLED=1"}, "-race")
	}
	return build(ctx, Source(), ".", to)
}

func build(ctx context.Context, dir, pkg, to string, flags ...string) error {
	return goBuild(ctx, dir, pkg, to, []string{"CGO_ENABLED=0", "GOCACHE=" + buildCache}, flags...) // see BuildImage
}

func goBuild(ctx context.Context, dir, pkg, to string, env []string, flags ...string) error {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-trimpath", "-o", to}, flags, []string{pkg})...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// StartEcho runs a TCP server outside Docker, as on a virtual machine, that
// answers what it is sent.
func (a *App) StartEcho(port uint16) (*Daemon, error) {
	return a.daemon([]string{fmt.Sprintf("TCP_PORT=%d", port), "PORT=9199"}, a.lab.app)
}

// StartApp runs the application of [Image] outside Docker, at a port.
func (a *App) StartApp(port uint16) (*Daemon, error) {
	return a.daemon([]string{fmt.Sprintf("PORT=%d", port)}, a.lab.app)
}

// SignalEngine sends a signal to the engine, e.g. SIGSTOP to freeze it.
func (a *App) SignalEngine(signal syscall.Signal) error { return a.engine.cmd.Process.Signal(signal) }
