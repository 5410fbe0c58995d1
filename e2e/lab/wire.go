package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Update is a BGP UPDATE seen on the router's wire.
type Update struct {
	From netip.Addr
	At   time.Time
}

// Updates listens on the router's wire and sends every BGP UPDATE that comes
// in over IPv4, until ctx ends; then the channel is closed.
func (r *Router) Updates(ctx context.Context) (<-chan Update, error) {
	fd := -1
	err := r.Do(func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		proto := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_IP))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(proto)); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: link.Attrs().Index})
	})
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("listen on the router's wire: %w", err)
	}
	seen := make(chan Update, 256)
	go func() {
		defer close(seen)
		defer unix.Close(fd)
		for packet := make([]byte, 64<<10); ctx.Err() == nil; {
			n, from, err := unix.Recvfrom(fd, packet, 0)
			at := time.Now()
			if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				return
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); err != nil || !ok || ll.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			if source, ok := parseUpdate(packet[:n]); ok {
				select {
				case seen <- Update{source, at}:
				default: // nobody takes them
				}
			}
		}
	}()
	return seen, nil
}

// parseUpdate finds a BGP UPDATE (RFC 4271, 4.3) at the beginning of an IPv4
// packet's TCP data, or behind other messages there.
func parseUpdate(packet []byte) (from netip.Addr, found bool) {
	const (
		tcp, bgp, update = 6, 179, 2
		header           = 19 // 16 bytes of marker, length, type
	)
	if len(packet) < 20 || packet[0]>>4 != 4 || packet[9] != tcp {
		return netip.Addr{}, false
	}
	packet = packet[:min(len(packet), max(20, int(binary.BigEndian.Uint16(packet[2:]))))] // without padding
	segment := packet[min(len(packet), int(packet[0]&15)*4):]
	if len(segment) < 20 || binary.BigEndian.Uint16(segment) != bgp && binary.BigEndian.Uint16(segment[2:]) != bgp {
		return netip.Addr{}, false
	}
	from = netip.AddrFrom4([4]byte(packet[12:16]))
	for data := segment[min(len(segment), int(segment[12]>>4)*4):]; len(data) >= header; {
		if !bytes.Equal(data[:16], bytes.Repeat([]byte{0xff}, 16)) {
			return from, false // the middle of a message
		}
		if data[18] == update {
			return from, true
		}
		data = data[min(len(data), max(header, int(binary.BigEndian.Uint16(data[16:])))):]
	}
	return from, false
}

// AddressEvents sends the moments at which an address appears on the host, or
// goes, until ctx ends.
func (h *Host) AddressEvents(ctx context.Context, address string) (<-chan AddressEvent, error) {
	events, done, out := make(chan netlink.AddrUpdate, 64), make(chan struct{}), make(chan AddressEvent, 64)
	err := h.Do(func() error { return netlink.AddrSubscribe(events, done) })
	if err != nil {
		return nil, fmt.Errorf("watch the addresses of %s: %w", h.Name, err)
	}
	context.AfterFunc(ctx, func() { close(done) })
	go func() {
		for e := range events {
			if e.LinkAddress.IP.String() == address {
				select {
				case out <- AddressEvent{Up: e.NewAddr, At: time.Now()}:
				default:
				}
			}
		}
	}()
	return out, nil
}

// AddressEvent is an address that came to a host or went.
type AddressEvent struct {
	Up bool
	At time.Time
}
