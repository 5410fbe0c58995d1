package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	"golang.org/x/sync/errgroup"

	"github.com/vipilot/vipilot/internal/rhythm"
)

const (
	oldestAPI  = "1.24"          // what the client library still speaks
	parallel   = 4               // inspections at once: more cost connections, of hundreds of engines together, and are not sooner done
	idleSlack  = 5 * time.Second // beyond a ping, after which only the connection for pings is left: of hundreds of engines each counts
	longFactor = 5               // a call that may wait for a container's lock, against a ping
)

// fact is something learned from the engine, told to the one goroutine that
// owns the keeper.
type fact func(*keeper)

func tell(ctx context.Context, facts chan<- fact, f fact) {
	select {
	case facts <- f:
	case <-ctx.Done():
	}
}

// session is one conversation with an engine: from the first ping to the first
// sign that the engine is gone. A new one negotiates the API anew, because the
// engine may have been upgraded meanwhile.
type session struct {
	api     *client.Client
	plain   *http.Client // the same connections, for what is asked thousands of times: api traces every request
	facts   chan<- fact
	base    string // of URLs
	timeout time.Duration
	most    allowance // of an answer
	slots   chan struct{}
	began   time.Time
	heard   atomic.Int64 // the last sign of life, as a duration since began: the wall clock may jump meanwhile
	buffers sync.Pool    // of answers

	mu      sync.Mutex
	drivers map[string]string // by network id
}

// converse holds one session: subscribe first, then list, so that nothing falls
// between the two. It returns why it ended, and whether it had come as far as a
// list. since is where the next session's events begin.
func (e *Engine) converse(ctx context.Context, facts chan<- fact, since *string) (listed bool, err error) {
	api, plain, err := e.dial()
	if err != nil {
		return false, err
	}
	defer api.Close()
	s := &session{api: api, plain: plain, facts: facts, base: "http://docker", timeout: e.opts.Timeout, most: e.opts.most, slots: make(chan struct{}, parallel), began: time.Now()}
	if e.url.Scheme != "unix" {
		s.base = "http://" + e.url.Host
	}
	if e.opts.TLS != nil {
		s.base = "https://" + e.url.Host
	}
	if err := s.greet(ctx, e.greetingTime()); err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	stream, failed, err := s.subscribe(ctx, *since)
	if err != nil {
		return false, err
	}
	tell(ctx, facts, func(k *keeper) { k.connected(s) })
	if e.manager != nil {
		stream, failed, err := e.manager.begin(ctx, s)
		if err != nil {
			return false, err
		}
		g.Go(func() error { return e.manager.follow(ctx, stream, failed) })
	}
	s.learnNode(ctx)
	if err := s.list(ctx, true); err != nil {
		cancel()
		_ = g.Wait() // the list's failure is the one to tell
		return false, err
	}
	g.Go(func() error { return s.forward(ctx, stream, failed, since) })
	g.Go(func() error { return s.relist(ctx, e.opts.Relist) })
	g.Go(func() error { return s.watch(ctx, e.opts.Ping) })
	return true, g.Wait()
}

// greetingTime is how long the first answer of a session may take: ssh has to log
// in before.
func (e *Engine) greetingTime() time.Duration {
	if e.ssh != nil {
		return e.opts.Timeout + sshSetup
	}
	return e.opts.Timeout
}

// dial makes a client, and another one under it; nothing is sent yet. The proxy
// of the environment is meant for the way out, not for engines, and is not used.
func (e *Engine) dial() (*client.Client, *http.Client, error) {
	t := &http.Transport{
		TLSHandshakeTimeout: e.opts.Timeout,
		MaxIdleConnsPerHost: parallel,
		IdleConnTimeout:     e.opts.Ping + idleSlack,
	}
	if e.opts.TLS != nil {
		t.TLSClientConfig = e.opts.TLS.Clone()
	}
	target := e.opts.URL
	if e.ssh != nil {
		target = "tcp://" + e.url.Host
		t.MaxConnsPerHost = sshConnections
	}
	over := &http.Client{Transport: t, CheckRedirect: client.CheckRedirect}
	api, err := client.NewClientWithOpts(
		client.WithHTTPClient(over),
		client.WithHost(target),
		client.WithAPIVersionNegotiation(),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("make docker client: %w", err)
	}
	t.Proxy = nil
	t.DialContext = e.dialDirect
	if e.ssh != nil {
		t.DialContext = e.ssh.dial
	}
	over.Transport = bounded{RoundTripper: over.Transport, most: e.opts.most} // the client library insists on an http.Transport before
	return api, &http.Client{Transport: bounded{RoundTripper: t, most: e.opts.most, later: true}, CheckRedirect: client.CheckRedirect}, nil
}

