// Package handover keeps the connections of an address alive while it moves
// from one node to another in order. A router that changes to the new node
// sends it the packets of connections that the old one accepted, and the new
// one would answer them with a reset (RFC 9293, section 3.10.7.1).
//
// So the old node goes on taking packets for the address, for a while, though
// it is no longer an address of its own ([Handover.Hold]), and the new node
// sends it the packets of connections that it does not know ([Handover.Pass]).
// Both are the kernel's work: a route of type local, and nftables with a
// table of flows; for an address of the node's own network nftables keeps the
// old node from answering ARP for it as well. Nothing is copied between the nodes, and each goes back to
// normal by itself. The old node asks the new one ([Ask], [Serve]).
package handover

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// MaxTime is how long connections can be held: what the new node remembers
// grows with it.
const MaxTime = 30 * time.Second

// Move is an address that has moved, and how the node that has its
// connections is reached on the wire.
type Move struct {
	Address netip.Addr
	Via     netip.Addr // of the same family
}

// Handover owns one node's part: its routes and its tables. All methods may be
// called from any goroutine.
type Handover struct {
	log    *slog.Logger
	kernel kernel

	mu     sync.Mutex
	held   map[netip.Addr]*time.Timer
	passed map[netip.Addr]*time.Timer
	via    map[netip.Addr]netip.Addr // of what is passed on
}

// kernel is what is done to the node.
type kernel interface {
	hold(netip.Addr) error
	release(netip.Addr) error
	pass([]Move, time.Duration) error
	stop([]netip.Addr) error
	reset() error // removes what another life has left
}

// New owns nothing yet, see [Handover.Reset].
func New(log *slog.Logger) *Handover {
	return &Handover{log: log, kernel: &tables{}, held: make(map[netip.Addr]*time.Timer), passed: make(map[netip.Addr]*time.Timer), via: make(map[netip.Addr]netip.Addr)}
}

// Reset removes what a controller that was killed has left in the kernel. A
// node whose kernel has no nftables has nothing to remove.
func (h *Handover) Reset() error { return h.kernel.reset() }

// Hold goes on taking packets for addresses that leave this node, or are about
// to, for d. Calling it again begins anew. An address that is on one of the
// node's own networks must be another node's by then: neighbors that ask for
// it get no answer from here any more.
func (h *Handover) Hold(addresses []netip.Addr, d time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	errs := []error{h.stop(addresses)}
	for _, a := range addresses {
		if err := h.kernel.hold(a); err != nil {
			errs = append(errs, fmt.Errorf("hold connections of %s: %w", a, err))
			continue
		}
		h.renew(h.held, a, d, h.release)
	}
	return errors.Join(errs...)
}

// Release is the end of Hold before its time: the address has come back, or
// nothing is left that could answer.
func (h *Handover) Release(addresses []netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.release(addresses)
}

// Pass sends packets of connections to the addresses that began elsewhere
// back to where they began, for d. Called again for the same place it goes on
// for d more, and no packet of a stranger is let in between.
func (h *Handover) Pass(moves []Move, d time.Duration) error {
	d = min(d, MaxTime)
	h.mu.Lock()
	defer h.mu.Unlock()
	var addresses, other []netip.Addr // other: passed to another place until now
	for _, m := range moves {
		addresses = append(addresses, m.Address)
		if h.via[m.Address] != m.Via {
			other = append(other, m.Address)
		}
	}
	if err := errors.Join(h.release(addresses), h.stop(other)); err != nil {
		return err
	}
	if err := h.kernel.pass(moves, d); err != nil {
		return fmt.Errorf("pass packets of %v on: %w", addresses, err)
	}
	for _, m := range moves {
		h.via[m.Address] = m.Via
		h.renew(h.passed, m.Address, d, h.stop)
	}
	return nil
}

// Close goes back to normal at once.
func (h *Handover) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.release(slices.Collect(maps.Keys(h.held))), h.stop(slices.Collect(maps.Keys(h.passed))))
}

// renew arranges the end, in d.
func (h *Handover) renew(timers map[netip.Addr]*time.Timer, a netip.Addr, d time.Duration, end func([]netip.Addr) error) {
	if t := timers[a]; t != nil {
		t.Stop()
	}
	var own *time.Timer
	own = time.AfterFunc(d, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if timers[a] != own {
			return
		}
		if err := end([]netip.Addr{a}); err != nil {
			h.log.Warn("end a hand-over", "address", a, "err", err)
		}
	})
	timers[a] = own
}

// release and stop are called under mu.
func (h *Handover) release(addresses []netip.Addr) error {
	var errs []error
	for _, a := range addresses {
		if t := h.held[a]; t != nil {
			t.Stop()
			delete(h.held, a)
			errs = append(errs, h.kernel.release(a))
		}
	}
	return errors.Join(errs...)
}

func (h *Handover) stop(addresses []netip.Addr) error {
	mine := slices.DeleteFunc(slices.Clone(addresses), func(a netip.Addr) bool { return h.passed[a] == nil })
	if len(mine) == 0 {
		return nil
	}
	for _, a := range mine {
		h.passed[a].Stop()
		delete(h.passed, a)
		delete(h.via, a)
	}
	return h.kernel.stop(mine)
}
