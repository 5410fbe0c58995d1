package handover

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Routed are those of the addresses that are on none of the node's own
// networks: routers send their packets here, and nobody asks for them by ARP
// or neighbor discovery.
func Routed(addresses []netip.Addr) ([]netip.Addr, error) {
	networks, err := prefixes(nil)
	if err != nil {
		return nil, err
	}
	var routed []netip.Addr
	for _, a := range addresses {
		if !covered(networks, a) {
			routed = append(routed, a)
		}
	}
	return routed, nil
}

func covered(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if !n.IsSingleIP() && n.Contains(a) {
			return true
		}
	}
	return false
}

// Ways are the addresses at which the neighbors of an interface reach the
// node: own, which is one of them, and one of the other family, if the
// interface has one that is not a VIP.
func Ways(own netip.Addr) ([]netip.Addr, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, link := range links {
		networks, err := prefixes(link)
		if err != nil {
			return nil, err
		}
		ways := []netip.Addr{own}
		mine := false
		for _, n := range networks {
			switch a := n.Addr(); {
			case a == own:
				mine = true
			case len(ways) == 1 && a.Is4() != own.Is4() && a.IsGlobalUnicast() && !n.IsSingleIP():
				ways = append(ways, a)
			}
		}
		if mine {
			return ways, nil
		}
	}
	return nil, fmt.Errorf("no interface has %s", own)
}

// prefixes are an interface's addresses, or all of the node's.
func prefixes(link netlink.Link) ([]netip.Prefix, error) {
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var all []netip.Prefix
	for _, l := range list {
		a, ok := netip.AddrFromSlice(l.IP)
		if bits, _ := l.Mask.Size(); ok {
			all = append(all, netip.PrefixFrom(a.Unmap(), bits))
		}
	}
	return all, nil
}

// Near reports whether a is on one of the node's own networks, which is where
// packets can be passed on to.
func Near(a netip.Addr) bool {
	networks, err := prefixes(nil)
	return err == nil && covered(networks, a)
}
