// Package lab builds a small data centre on one machine: a client, an upstream
// router (FRR), a switch, two load-balancer nodes that run the real vipilot,
// HAProxy and keepalived, and two application hosts with a real dockerd each.
// A host is a set of namespaces (network, mount, process, host name) with a
// private /run, held by its first process; it has no name outside the lab, and
// the kernel ends it with the lab's own process, however that dies. What then
// remains, a directory and some control groups, is removed by [Sweep].
//
// It fakes nothing, and it decides nothing about pass or fail: the scenarios,
// the demo and the benchmarks do.
//
//	l, err := lab.New(ctx, lab.Options{})
//	defer l.Close()
//	l.App1.Run(ctx, lab.Container{Name: "web-1", Labels: …, Publish: 8080})
//	l.LB1.StartVipilot(ctx)
//	l.Client.HTTPClient(time.Second, true).Get("http://203.0.113.10/")
package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// The lab's addresses.
const (
	ClientAddress = "198.18.0.2"
	RouterAddress = "10.77.0.1"
	RouterASN     = 65000
	NodeASN       = 65010
	VIP           = "203.0.113.10"
	VIP6          = "2001:db8::10"
	StatusAddress = "127.0.0.1:9890" // on each node
)

// Options say how a lab is built; the zero value is a good one.
type Options struct {
	Kind        string // what it is for, e.g. "demo"; part of its directory's name, default "test"
	Binary      string // vipilot; built from this source when empty
	BGPPassword string // of every BGP session
	TTLSecurity bool   // on every BGP session (RFC 5082)
	Log         *slog.Logger
}

// Lab is a running data centre.
type Lab struct {
	Client   *Host
	Router   *Router
	LB1, LB2 *Node
	App1     *App
	App2     *App

	// Dir holds everything the lab writes: logs, Docker's data, the
	// configuration repository (Dir/repo).
	Dir string

	opts    Options
	id      string // marks processes (environment) and control groups
	vipilot string
	app     string // the application's binary
	network *network
	extra   *App // a third application host, while a scenario needs one
}

// New builds a lab and returns when all its daemons answer. It first sweeps
// what dead labs left. Close the lab also after ctx has ended.
func New(ctx context.Context, opts Options) (*Lab, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	l, err := claim(opts)
	if err != nil {
		return nil, err
	}
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("build the lab: %w", err), l.Close())
	}
	return l, nil
}

// claim sweeps what dead labs left and makes the directory of a new one.
func claim(opts Options) (*Lab, error) {
	if opts.Kind == "" {
		opts.Kind = "test"
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := Sweep(); err != nil {
		opts.Log.Warn("sweep leftovers of earlier labs", "err", err)
	}
	l := &Lab{opts: opts}
	return l, l.claimDir()
}

// build makes binaries, hosts and daemons; what fails is undone by Close.
func (l *Lab) build(ctx context.Context) error {
	if err := l.binaries(ctx); err != nil {
		return err
	}
	l.network = newNetwork(l.host("switch"))
	l.Client = l.host("client")
	l.Router = &Router{Host: l.host("router", "/etc/frr", "/etc/bird"), running: make(map[string]*Daemon)}
	l.LB1, l.LB2 = l.node("lb1"), l.node("lb2")
	l.App1, l.App2 = l.application("app1"), l.application("app2")
	for _, h := range l.hosts() {
		if err := h.powerOn(); err != nil {
			return err
		}
	}
	if err := l.network.connect(ctx, l); err != nil {
		return err
	}
	if err := l.writePKI(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.Router.start(ctx, l.opts) })
	for _, app := range l.Apps() {
		group.Go(func() error { return app.StartEngine(ctx) })
	}
	return group.Wait()
}

// Nodes are the load-balancer nodes.
func (l *Lab) Nodes() []*Node { return []*Node{l.LB1, l.LB2} }

// StartVipilot starts the controller of every node, with the same flags.
func (l *Lab) StartVipilot(ctx context.Context, flags ...string) error {
	for _, n := range l.Nodes() {
		if err := n.StartVipilot(ctx, flags...); err != nil {
			return err
		}
	}
	return nil
}

