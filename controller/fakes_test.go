package controller

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/routing/handover"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/status"
	"github.com/vipilot/vipilot/vrrp"
)

// node is a small load-balancer node: what its daemons would do, as state.
// It fails the test when an invariant breaks: a prefix wanted announced whose
// address no frontend binds, or a step on a daemon that is closed.
type node struct {
	t  *testing.T
	mu sync.Mutex

	frontends []haproxy.Frontend
	servers   map[haproxy.ServerKey]haproxy.ServerState
	health    map[haproxy.ServerKey]haproxy.Health
	reloads   int
	spacing   time.Duration // of reloads
	reloaded  time.Time
	broken    error  // what HAProxy says of any new structure
	unwanted  string // a frontend that HAProxy refuses
	taken     string // a frontend whose port another program has
	started   bool

	instances []string
	virtual   []vrrp.VirtualServer
	balance   vrrp.Balance
	yields    bool // keepalived yields
	relief    bool // another node is there to take over
	deaf      bool // no router hears the node
	relieved  []string
	closing   bool // HAProxy asks clients to reconnect
	loopback  []netip.Addr
	want      remote.Want
	closed    []string // daemons closed, in order
	build     string   // of the sentinel
	stays     string   // why it cannot be replaced
	adopted   bool     // another controller started it
	replaced  int
	stubborn  string // what it says to being replaced

	pokes  chan struct{}
	roles  chan vrrp.RoleChange
	routed chan struct{}
}

func newNode(t *testing.T) *node {
	return &node{
		t: t, servers: make(map[haproxy.ServerKey]haproxy.ServerState), health: make(map[haproxy.ServerKey]haproxy.Health),
		pokes: make(chan struct{}, 1), roles: make(chan vrrp.RoleChange), routed: make(chan struct{}, 1),
	}
}

type fakeProxy struct{ *node }

func (f fakeProxy) Set(_ context.Context, want haproxy.Config) (haproxy.Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range want.Frontends {
		if one.Name == f.taken {
			return haproxy.Change{Kind: haproxy.None}, &haproxy.TakenError{Frontend: one.Name, Err: errors.New("address already in use")}
		}
		if one.Name == f.unwanted {
			return haproxy.Change{Kind: haproxy.None}, errors.New("haproxy says no")
		}
	}
	structure := len(want.Frontends) != len(f.frontends)
	if structure && f.broken != nil {
		return haproxy.Change{Kind: haproxy.None}, f.broken
	}
	if wait := f.spacing - time.Since(f.reloaded); structure && wait > 0 {
		return haproxy.Change{Kind: haproxy.None, Cause: "structure", Retry: wait}, nil
	}
	change := haproxy.Change{Kind: haproxy.None}
	fresh := make(map[haproxy.ServerKey]haproxy.ServerState)
	for _, b := range want.Backends {
		for _, s := range b.Servers {
			key := haproxy.ServerKey{Backend: b.Name, Server: s.Name}
			fresh[key] = s.State
			if f.servers[key] != s.State {
				change.Kind = haproxy.Runtime
			}
		}
	}
	if len(fresh) != len(f.servers) {
		change.Kind = haproxy.Runtime
	}
	if structure {
		change.Kind = haproxy.Reload
		f.reloads++
		f.reloaded = time.Now()
	}
	f.servers, f.frontends, f.started, f.closing = fresh, want.Frontends, true, want.Closing
	return change, nil
}

func (f fakeProxy) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (f fakeProxy) Health() <-chan struct{}       { return f.pokes }
func (f fakeProxy) Servers() haproxy.Verdicts     { return haproxy.NewVerdicts(f.verdicts()) }

func (f fakeProxy) verdicts() map[haproxy.ServerKey]haproxy.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	copied := make(map[haproxy.ServerKey]haproxy.Health)
	for key := range f.servers {
		copied[key] = haproxy.Up
		if h, ok := f.health[key]; ok {
			copied[key] = h
		}
	}
	return copied
}

func (f fakeProxy) Sessions(context.Context, string) (map[string]int, error) { return nil, nil }

func (f fakeProxy) Predecessor(context.Context) (map[haproxy.ServerKey]haproxy.Health, bool) {
	return nil, false
}

func (f fakeProxy) Status() haproxy.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return haproxy.Status{Running: f.started, PID: 100, Reloads: f.reloads}
}
func (f fakeProxy) Close(context.Context) error { return f.close("haproxy") }

type fakeElection struct{ *node }

