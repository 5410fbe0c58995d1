package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// place is an address on one interface; the same address may be on several.
type place struct {
	link    int
	address netip.Addr
}

// watchAddresses reports the addresses of all interfaces, first at once and
// then after every change. When the kernel's messages were lost, it starts
// over with a full list. It returns when ctx ends.
func watchAddresses(ctx context.Context, report func(map[netip.Addr]bool), fault func(error)) {
	for ctx.Err() == nil {
		err := followAddresses(ctx, report, fault)
		if ctx.Err() == nil && err != nil {
			fault(fmt.Errorf("watch addresses: %w", err))
			sleep(ctx, 100*time.Millisecond)
		}
	}
}

func followAddresses(ctx context.Context, report func(map[netip.Addr]bool), fault func(error)) error {
	done := make(chan struct{})
	defer close(done)
	events := make(chan netlink.AddrUpdate, 64)
	failed := make(chan error, 1)
	// Subscribe before the list, so that no change falls between the two.
	err := netlink.AddrSubscribeWithOptions(events, done, netlink.AddrSubscribeOptions{
		ReceiveBufferSize: 1 << 20,
		ErrorCallback: func(err error) {
			select {
			case failed <- err:
			default:
			}
		},
	})
	if err != nil {
		return err
	}
	defer drain(events)
	places, err := listAddresses()
	if err != nil {
		return err
	}
	fault(nil)
	report(addressesOf(places))
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case e, ok := <-events:
			if !ok {
				return errors.New("the kernel's messages ended")
			}
			update(places, e)
			for range len(events) { // what came meanwhile, in one report
				update(places, <-events)
			}
			report(addressesOf(places))
		}
	}
}

// drain lets netlink's goroutine end, should it be blocked on a full channel.
func drain(events <-chan netlink.AddrUpdate) {
	go func() {
		for range events {
		}
	}()
}

func update(places map[place]bool, e netlink.AddrUpdate) {
	at, ok := placeOf(e.LinkIndex, &e.LinkAddress)
	switch {
	case !ok:
	case e.NewAddr && serves(e.Flags):
		places[at] = true
	default:
		delete(places, at)
	}
}

func listAddresses() (map[place]bool, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	places := map[place]bool{}
	for _, a := range list {
		if at, ok := placeOf(a.LinkIndex, a.IPNet); ok && serves(a.Flags) {
			places[at] = true
		}
	}
	return places, nil
}

// serves: the kernel takes packets to an address once it is no longer in doubt.
func serves(flags int) bool { return flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 }

func placeOf(link int, n *net.IPNet) (place, bool) {
	if n == nil {
		return place{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	return place{link, a.Unmap()}, ok
}

func addressesOf(places map[place]bool) map[netip.Addr]bool {
	addresses := make(map[netip.Addr]bool, len(places))
	for p := range places {
		addresses[p.address] = true
	}
	return addresses
}
