package controller

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/acme"
	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/handover"
	"github.com/vipilot/vipilot/routing/loopback"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/status"
	"github.com/vipilot/vipilot/vrrp"
)

// Options are the node-local settings of a controller.
type Options struct {
	Node     string
	Host     string            // not "": run the reverse proxy of this host; Node is ignored
	Engine   *config.DockerURL // the host's engine as the host itself reaches it; nil = as configured
	Source   Source
	RunDir   string // sockets and generated files; the daemons live from it
	StateDir string // last good configuration and endpoints
	Listen   string // status listener, host:port or unix:PATH; "" = only the socket in RunDir
	// WebhookSecret is what a Git forge signs its webhooks with; "" = none is taken.
	WebhookSecret string
	Token         string // lets TCP clients change state; "" = none may
	// TLS makes the status listener speak TLS; nil = it speaks plain HTTP.
	TLS       *tls.Config
	AttachFRR bool // use the system's FRR, not one of its own
	// Attach* say to drive what somebody else starts on the run directory, see [Launch].
	AttachHAProxy, AttachKeepalived, AttachSentinel bool
	HAProxyUser                                     string // whom HAProxy's workers run as; "" = haproxy, or whoever starts an attached one
	DrainOnEnd                                      bool   // leave in order when the context ends; otherwise leave everything running
	Version                                         string
	Executable                                      string // this program, to start the sentinel
	// Tracer makes a trace of every round; nil = rounds are not traced.
	Tracer trace.Tracer
	Logger *slog.Logger
}

// Socket is the controller's socket below a run directory.
func Socket(runDir string) string { return filepath.Join(runDir, "vipilot.sock") }

// Controller runs one node.
type Controller struct {
	opts  Options
	loop  *loop
	board *status.Board
}

// proxyUser is whom HAProxy's workers run as: the user that HAProxy's package
// makes, unless another is named. Whoever starts a HAProxy that is attached to
// has to let it give root up, so that is done only when asked for.
func proxyUser(opts Options) string {
	if opts.HAProxyUser == "" && !opts.AttachHAProxy {
		return "haproxy"
	}
	return opts.HAProxyUser
}

// New makes a controller and its parts. Nothing is started yet.
func New(opts Options) *Controller {
	board := status.NewBoard()
	sentinel := supervise.Spec{
		Path: opts.Executable, Args: []string{"sentinel", "--run-dir", opts.RunDir},
		Record: filepath.Join(opts.RunDir, "sentinel.json"), Log: filepath.Join(opts.RunDir, "sentinel.log"),
	}
	l := &loop{
		opts: opts, log: opts.Logger, board: board,
		memory:   newMemory(opts.StateDir, opts.Logger),
		proxy:    haproxy.New(haproxy.Options{RunDir: filepath.Join(opts.RunDir, haproxyDir), User: proxyUser(opts), Attach: opts.AttachHAProxy, Logger: opts.Logger.With("component", "haproxy")}),
		election: vrrp.New(vrrp.Options{RunDir: filepath.Join(opts.RunDir, keepalivedDir), Attach: opts.AttachKeepalived, Logger: opts.Logger}),
		router:   remote.NewClient(remote.ClientOptions{RunDir: opts.RunDir, Spec: sentinel, Attach: opts.AttachSentinel, Logger: opts.Logger}),
		authority: acme.New(acme.Options{StateDir: filepath.Join(opts.StateDir, "acme"), Socket: filepath.Join(haproxy.Sockets(filepath.Join(opts.RunDir, haproxyDir)), challengeSocket),
			Logger: opts.Logger.With("component", "acme")}),
		addresses: loopback.New(filepath.Join(opts.RunDir, "loopback.json")),
		handing:   handing{connections: handover.New(opts.Logger), roles: make(map[string]vrrp.Role)},
		newSource: dockerSource(opts.Logger),
		askStatus: askStatus,
		askComes:  handover.AskReady,
		inbox:     make(chan event, inboxSize),
		offers:    make(chan struct{}, 1),
		bearings:  make(chan struct{}, 1),
		in: Input{
			Node: opts.Node, RunDir: opts.RunDir, FRR: routing.FRR{Attach: opts.AttachFRR}, Hosts: make(map[string]discovery.Snapshot), Answered: make(map[string]*Answers),
		},
		sources: make(map[string]source),
		waiting: make(map[string]bool),
		applied: applied{carries: true},
		steps:   status.NewSteps(),
	}
	if opts.Host != "" {
		l.becomeTier()
	}
	l.askWord = l.askNodeWord
	l.trace(opts.Tracer)
	return &Controller{opts: opts, loop: l, board: board}
}

