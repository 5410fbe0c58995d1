package controller

import (
	"context"
	"io"
	"net/netip"

	"github.com/vipilot/vipilot/acme"
	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/vrrp"
)

// The appliers as the loop sees them. Set takes the whole wanted state and
// compares before it acts; Run does what must go on between rounds and never
// stops the daemon; Close ends the daemon in order.
type (
	proxy interface {
		Set(ctx context.Context, want haproxy.Config) (haproxy.Change, error)
		Run(ctx context.Context) error
		Predecessor(ctx context.Context) (ready map[haproxy.ServerKey]haproxy.Health, ok bool)
		Health() <-chan struct{}
		Servers() haproxy.Verdicts
		Status() haproxy.Status
		Sessions(ctx context.Context, backend string) (map[string]int, error)
		CheckResults(ctx context.Context, backend string) (map[string]haproxy.CheckResult, error)
		Traffic(ctx context.Context, backend string) (whole haproxy.Traffic, servers map[string]haproxy.Traffic, err error)
		Export(ctx context.Context, w io.Writer, servers bool) error
		Close(ctx context.Context) error
	}
	election interface {
		Set(ctx context.Context, want vrrp.Config) (changed bool, err error)
		Run(ctx context.Context) error
		Roles() <-chan vrrp.RoleChange
		Role(instance string) vrrp.Role
		Status() vrrp.Status
		Balance() vrrp.Balance
		Balanced() <-chan struct{}
		Close(ctx context.Context) error
	}
	router interface {
		Set(ctx context.Context, want remote.Want) (changed bool, err error)
		Run(ctx context.Context) error
		Changes() <-chan struct{}
		State() (remote.State, bool)
		Status() remote.Status
		Replace(ctx context.Context) error
		Close(ctx context.Context) error
	}
	authority interface {
		Set(want []acme.Order) error
		Open()
		Run(ctx context.Context) error
		Changes() <-chan struct{}
		Certificates() map[acme.Key]acme.Certificate
	}
	addresses interface {
		Set(ctx context.Context, want []netip.Addr) (changed bool, err error)
		Close() error
	}
)

// Source is where revisions come from: [config.Dir], or a Git repository.
type Source interface {
	// Load gives the newest revision that is known; see [config.LoadOver]. With
	// an error it may tell which revision has the faults, and nothing else of it.
	Load(ctx context.Context, inForce *config.Config) (*config.Config, error)
	// Sync looks for a newer one now; an error says why none could be had.
	Sync(ctx context.Context) error
	// Follow sends on changed, without waiting, whenever Load or Fault may have
	// another answer, until ctx ends; outside lists the files of the newest revision.
	Follow(ctx context.Context, changed chan<- struct{}, outside func() []string) error
	// Fault says why Load may not know the newest revision; nil = it does.
	Fault() error
}

// newSource makes the watcher of one host; last is what is known from before,
// sent as stale until the engine answers.
type newSource func(host config.Host, last discovery.Snapshot) (discovery.Source, error)
