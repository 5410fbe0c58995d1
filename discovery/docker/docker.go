// Package docker watches one Docker engine and sends what it runs as
// [discovery.Snapshot] values. It only reads. Three parts share the work: a
// [session] talks to the engine and tells facts, one goroutine (the keeper in
// [Engine.Run]) folds them, and the view under it is the containers by id.
//
//	engine, err := docker.New(docker.Options{Host: "app1", URL: "unix:///run/docker.sock"})
//	...
//	err = engine.Run(ctx, snapshots)
package docker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/docker/docker/client"

	"github.com/vipilot/vipilot/discovery"
)

// Options say which engine to watch and how.
type Options struct {
	Host       string      // its name in the configuration
	URL        string      // unix:///path, tcp://host:port or ssh://user@host[:port]
	TLS        *tls.Config // for tcp; nil: without TLS
	SSH        string      // the ssh program; default "ssh"
	Logger     *slog.Logger
	Relist     time.Duration         // how often everything is compared; default 30s
	Ping       time.Duration         // silence after which the engine is asked for life; default 10s
	Timeout    time.Duration         // deadline of a ping and of a dial, five times this of any other call; default 3s
	Remembered []discovery.Container // what the engine ran when it was last seen, sent as stale until it answers

	Swarm           bool             // the engine is a manager: watch its Swarm too
	SwarmPoll       time.Duration    // how often the tasks are looked at, at the least; default 1s
	RememberedSwarm *discovery.Swarm // like Remembered

	most allowance // of an answer; tests ask for less
}

// Engine watches one Docker engine. It is a [discovery.Source].
type Engine struct {
	opts Options
	url  *url.URL // its Host is the socket's path for unix
	ssh  *sshDialer
	log  *slog.Logger

	manager *manager // nil unless Options.Swarm
}

var _ discovery.Source = (*Engine)(nil)

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
	patience   = time.Second // after which what is remembered is sent, though the engine may still answer
)

// errNoAnswer stands in a snapshot until the first attempt has an outcome.
var errNoAnswer = errors.New("the engine has not answered yet")

// New checks opts; it does not connect.
func New(opts Options) (*Engine, error) {
	e := &Engine{opts: opts}
	if err := e.parseURL(); err != nil {
		return nil, fmt.Errorf("watch docker engine of host %s: url %q %w", opts.Host, opts.URL, err)
	}
	if opts.Relist <= 0 {
		e.opts.Relist = 30 * time.Second
	}
	if opts.Ping <= 0 {
		e.opts.Ping = 10 * time.Second
	}
	if opts.Timeout <= 0 {
		e.opts.Timeout = 3 * time.Second
	}
	if opts.most == (allowance{}) {
		e.opts.most = allowance{bytes: maxAnswer, cost: maxCost}
	}
	if opts.Swarm {
		e.manager = newManager(cmp.Or(max(opts.SwarmPoll, 0), time.Second), opts.RememberedSwarm)
	}
	if opts.Logger == nil {
		e.opts.Logger = slog.New(slog.DiscardHandler)
	}
	e.log = e.opts.Logger.With("component", "docker", "host", opts.Host)
	return e, nil
}

func (e *Engine) parseURL() (err error) {
	if strings.HasPrefix(e.opts.URL, "ssh://") {
		if e.url, err = url.Parse(e.opts.URL); err != nil {
			return errors.New("is not ssh://user@host[:port]")
		}
		e.ssh, err = newSSHDialer(cmp.Or(e.opts.SSH, "ssh"), e.url)
		return err
	}
	e.url, err = client.ParseHostURL(e.opts.URL)
	switch {
	case err != nil:
		return err
	case e.url.Scheme != "unix" && e.url.Scheme != "tcp":
		return errors.New("has a scheme other than unix, tcp and ssh")
	case e.url.Host == "":
		return errors.New("names no engine; write unix:///path, tcp://host:port or ssh://user@host")
	}
	return nil
}

// Run watches the engine until ctx ends, then returns nil. A slow consumer
// misses snapshots, never the newest one.
func (e *Engine) Run(ctx context.Context, out chan<- discovery.Snapshot) error {
	ctx, cancel := context.WithCancel(ctx)
	k := newKeeper(e.opts.Host, e.log, e.opts.Remembered)
	k.swarm = e.opts.RememberedSwarm
	facts := make(chan fact)
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.follow(ctx, facts)
	}()
	defer func() { cancel(); <-done }()

	early := time.NewTimer(patience)
	defer early.Stop()
	for {
		send, next := out, discovery.Snapshot{}
		if k.next == nil {
			send = nil
		} else {
			next = *k.next
		}
		select {
		case <-ctx.Done():
			return nil
		case f := <-facts:
			f(k)
		case send <- next:
			k.next = nil
		case <-early.C:
			k.unanswered()
		}
	}
}

// follow keeps a session with the engine, for ever, and tells when it is lost.
func (e *Engine) follow(ctx context.Context, facts chan<- fact) {
	wait, since := backoffMin, ""
	for ctx.Err() == nil {
		began := time.Now()
		listed, err := e.converse(ctx, facts, &since)
		if ctx.Err() != nil {
			return
		}
		err = e.explain(err)
		tell(ctx, facts, func(k *keeper) { k.lost(err) })
		if listed && time.Since(began) > wait {
			wait = backoffMin // it was a success, not one of a row of short ones
		}
		pause(ctx, wait)
		wait = min(2*wait, backoffMax)
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