// Run serves until ctx ends, then leaves as Options say. An error means that
// it could not start: another controller on the run directory, a listener
// that cannot be had, or a first configuration with faults ([config.Faults]).
func (c *Controller) Run(ctx context.Context) error {
	for _, dir := range []string{c.opts.RunDir, c.opts.StateDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	unlock, err := lock(filepath.Join(c.opts.RunDir, "controller.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := takeRunDir(c.opts.RunDir, c.opts.Version); err != nil {
		return err
	}
	if err := c.loop.readCertificate(); err != nil {
		return err
	}
	if err := c.loop.recall(ctx); err != nil {
		return err
	}
	if c.loop.handing.connections != nil {
		if err := c.loop.handing.Reset(); err != nil {
			c.opts.Logger.Warn("remove a hand-over that a controller before left", "err", err)
		}
	}
	listeners, err := c.listen()
	if err != nil {
		return err
	}
	// The parts outlive ctx by the time that leaving takes.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	group, life := errgroup.WithContext(life)
	c.serve(group, life, listeners)
	group.Go(func() error { return c.loop.proxy.Run(life) })
	group.Go(func() error { return c.loop.election.Run(life) })
	group.Go(func() error { return c.loop.router.Run(life) })
	group.Go(func() error { return c.loop.authority.Run(life) })
	group.Go(func() error { c.loop.memory.run(life); return nil })
	group.Go(func() error { return c.loop.listenToParts(life) })
	group.Go(func() error { return c.loop.followConfig(ctx) })
	group.Go(func() error { return c.loop.askOthers(ctx) })
	group.Go(func() error { return c.loop.watchNodes(ctx) })
	group.Go(func() error { return c.loop.watchFit(ctx) })
	group.Go(func() error {
		defer end()
		until, stop := context.WithCancel(ctx)
		defer stop()
		context.AfterFunc(life, stop) // a part that failed ends the loop too
		if err := c.loop.run(until); err != nil || life.Err() != nil {
			return err
		}
		if c.opts.DrainOnEnd {
			err := c.loop.leave(life)
			if o := c.opts; err != nil || o.AttachHAProxy || o.AttachKeepalived || o.AttachSentinel {
				return err // something runs on
			}
			return leaveRunDir(c.opts.RunDir)
		}
		c.opts.Logger.Info("leaving everything running")
		return nil
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// lock keeps a second controller away from the run directory.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock run directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another controller uses %s; give each its own --run-dir and --state-dir", filepath.Dir(name))
	}
	return func() { f.Close() }, nil
}

// recall reads the state directory and the configuration. Where nothing was in
// force before, the source's must be valid; otherwise it comes into force like
// any new revision, once the last good one is again: it may be one that a
// daemon refuses, and that must not cost more after a restart than before.
func (l *loop) recall(ctx context.Context) error {
	if err := l.memory.loadEndpoints(&l.in); err != nil {
		l.log.Warn("remembered endpoints", "err", err)
	}
	if err := l.memory.loadDrains(&l.in); err != nil {
		l.log.Warn("remembered drains", "err", err)
	}
	last := l.lastGood()
	cfg, err := l.ours(l.opts.Source.Load(ctx, last))
	if err == nil {
		_, err = Desire(Input{Node: l.in.Node, Tier: l.in.Tier, Config: cfg})
	}
	switch {
	case err != nil && last == nil:
		return err
	case err != nil:
		l.refuse(cfg, err)
		cfg = last
	case last != nil && last.Revision != cfg.Revision:
		l.newest.Store(cfg)
		if why, canaries := l.rollout.consider(last, cfg, l.in.Node); why != "" {
			l.hold(ctx, cfg, why, canaries)
		} else {
			l.fresh = cfg
		}
		cfg = last
	}
	for _, w := range cfg.Warnings {
		l.log.Warn("configuration", "warning", w.String())
	}
	if l.rollout.trial, err = l.loadTrial(cfg); err != nil {
		l.log.Warn("remembered revision on trial", "err", err)
	}
	l.in.Config = cfg
	l.newest.CompareAndSwap(nil, cfg)
	if serving, ok := l.proxy.Predecessor(ctx); ok { // do not act on half a picture
		l.log.Info("adopting what a predecessor left", "servers", len(serving))
		l.inherited = serving
		for _, h := range cfg.Hosts {
			l.waiting[h.Name] = true
		}
	} else {
		l.arrival.boot = true
	}
	return nil
}

// lastGood is the configuration that was in force when the last controller
// ended, nil when there is none that this node can run.
func (l *loop) lastGood() *config.Config {
	bad, err := l.memory.loadBad()
	if err != nil {
		l.log.Warn("remembered bad revision", "err", err)
	}
	l.rollout.bad = bad
	last, err := l.ours(l.memory.loadConfig())
	if err != nil {
		l.log.Warn("last good configuration", "err", err)
	}
	if last != nil {
		if _, err := Desire(Input{Node: l.in.Node, Tier: l.in.Tier, Config: last}); err != nil {
			l.log.Warn("last good configuration", "err", err)
			return nil
		}
	}
	return last
}

// listen opens the socket in the run directory and the status listener.
func (c *Controller) listen() ([]net.Listener, error) {
	socket, err := status.Listen("unix:" + Socket(c.opts.RunDir))
	if err != nil {
		return nil, err
	}
	if c.opts.Listen == "" {
		return []net.Listener{socket}, nil
	}
	public, err := status.Listen(c.opts.Listen)
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("%w; choose another --listen", err)
	}
	if c.opts.TLS != nil {
		public = tls.NewListener(public, c.opts.TLS)
	}
	return []net.Listener{socket, public}, nil
}

// serve answers on the listeners; the first is the trusted one.
func (c *Controller) serve(group *errgroup.Group, ctx context.Context, listeners []net.Listener) {
	server := status.NewServer(status.ServerOptions{
		Board: c.board, Logger: c.opts.Logger, Token: c.opts.Token, Version: c.opts.Version, Sync: c.loop.sync, Poke: c.poke(ctx), WebhookSecret: c.opts.WebhookSecret, Explain: c.loop.explain,
		Actions: map[string]http.Handler{"drain": http.HandlerFunc(c.loop.serveDrain)}, Plan: c.loop.planFor, Approve: c.loop.approve,
		Traffic: c.loop.traffic, Export: c.loop.proxy.Export,
		Extra: []prometheus.Collector{c.loop.steps.Metrics()},
	})
	for i, listener := range listeners {
		group.Go(func() error { return server.Serve(ctx, listener, i == 0) })
	}
}

// listenToParts turns what the appliers say into events.
func (l *loop) listenToParts(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.proxy.Health():
			l.send(ctx, event{cause: "haproxy reports", fold: func() {}})
		case <-l.election.Balanced():
			l.send(ctx, event{cause: "UDP servers", fold: func() {}})
		case r := <-l.election.Roles():
			l.send(ctx, event{cause: fmt.Sprintf("vrrp %s is %s", r.Instance, cmp.Or(r.Role, "unknown")), fold: func() { l.moved(ctx, r) }})
		case <-l.authority.Changes():
			l.send(ctx, event{cause: "certificates", fold: l.takeCertificates})
		case <-l.router.Changes():
			l.send(ctx, event{cause: "sentinel reports", fold: func() {}})
		}
	}
}

