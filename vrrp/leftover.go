package vrrp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// held is an address that keepalived may have put on an interface.
type held struct {
	Interface string       `json:"interface"`
	Prefix    netip.Prefix `json:"prefix"`
}

// holdings lists all that keepalived may put on interfaces for c.
func (c Config) holdings() []held {
	var all []held
	for _, i := range c.Instances {
		all = append(all, held{"lo", i.anchor()})
		for _, a := range i.Addresses {
			all = append(all, held{i.Interface, netip.PrefixFrom(a, a.BitLen())})
		}
	}
	return all
}

// union adds what is new in more.
func union(some, more []held) []held {
	for _, h := range more {
		if !slices.Contains(some, h) {
			some = append(some, h)
		}
	}
	return some
}

// sweep removes addresses that a killed keepalived has left. keepalived does
// so itself when it starts, but only for what its file still names.
func sweep(leftovers []held) error {
	var faults []error
	for _, h := range leftovers {
		link, err := netlink.LinkByName(h.Interface)
		if err != nil {
			continue // no interface, no address
		}
		addr, err := netlink.ParseAddr(h.Prefix.String())
		if err == nil {
			err = netlink.AddrDel(link, addr)
		}
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			faults = append(faults, fmt.Errorf("remove leftover %s from %s: %w", h.Prefix, h.Interface, err))
		}
	}
	return errors.Join(faults...)
}
