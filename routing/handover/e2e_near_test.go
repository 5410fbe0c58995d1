package handover

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/routing/routingtest"
)

// TestE2EHoldNear: an address of the node's own network that another node has
// now keeps its connections here, and no neighbor is told of it by ARP: asked or
// asking.
func TestE2EHoldNear(t *testing.T) {
	if routingtest.Enter(t) == nil {
		return
	}
	near, own := netip.MustParseAddr("10.77.30.9"), netip.MustParseAddr(routingtest.Node)
	if !Near(near) {
		t.Fatalf("%s is not on the wire", near)
	}
	routingtest.Run(t, "ip addr add 10.77.30.9/32 dev eth0")
	listener, err := net.Listen("tcp", "10.77.30.9:80")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go echo(listener)
	conn := dial(t, near)
	h := New(slog.New(slog.DiscardHandler))
	if err := h.Reset(); err != nil {
		t.Fatal(err)
	}
	routingtest.Run(t, "ip addr del 10.77.30.9/32 dev eth0")
	if err := h.Hold([]netip.Addr{near}, MaxTime); err != nil {
		t.Fatal(err)
	}
	heard := hearARP(t, near)
	routingtest.Run(t, "ip neigh flush dev eth0") // the node has to ask for its client
	say(t, conn)
	if n := heard(); n != 0 {
		t.Errorf("%d ARP packets from here in the name of %s", n, near)
	}
	heard = hearARP(t, near)
	if answered(t, near) {
		t.Error("a neighbor that asked was told the held address")
	}
	if n := heard(); n != 0 {
		t.Errorf("%d ARP packets from here in the name of %s, asked for it", n, near)
	}
	if !answered(t, own) {
		t.Error("a neighbor that asks for the node's own address is not answered")
	}
	if err := h.Release([]netip.Addr{near}); err != nil {
		t.Fatal(err)
	}
	routingtest.Run(t, "ip addr add 10.77.30.9/32 dev eth0")
	if !answered(t, near) {
		t.Error("the address is back, and a neighbor that asks is not answered")
	}
	if err := errors.Join(h.Hold([]netip.Addr{near}, MaxTime), New(slog.New(slog.DiscardHandler)).Reset()); err != nil {
		t.Fatal(err)
	}
	if !answered(t, near) {
		t.Error("what a killed controller left is still silent")
	}
}

// TestE2EPassOnAndOn: asked again, strangers stay out all the time, and longer.
func TestE2EPassOnAndOn(t *testing.T) {
	if routingtest.Enter(t) == nil {
		return
	}
	routingtest.Run(t, "ip addr add 203.0.113.10/32 dev lo")
	atRouter(t, func() { routingtest.Run(t, "ip route add 203.0.113.10/32 via "+routingtest.Node) })
	if !reset(t, time.Minute) {
		t.Fatal("a stranger is not reset before the hand-over")
	}
	h := New(slog.New(slog.DiscardHandler))
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	moves := []Move{{vip, netip.MustParseAddr(routingtest.Router2)}}
	if err := h.Pass(moves, MaxTime); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				if err := h.Pass(moves, MaxTime); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	if reset(t, 700*time.Millisecond) {
		t.Error("a stranger was reset while the hand-over was asked for anew")
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// answered reports whether somebody answers the router's ARP request for a.
func answered(t *testing.T, a netip.Addr) bool {
	t.Helper()
	var state int
	atRouter(t, func() {
		routingtest.Run(t, "ip neigh flush to "+a.String())
		if conn, err := net.DialTimeout("udp", netip.AddrPortFrom(a, 9).String(), time.Second); err == nil {
			_, _ = conn.Write([]byte("who?"))
			conn.Close()
		}
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && state&(netlink.NUD_REACHABLE|netlink.NUD_FAILED) == 0; time.Sleep(10 * time.Millisecond) {
			list, err := netlink.NeighList(0, netlink.FAMILY_V4)
			if err != nil {
				t.Error(err)
			}
			for _, n := range list {
				if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a {
					state = n.State
				}
			}
		}
	})
	return state&netlink.NUD_REACHABLE != 0
}

// hearARP counts, at the router, what comes by ARP with a as its sender.
func hearARP(t *testing.T, a netip.Addr) (heard func() int) {
	t.Helper()
	const every = unix.ETH_P_ARP<<8 | unix.ETH_P_ARP>>8
	fd := -1
	atRouter(t, func() {
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, every&0xffff); err != nil {
			t.Error(err)
		}
	})
	sender := a.As4()
	return func() (n int) {
		defer unix.Close(fd)
		buffer := make([]byte, 128)
		for {
			size, from, err := unix.Recvfrom(fd, buffer, 0)
			if err != nil {
				return n
			}
			link, ok := from.(*unix.SockaddrLinklayer)
			if ok && link.Pkttype != unix.PACKET_OUTGOING && size >= 18 && binary.BigEndian.Uint32(buffer[arpSender:]) == binary.BigEndian.Uint32(sender[:]) {
				n++
			}
		}
	}
}
