package controller

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/vipilot/vipilot/acme"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/vrrp"
)

var discard = slog.New(slog.DiscardHandler)

// The idle appliers take everything and do nothing: for measuring the loop.
type (
	idleProxy     struct{ fakeProxy }
	idleElection  struct{ fakeElection }
	idleRouter    struct{ fakeRouter }
	idleAddresses struct{ fakeAddresses }
)

func (idleProxy) Set(context.Context, haproxy.Config) (haproxy.Change, error) {
	return haproxy.Change{Kind: haproxy.Runtime}, nil
}
func (idleProxy) Servers() haproxy.Verdicts                           { return nil }
func (idleProxy) Status() haproxy.Status                              { return haproxy.Status{Running: true} }
func (idleElection) Set(context.Context, vrrp.Config) (bool, error)   { return false, nil }
func (idleElection) Status() vrrp.Status                              { return vrrp.Status{} }
func (idleRouter) Set(context.Context, remote.Want) (bool, error)     { return false, nil }
func (idleRouter) State() (remote.State, bool)                        { return remote.State{}, true }
func (idleRouter) Status() remote.Status                              { return remote.Status{Running: true} }
func (idleAddresses) Set(context.Context, []netip.Addr) (bool, error) { return false, nil }

// idleAuthority issues nothing.
type idleAuthority struct{}

func (idleAuthority) Set([]acme.Order) error                      { return nil }
func (idleAuthority) Run(ctx context.Context) error               { <-ctx.Done(); return nil }
func (idleAuthority) Changes() <-chan struct{}                    { return nil }
func (idleAuthority) Open()                                       {}
func (idleAuthority) Certificates() map[acme.Key]acme.Certificate { return nil }