// Apps are the application hosts.
func (l *Lab) Apps() []*App { return []*App{l.App1, l.App2} }

// hosts are all that exist, the switch first.
func (l *Lab) hosts() []*Host {
	switch {
	case l.App2 == nil && l.LB1 == nil:
		return nil
	case l.App2 == nil:
		return []*Host{l.LB1.Host}
	}
	return []*Host{l.network.Host, l.Router.Host, l.Client, l.LB1.Host, l.LB2.Host, l.App1.Host, l.App2.Host}
}

// AddApp boots a third application host, app3; RemoveApp ends it.
func (l *Lab) AddApp(ctx context.Context) (*App, error) {
	l.extra = l.application("app3")
	if err := l.extra.powerOn(); err != nil {
		return nil, err
	}
	if err := l.network.plug(ctx, l.extra.Host); err != nil {
		return nil, err
	}
	return l.extra, l.extra.StartEngine(ctx)
}

// RemoveApp switches the third application host off, if there is one.
func (l *Lab) RemoveApp() {
	if l.extra == nil {
		return
	}
	if l.extra.Docker != nil {
		_ = l.extra.Docker.Close()
	}
	l.extra.powerOff()
	l.extra = nil
}

func (l *Lab) host(name string, private ...string) *Host {
	env := []string{marker + "=" + l.id, "GORACE=log_path=" + l.raceLog()}
	return &Host{Name: name, dir: filepath.Join(l.Dir, name), env: env, private: private}
}

// Cut takes a host off the network, as a pulled cable does; its processes live on.
func (l *Lab) Cut(ctx context.Context, h *Host) error { return l.network.port(ctx, h, "down") }

// Join plugs the cable in again.
func (l *Lab) Join(ctx context.Context, h *Host) error { return l.network.port(ctx, h, "up") }

// PowerOff makes a node vanish: no packet leaves it any more, then every
// process of it is gone.
func (l *Lab) PowerOff(ctx context.Context, n *Node) error {
	err := l.network.port(ctx, n.Host, "down")
	n.powerOff()
	return err
}

// PowerOn boots a node that was powered off: connected, nothing running on it.
func (l *Lab) PowerOn(ctx context.Context, n *Node) error {
	if err := n.powerOn(); err != nil {
		return err
	}
	return l.network.plug(ctx, n.Host)
}

// Reset brings the lab back to its beginning: nodes booted anew with empty
// disks, no route to them, cables in, engines up and without containers.
func (l *Lab) Reset(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range l.Nodes() {
		n.Program = ""
		n.powerOff() // with its cable in: the router sees its sessions end
		n.clock = nil
	}
	if err := l.Router.isEmpty(ctx); err != nil {
		return err
	}
	for _, n := range l.Nodes() {
		if err := errors.Join(n.Forget(), l.PowerOn(ctx, n)); err != nil {
			return err
		}
	}
	for _, app := range l.Apps() {
		if err := l.Join(ctx, app.Host); err != nil {
			return err
		}
		group.Go(func() error {
			if err := errors.Join(app.Tier().end(ctx), app.StartEngine(ctx)); err != nil {
				return err
			}
			return app.Clear(ctx)
		})
	}
	return group.Wait()
}

// Close ends every process of the lab and removes all it made. It may be
// called again.
func (l *Lab) Close() error {
	for _, app := range l.Apps() {
		if app != nil && app.Docker != nil {
			_ = app.Docker.Close()
		}
	}
	l.RemoveApp()
	for _, h := range slices.Backward(l.hosts()) {
		h.powerOff()
	}
	if l.Dir == "" {
		return nil
	}
	err := remove(l.Dir)
	l.opts.Log.Info("lab removed", "dir", l.Dir, "err", err)
	return err
}

// Source is the root of the module's source.
func Source() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Missing names the programs that the lab needs and the machine lacks.
func Missing() error {
	if os.Geteuid() != 0 {
		return errors.New("the lab needs root: it makes network namespaces and runs Docker engines in them")
	}
	return missingPrograms()
}
