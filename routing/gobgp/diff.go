package gobgp

import (
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
// The peer's name, BFD and what is added to its prefixes are not part of it.
type session struct {
	routing.Peer
	own      uint32        // our ASN
	restart  time.Duration // graceful restart
	nextHop6 netip.Addr    // for IPv6 prefixes over an IPv4 session
}

// same compares what a session depends on; Export is always empty.
func (n session) same(other session) bool { return reflect.DeepEqual(n, other) }

// change is what leads from a state to a wanted Config, in the order of its fields.
type change struct {
	withdraw []netip.Prefix
	drop     []netip.Addr
	announce []routing.Prefix
	exports  map[netip.Addr]export // of all wanted peers; nil = as before
	add      []session
}

func (c change) empty() bool {
	return len(c.withdraw)+len(c.drop)+len(c.announce)+len(c.add) == 0 && c.exports == nil
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
	exports := make(map[netip.Addr]export)
	for _, p := range want.Peers {
		addresses[p.Address] = true
		old, ok := have.sessions[p.Address]
		p.Name, p.BFD = "", routing.BFD{}
		out := export{peer: p.Address, own: want.ASN, Export: p.Export}
		p.Export = routing.Export{}
		next := session{Peer: p, own: want.ASN, restart: want.GracefulRestart, nextHop6: resolve(p, old.nextHop6)}
		out.nextHop6 = next.nextHop6
		if !out.empty() {
			exports[p.Address] = out
		}
		if ok && old.same(next) {
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
	if !maps.EqualFunc(exports, have.exports, export.same) {
		c.exports = exports
	}
	slices.SortFunc(c.withdraw, netip.Prefix.Compare)
	slices.SortFunc(c.drop, netip.Addr.Compare)
	return c
}

// samePath compares what reaches the wire.
func samePath(a, b routing.Prefix) bool {
	a.VIP, b.VIP, a.WhileHeld, b.WhileHeld, a.Standby, b.Standby = "", "", false, false, nil, nil
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
	if c.exports != nil {
		errs = append(errs, s.setExports(ctx, c.exports))
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
