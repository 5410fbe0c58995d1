// Package loopback makes anycast addresses present on the loopback interface,
// where HAProxy can bind them on every node at once. It removes only what it
// added itself, which it remembers in a file. It announces nothing.
//
//	lo := loopback.New("/var/lib/vipilot/loopback.json")
//	changed, err := lo.Set(ctx, []netip.Addr{netip.MustParseAddr("203.0.113.53")})
package loopback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
)

// kernel is what is done to lo.
type kernel interface {
	list() ([]netip.Addr, error)
	add(netip.Addr) error
	remove(netip.Addr) error
}

// Loopback owns some addresses of lo.
type Loopback struct {
	file   string
	kernel kernel

	mu sync.Mutex
}

// New remembers its addresses in recordFile, which survives restarts.
func New(recordFile string) *Loopback { return &Loopback{file: recordFile, kernel: lo{}} }

// Set makes want present and removes what an earlier Set added and want no
// longer holds. It adds first and removes second, goes on after a failure, and
// remembers what was reached. An address that was there before is used, but
// never removed.
func (l *Loopback) Set(ctx context.Context, want []netip.Addr) (changed bool, err error) {
	for _, a := range want {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			return false, fmt.Errorf("set loopback addresses: %q is not a plain address", a)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	owned, err := l.load()
	if err != nil {
		return false, err
	}
	present, err := l.kernel.list()
	if err != nil {
		return false, fmt.Errorf("list loopback addresses: %w", err)
	}
	missing, surplus := plan(want, owned, present)
	if len(missing) == 0 && len(surplus) == 0 {
		return false, nil
	}
	// Recorded before the act: after a crash in between, an address that is
	// not there is a remove without effect, but a forgotten one stays for ever.
	owned = sorted(append(owned, missing...))
	if err := l.save(owned); err != nil {
		return false, err
	}
	var errs []error
	for _, a := range missing {
		if err := errors.Join(ctx.Err(), l.kernel.add(a)); err != nil && !errors.Is(err, syscall.EEXIST) {
			errs = append(errs, fmt.Errorf("add %s to lo: %w", a, err))
			continue
		}
		changed = true
	}
	for _, a := range surplus {
		if err := l.kernel.remove(a); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("remove %s from lo: %w", a, err))
			continue
		}
		owned = slices.DeleteFunc(owned, func(o netip.Addr) bool { return o == a })
		changed = true
	}
	return changed, errors.Join(append(errs, l.save(owned))...)
}

// Close removes all that was added.
func (l *Loopback) Close() error {
	_, err := l.Set(context.Background(), nil)
	return err
}

// plan says what to add, and what to remove of our own.
func plan(want, owned, present []netip.Addr) (missing, surplus []netip.Addr) {
	for _, a := range sorted(want) {
		if !slices.Contains(present, a) {
			missing = append(missing, a)
		}
	}
	for _, a := range owned {
		if !slices.Contains(want, a) {
			surplus = append(surplus, a)
		}
	}
	return missing, surplus
}

func sorted(addresses []netip.Addr) []netip.Addr {
	s := slices.Clone(addresses)
	slices.SortFunc(s, netip.Addr.Compare)
	return slices.Compact(s)
}

func (l *Loopback) load() (owned []netip.Addr, err error) {
	data, err := os.ReadFile(l.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &owned)
	}
	if err != nil {
		return nil, fmt.Errorf("load loopback record %s: %w", l.file, err)
	}
	return slices.DeleteFunc(owned, func(a netip.Addr) bool { return !a.IsValid() }), nil
}

func (l *Loopback) save(owned []netip.Addr) error {
	data, err := json.Marshal(owned)
	if err != nil {
		return fmt.Errorf("save loopback record: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(l.file), 0o755); err != nil {
		return fmt.Errorf("save loopback record: %w", err)
	}
	tmp := l.file + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("save loopback record: %w", err)
	}
	if err := os.Rename(tmp, l.file); err != nil {
		return fmt.Errorf("save loopback record: %w", err)
	}
	return nil
}

// lo is the real interface.
type lo struct{}

func (lo) list() (addresses []netip.Addr, err error) {
	link, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	for _, a := range list {
		if address, ok := netip.AddrFromSlice(a.IP); ok {
			addresses = append(addresses, address.Unmap())
		}
	}
	return addresses, err
}

func (lo) add(a netip.Addr) error {
	link, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.AddrAdd(link, host(a))
}

func (lo) remove(a netip.Addr) error {
	link, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.AddrDel(link, host(a))
}

// host is a as /32 or /128. Host scope keeps an IPv4 address from being
// chosen as the source of packets to others.
func host(a netip.Addr) *netlink.Addr {
	n := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}
	if a.Is4() {
		n.Scope = syscall.RT_SCOPE_HOST
	}
	return n
}