// filesInForce names the files of the newest configuration, so that those
// outside its directory are followed too. Any goroutine may ask.
func (l *loop) filesInForce() []string {
	cfg := l.newest.Load()
	if cfg == nil {
		return nil
	}
	return slices.AppendSeq(slices.Clone(cfg.Dirs), maps.Keys(cfg.Files))
}

// followConfig loads the source whenever it changes.
func (l *loop) followConfig(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				l.load(ctx, "configuration changed", nil)
			}
		}
	}()
	return l.opts.Source.Follow(ctx, changed, l.filesInForce)
}

// load reads the source and offers it to the loop; done, when not nil, is
// closed after it was folded in.
func (l *loop) load(ctx context.Context, cause string, done chan<- error) {
	cfg, err := l.ours(l.opts.Source.Load(ctx, l.newest.Load()))
	l.send(ctx, event{cause: cause, fold: func() {
		l.offer(ctx, cfg, err)
		if done != nil {
			done <- err
		}
	}})
}

// poke asks for a look at the source, of which any number in a row are one.
func (c *Controller) poke(ctx context.Context) func() {
	if source, ok := c.opts.Source.(interface{ Poke() }); ok {
		return source.Poke
	}
	return func() { go c.loop.load(ctx, "webhook", nil) } // a directory: reading it is cheap, and hooks are few
}

// sync looks for a newer revision now and waits until the loop has taken it.
func (l *loop) sync(ctx context.Context) error {
	if err := l.opts.Source.Sync(ctx); err != nil {
		l.send(ctx, event{cause: "sync", fold: func() {}}) // the report shows the fault
		return err
	}
	done := make(chan error, 1)
	l.load(ctx, "sync", done)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
