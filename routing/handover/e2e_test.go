package handover

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/routing/routingtest"
)

// TestE2EPass: the node knows its own connections, older and newer ones, and
// answers no stranger, who belongs to another node, until the hand-over ends.
func TestE2EPass(t *testing.T) {
	if routingtest.Enter(t) == nil {
		return
	}
	routingtest.Run(t, "ip addr add 203.0.113.10/32 dev lo")
	routingtest.Run(t, "ip addr add 2001:db8::10/128 dev lo nodad")
	for _, a := range []netip.Addr{vip, vip6} {
		listener, err := net.Listen("tcp", netip.AddrPortFrom(a, 80).String())
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		go echo(listener)
	}
	h := New(slog.New(slog.DiscardHandler))
	if err := h.Reset(); err != nil {
		t.Fatal(err)
	}
	atRouter(t, func() {
		routingtest.Run(t, "ip route add 203.0.113.10/32 via "+routingtest.Node)
		routingtest.Run(t, "ip route add 2001:db8::10/128 via "+routingtest.Node6)
	})
	moves := []Move{{vip, netip.MustParseAddr(routingtest.Router2)}, {vip6, netip.MustParseAddr(routingtest.Router6)}}
	conns := []net.Conn{dial(t, vip), dial(t, vip6)}
	if !reset(t, time.Minute) {
		t.Fatal("a stranger is not reset before the hand-over")
	}
	if err := h.Pass(moves, MaxTime); err != nil {
		t.Fatal(err)
	}
	conns = append(conns, dial(t, vip), dial(t, vip6))
	say(t, conns...)
	if reset(t, 300*time.Millisecond) {
		t.Error("a stranger was reset")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	say(t, conns...)
	if !reset(t, time.Minute) {
		t.Error("a stranger is not reset after the hand-over")
	}
	// What a killed controller leaves, the next one removes.
	if err := errors.Join(h.Pass(moves, MaxTime), New(slog.New(slog.DiscardHandler)).Reset()); err != nil {
		t.Fatal(err)
	}
	if !reset(t, time.Minute) {
		t.Error("a stranger is not reset after another life began")
	}
}

// TestE2EHold: an address that is gone is answered for as before.
func TestE2EHold(t *testing.T) {
	if routingtest.Enter(t) == nil {
		return
	}
	for _, a := range []string{"203.0.113.10/32", "2001:db8::10/128"} {
		routingtest.Run(t, "ip addr add "+a+" dev eth0")
	}
	routed, err := Routed([]netip.Addr{vip, vip6, netip.MustParseAddr("10.77.30.9"), netip.MustParseAddr("2001:db8:30::9")})
	if err != nil || len(routed) != 2 {
		t.Errorf("routed: %v, %v", routed, err)
	}
	ways, err := Ways(netip.MustParseAddr(routingtest.Node))
	if err != nil || len(ways) != 2 || ways[1] != netip.MustParseAddr(routingtest.Node6) {
		t.Errorf("ways: %v, %v", ways, err)
	}
	if Near(netip.MustParseAddr("198.18.0.1")) || Near(vip) || !Near(netip.MustParseAddr(routingtest.Router)) {
		t.Error("near is what is on the wire")
	}
	taken := func(want bool) {
		t.Helper()
		for _, a := range []string{vip.String(), vip6.String()} {
			if out := routingtest.Run(t, "ip route get "+a); strings.HasPrefix(out, "local ") != want {
				t.Errorf("taken %t, want %t: %s", !want, want, out)
			}
		}
	}
	routingtest.Run(t, "ip route add default via "+routingtest.Router)
	routingtest.Run(t, "ip -6 route add default via "+routingtest.Router6)
	h := New(slog.New(slog.DiscardHandler))
	if err := h.Hold(routed, MaxTime); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"203.0.113.10/32", "2001:db8::10/128"} {
		routingtest.Run(t, "ip addr del "+a+" dev eth0")
	}
	taken(true)
	if err := h.Release(routed); err != nil {
		t.Fatal(err)
	}
	taken(false)
	if err := h.Hold(routed, MaxTime); err != nil {
		t.Fatal(err)
	}
	taken(true)
	if err := New(slog.New(slog.DiscardHandler)).Reset(); err != nil {
		t.Fatal(err)
	}
	taken(false)
}

func echo(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
}

// atRouter runs f on a thread in the router's namespace.
func atRouter(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := os.Open("/run/netns/vipilot-routing-b")
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// dial connects from the router's side, and says something.
func dial(t *testing.T, to netip.Addr) (conn net.Conn) {
	t.Helper()
	var err error
	atRouter(t, func() { conn, err = net.DialTimeout("tcp", netip.AddrPortFrom(to, 80).String(), 10*time.Second) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	say(t, conn)
	return conn
}

func say(t *testing.T, conns ...net.Conn) {
	t.Helper()
	for _, conn := range conns {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintln(conn, "hello"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "hello\n" {
			t.Fatalf("%s: %q, %v", conn.RemoteAddr(), line, err)
		}
	}
}

// reset reports whether a packet of a connection that nobody knows is answered
// with a reset; within d it is sent again and again.
func reset(t *testing.T, d time.Duration) (was bool) {
	t.Helper()
	var err error
	atRouter(t, func() { was, err = sendStranger(d) })
	if err != nil {
		t.Fatal(err)
	}
	return was
}

func sendStranger(d time.Duration) (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	const from = 45678
	packet := make([]byte, 20) // RFC 9293, section 3.1
	binary.BigEndian.PutUint16(packet[0:], from)
	binary.BigEndian.PutUint16(packet[2:], 80)
	packet[12], packet[13] = 5<<4, tcpACK
	source := netip.MustParseAddr(routingtest.Router).As4()
	binary.BigEndian.PutUint16(packet[16:], checksum(source, vip.As4(), packet))
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source}); err != nil {
		return false, err
	}
	wait := unix.NsecToTimeval(int64(50 * time.Millisecond))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return false, err
	}
	buffer := make([]byte, 1500)
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: vip.As4()}); err != nil {
			return false, err
		}
		for {
			n, _, err := unix.Recvfrom(fd, buffer, 0)
			if err != nil {
				break // nothing came
			}
			if n >= 40 && binary.BigEndian.Uint16(buffer[22:]) == from && buffer[33]&0x04 != 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// checksum is that of a TCP header without payload.
func checksum(from, to [4]byte, header []byte) uint16 {
	pseudo := append(append(append([]byte{}, from[:]...), to[:]...), 0, unix.IPPROTO_TCP, 0, byte(len(header)))
	sum := uint32(0)
	for _, part := range [][]byte{pseudo, header} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
