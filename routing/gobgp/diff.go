package gobgp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/vipilot/vipilot/routing"
)

// session is all that a peer's session depends on; a difference restarts it.
// The name is not part of it.
type session struct {
	routing.Peer
	restart  time.Duration // graceful restart
	nextHop6 netip.Addr    // for IPv6 prefixes over an IPv4 session
}

// change is what leads from a state to a wanted Config, in the order of its fields.
type change struct {
	withdraw []netip.Prefix
	drop     []netip.Addr
	announce []routing.Prefix
	add      []session
}

func (c change) empty() bool {
	return len(c.withdraw)+len(c.drop)+len(c.announce)+len(c.add) == 0
}

// diff says what to do. resolve completes a peer with what the kernel knows,
// given what was resolved before.
func diff(have state, want routing.Config, resolve func(routing.Peer, netip.Addr) netip.Addr) (c change) {
	prefixes := make(map[netip.Prefix]bool, len(want.Prefixes))
	for _, p := range want.Prefixes {
		prefixes[p.Prefix] = true
		if old, ok := have.prefixes[p.Prefix]; !ok || !samePath(old, p) {
			c.announce = append(c.announce, p)
		}
	}
	for p := range have.prefixes {
		if !prefixes[p] {
			c.withdraw = append(c.withdraw, p)
		}
	}
	addresses := make(map[netip.Addr]bool, len(want.Peers))
	for _, p := range want.Peers {
		addresses[p.Address] = true
		old, ok := have.sessions[p.Address]
		p.Name = ""
		next := session{Peer: p, restart: want.GracefulRestart, nextHop6: resolve(p, old.nextHop6)}
		if ok && old == next {
			continue
		}
		if ok {
			c.drop = append(c.drop, p.Address)
		}
		c.add = append(c.add, next)
	}
	for a := range have.sessions {
		if !addresses[a] {
			c.drop = append(c.drop, a)
		}
	}
	slices.SortFunc(c.withdraw, netip.Prefix.Compare)
	slices.SortFunc(c.drop, netip.Addr.Compare)
	return c
}

// samePath compares what reaches the wire.
func samePath(a, b routing.Prefix) bool {
	a.VIP, b.VIP, a.WhileHeld, b.WhileHeld = "", "", false, false
	if len(a.Communities)+len(b.Communities) == 0 {
		a.Communities, b.Communities = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// apply does c, goes on after a failure, and remembers what was reached.
func (s *Speaker) apply(ctx context.Context, c change) error {
	var errs []error
	for _, p := range c.withdraw {
		errs = append(errs, s.withdraw(ctx, p))
	}
	for _, a := range c.drop {
		errs = append(errs, s.drop(ctx, a))
	}
	for _, p := range c.announce {
		errs = append(errs, s.announce(ctx, p))
	}
	if err := s.prepareNextHops(ctx, c.add); err != nil {
		errs = append(errs, err)
	}
	for _, n := range c.add {
		errs = append(errs, s.add(ctx, n, !s.started))
	}
	return errors.Join(errs...)
}

func (s *Speaker) withdraw(ctx context.Context, prefix netip.Prefix) error {
	if err := s.server.DeletePath(ctx, deleteRequest(prefix)); err != nil {
		return fmt.Errorf("withdraw %s: %w", prefix, err)
	}
	delete(s.have.prefixes, prefix)
	s.log.Info("withdrawn", "prefix", prefix)
	return nil
}

func (s *Speaker) announce(ctx context.Context, p routing.Prefix) error {
	request, err := addRequest(s.have.asn, p)
	if err == nil {
		_, err = s.server.AddPath(ctx, request)
	}
	if err != nil {
		return fmt.Errorf("announce %s: %w", p.Prefix, err)
	}
	s.have.prefixes[p.Prefix] = p
	s.log.Info("announced", "prefix", p.Prefix, "vip", p.VIP)
	return nil
}

func names(peers []routing.Peer) map[netip.Addr]string {
	m := make(map[netip.Addr]string, len(peers))
	for _, p := range peers {
		m[p.Address] = p.Name
	}
	return m
}

func sortedSessions(m map[netip.Addr]session) []session {
	return slices.SortedFunc(maps.Values(m), func(a, b session) int {
		return cmp.Compare(a.Address.String(), b.Address.String())
	})
}