func (e *Engine) dialDirect(ctx context.Context, _, _ string) (net.Conn, error) {
	// The kernel finds a lost machine in six seconds and costs an idle node
	// nothing; pings are for an engine that hangs on a machine that lives.
	alive := net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 3}
	d := net.Dialer{Timeout: e.opts.Timeout, KeepAliveConfig: alive}
	conn, err := d.DialContext(ctx, e.url.Scheme, e.url.Host)
	if err != nil {
		return nil, &dialError{cause: err}
	}
	return conn, nil
}

// greet pings the engine, agrees on an API version and learns the networks.
func (s *session) greet(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ping, err := s.api.Ping(ctx)
	switch {
	case err != nil:
		return err
	case ping.APIVersion == "":
		return errors.New("what answers there is not a docker engine: its ping names no API version")
	case versions.LessThan(ping.APIVersion, oldestAPI):
		return fmt.Errorf("the engine's API version %.20q is older than %s; upgrade the engine", ping.APIVersion, oldestAPI)
	}
	s.api.NegotiateAPIVersionPing(ping)
	s.sign()
	return s.learnDrivers(ctx)
}

// sign notes a sign of life.
func (s *session) sign() { s.heard.Store(int64(time.Since(s.began))) }

// silence is the time since the last sign of life.
func (s *session) silence() time.Duration { return time.Since(s.began) - time.Duration(s.heard.Load()) }

// subscribe opens the event stream. What matters is filtered by the engine:
// health checks alone would flood it with exec events. `update` is left out, it
// changes only limits and the restart policy.
func (s *session) subscribe(ctx context.Context, since string) (<-chan events.Message, <-chan error, error) {
	f := filters.NewArgs(filters.Arg("type", "container"), filters.Arg("type", "network"))
	for _, name := range []events.Action{
		events.ActionStart, events.ActionKill, events.ActionDie, events.ActionStop, events.ActionDestroy,
		events.ActionPause, events.ActionUnPause, events.ActionRename, events.ActionHealthStatus,
		events.ActionConnect, events.ActionDisconnect,
	} {
		f.Add("event", string(name))
	}
	return s.open(ctx, events.ListOptions{Since: since, Filters: f})
}

// open opens an event stream. It has no deadline, but its beginning has.
func (s *session) open(ctx context.Context, opts events.ListOptions) (<-chan events.Message, <-chan error, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(s.timeout, func() { cancel(fmt.Errorf("open event stream: no answer within %v", s.timeout)) })
	stream, failed := s.api.Events(ctx, opts)
	if !late.Stop() {
		return nil, nil, context.Cause(ctx)
	}
	return stream, failed, nil
}

// forward tells every event and notes where to resume.
func (s *session) forward(ctx context.Context, stream <-chan events.Message, failed <-chan error, since *string) error {
	for {
		select {
		case m := <-stream:
			at := time.Now()
			s.sign()
			if m.TimeNano > 0 {
				*since = fmt.Sprintf("%d.%09d", m.TimeNano/1e9, m.TimeNano%1e9)
			}
			tell(ctx, s.facts, func(k *keeper) { k.event(ctx, m, at) })
		case err := <-failed:
			return fmt.Errorf("event stream ended: %w", err)
		}
	}
}