func (f fakeElection) Set(_ context.Context, want vrrp.Config) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started {
		f.t.Error("keepalived was configured before HAProxy serves")
	}
	f.instances, f.yields, f.virtual = nil, want.Yield, want.Virtual
	f.relieved = nil
	for _, i := range want.Instances {
		f.instances = append(f.instances, i.Name)
		if i.Relieved {
			f.relieved = append(f.relieved, i.Name)
		}
	}
	return false, nil
}
func (f fakeElection) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (f fakeElection) Roles() <-chan vrrp.RoleChange { return f.roles }
func (f fakeElection) Role(string) vrrp.Role {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.yields && f.relief {
		return vrrp.Backup
	}
	return vrrp.Master
}
func (f fakeElection) Status() vrrp.Status         { return vrrp.Status{Running: true, PID: 200} }
func (f fakeElection) Balance() vrrp.Balance       { f.mu.Lock(); defer f.mu.Unlock(); return f.balance }
func (f fakeElection) Balanced() <-chan struct{}   { return nil }
func (f fakeElection) Close(context.Context) error { return f.close("keepalived") }

type fakeRouter struct{ *node }

func (f fakeRouter) Set(_ context.Context, want remote.Want) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range want.Routing.Prefixes {
		if !f.binds(p.Prefix.Addr()) {
			f.t.Errorf("%s announced, but no frontend binds it", p.Prefix)
		}
	}
	f.want = want
	return true, nil
}

func (n *node) binds(a netip.Addr) bool {
	if slices.ContainsFunc(n.virtual, func(v vrrp.VirtualServer) bool { return v.Service != "" }) && len(n.balance.Weights) > 0 {
		return true // the kernel does
	}
	for _, frontend := range n.frontends {
		for _, b := range frontend.Binds {
			if b.Address == a {
				return true
			}
		}
	}
	return false
}
func (f fakeRouter) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (f fakeRouter) Changes() <-chan struct{}      { return f.routed }
func (f fakeRouter) State() (remote.State, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := remote.State{PID: 300, HAProxyUp: true, Build: f.build, Stays: f.stays, Deaf: f.deaf}
	for _, p := range f.want.Routing.Prefixes {
		if p.WhileHeld && f.yields && f.relief && !slices.Contains(f.loopback, p.Prefix.Addr()) {
			continue
		}
		s.Announced = append(s.Announced, p.Prefix)
		s.Held = append(s.Held, p.Prefix.Addr())
	}
	return s, true
}
func (f fakeRouter) Status() remote.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return remote.Status{Running: true, PID: 300, Adopted: f.adopted}
}
func (f fakeRouter) Replace(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replaced++
	if f.stubborn != "" {
		return errors.New(f.stubborn)
	}
	f.build, f.adopted = "new", false
	return nil
}
func (f fakeRouter) Close(context.Context) error { return f.close("sentinel") }

type fakeAddresses struct{ *node }

func (f fakeAddresses) Set(_ context.Context, want []netip.Addr) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loopback = want
	return false, nil
}
func (f fakeAddresses) Close() error { return f.close("addresses") }

// close checks the order of leaving: nothing may end while it is announced.
func (n *node) close(what string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.want.Routing.Prefixes) > 0 {
		n.t.Errorf("%s ends while %d prefixes are announced", what, len(n.want.Routing.Prefixes))
	}
	n.closed = append(n.closed, what)
	return nil
}

// engine is a host's watcher whose snapshots the test sends.
type engine struct{ snapshots chan discovery.Snapshot }

func (e engine) Run(ctx context.Context, out chan<- discovery.Snapshot) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-e.snapshots:
			select {
			case out <- s:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// testLoop is a loop on a fake node, with an engine for each host.
func testLoop(t *testing.T, n *node, cfg *config.Config) (*loop, map[string]engine) {
	engines := map[string]engine{
		"app1": {make(chan discovery.Snapshot)},
		"app2": {make(chan discovery.Snapshot)},
	}
	log := slog.New(slog.DiscardHandler)
	l := &loop{
		opts: Options{Node: "lb1", RunDir: t.TempDir(), StateDir: t.TempDir()}, log: log, board: status.NewBoard(),
		memory: newMemory(t.TempDir(), log),
		proxy:  fakeProxy{n}, election: fakeElection{n}, router: fakeRouter{n}, addresses: fakeAddresses{n}, authority: idleAuthority{},
		newSource: func(h config.Host, _ discovery.Snapshot) (discovery.Source, error) {
			if e, ok := engines[h.Name]; ok {
				return e, nil
			}
			return nil, errors.New("no such engine")
		},
		inbox: make(chan event, inboxSize), bearings: make(chan struct{}, 1),
		in: Input{
			Node: "lb1", Config: cfg, Hosts: make(map[string]discovery.Snapshot), Answered: make(map[string]*Answers),
		},
		askWord: func(context.Context, config.Node) (handover.Word, error) {
			return handover.Word{}, errors.New("nobody there")
		},
		sources: make(map[string]source), waiting: make(map[string]bool),
	}
	return l, engines
}

// server finds the one server of a service's backend.
func (n *node) server(service string) (haproxy.ServerKey, haproxy.ServerState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, state := range n.servers {
		if key.Backend == service {
			return key, state
		}
	}
	return haproxy.ServerKey{}, ""
}

func (n *node) announced() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.want.Routing.Prefixes)
}