// list tells everything the engine has. Only the first list of a session is
// full, i.e. makes the keeper inspect what it believes to know.
func (s *session) list(ctx context.Context, full bool) error {
	tell(ctx, s.facts, func(k *keeper) { k.listing() })
	call, cancel := context.WithTimeout(ctx, longFactor*s.timeout)
	defer cancel()
	var all []container.Summary
	if err := s.read(call, "/containers/json", url.Values{"all": {"1"}}, &all); err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	if len(all) > maxListed {
		return fmt.Errorf("list containers: %w (%d containers, %d at the most)", errTooMuch, len(all), maxListed)
	}
	s.sign()
	tell(ctx, s.facts, func(k *keeper) { k.listed(ctx, all, full) })
	return nil
}

// learnNode asks for the engine's name in its Swarm. An engine that does not
// tell, or a socket proxy that forbids the question, is none's node: then the
// end of a task's container is seen by its events alone.
func (s *session) learnNode(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, longFactor*s.timeout)
	defer cancel()
	var info struct {
		Swarm struct {
			NodeID         string
			LocalNodeState swarm.LocalNodeState
		}
	}
	node := ""
	if err := s.read(ctx, "/info", nil, &info); err == nil && info.Swarm.LocalNodeState == swarm.LocalNodeStateActive && swarmID.MatchString(info.Swarm.NodeID) {
		node = info.Swarm.NodeID
	}
	tell(ctx, s.facts, func(k *keeper) { k.isNode(node) })
}

func (s *session) relist(ctx context.Context, every time.Duration) error {
	for {
		if pause(ctx, every); ctx.Err() != nil {
			return ctx.Err()
		}
		s.sign() // the answers will show life: a ping beside them would dial once more
		s.learnNode(ctx)
		if err := s.list(ctx, false); err != nil {
			return err
		}
	}
}

// watch asks a silent engine for a sign of life: an event stream has no
// heartbeat, and a stopped daemon or a lost machine would look like peace.
func (s *session) watch(ctx context.Context, every time.Duration) error {
	for {
		if pause(ctx, rhythm.Next(every)); ctx.Err() != nil {
			return ctx.Err()
		}
		if s.silence() < every/4 {
			continue
		}
		call, cancel := context.WithTimeout(ctx, s.timeout)
		err := s.ping(call)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("the engine hangs: no answer to a ping within %v", s.timeout)
		}
		if err != nil {
			return fmt.Errorf("ping: %w", err)
		}
		s.sign()
	}
}

// inspect asks for one container and tells the answer under the number n.
func (s *session) inspect(ctx context.Context, id string, n uint64, cause string) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	r, err := s.ask(ctx, id)
	<-s.slots
	tell(ctx, s.facts, func(k *keeper) { k.inspected(id, n, r, err, cause) })
}

func (s *session) ask(ctx context.Context, id string) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, longFactor*s.timeout)
	defer cancel()
	in, err := s.inspectContainer(ctx, id)
	if err != nil {
		return record{}, fmt.Errorf("inspect container %.12s: %w", id, err)
	}
	s.sign()
	if in.ID != "" && in.ID != id {
		return record{}, fmt.Errorf("inspect container %.12s: the engine answers about another container, %.70q", id, in.ID)
	}
	drivers, complete := s.driversOf(in)
	if !complete {
		if err := s.learnDrivers(ctx); err != nil {
			return record{}, err
		}
		drivers, _ = s.driversOf(in)
	}
	c, err := fromInspect(in, drivers)
	if err != nil {
		return record{}, err
	}
	return newRecord(c, in.Config.StopSignal, in.Config.StopTimeout), nil
}

// driversOf gives the drivers of a container's networks, by network id, and
// whether all are known.
func (s *session) driversOf(in inspection) (map[string]string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	drivers, complete := map[string]string{}, true
	if in.NetworkSettings == nil {
		return drivers, true
	}
	for _, n := range in.NetworkSettings.Networks {
		if n == nil || n.NetworkID == "" {
			continue
		}
		driver, ok := s.drivers[n.NetworkID]
		complete = complete && ok
		drivers[n.NetworkID] = driver
	}
	return drivers, complete
}

// learnDrivers asks which driver each network has: a container does not say.
func (s *session) learnDrivers(ctx context.Context) error {
	all, err := s.api.NetworkList(ctx, network.ListOptions{})
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	drivers := make(map[string]string, len(all))
	for _, n := range all {
		drivers[n.ID] = n.Driver
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drivers = drivers
	return nil
}
