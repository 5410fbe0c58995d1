package vrrp

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestGARP: a new master tells the wire where its addresses are as often, as
// late and as slowly as it is asked to.
func TestGARP(t *testing.T) {
	needRealDaemons(t)
	t.Parallel()
	l := newLab(t)
	n := l.nodes[0]
	const pause = 200 * time.Millisecond
	for name, c := range map[string]struct {
		garp GARP
		set  int // messages for an address in a set
	}{
		"three twice":  {GARP{Delay: time.Second, Repeat: 3}, 3},
		"with a pause": {GARP{Delay: time.Second, Repeat: 3, Interval: pause}, 2}, // keepalived 2.2.7 keeps no more than one waiting
	} {
		t.Run(name, func(t *testing.T) {
			instance := quick(public())
			instance.GARP = c.garp
			heard := l.listenForAddresses(t)
			n.set(n.config(150, instance))
			for _, address := range instance.Addresses {
				eventually(t, "two sets for "+address.String(), func() bool { return len(heard.times(address)) == 2*c.set })
				at := heard.times(address)
				// A message that was late, on a busy machine, makes what follows seem early.
				if took := at[c.set-1].Sub(at[0]); took < c.garp.Interval/2 {
					t.Errorf("%s: told again after %v, the pause is %v", address, took, c.garp.Interval)
				}
				if took := at[c.set].Sub(at[0]); took < c.garp.Delay/2 {
					t.Errorf("%s: the second set came after %v instead of a second", address, took)
				}
			}
			instance.GARP.Refresh = time.Second
			n.set(n.config(150, instance))
			for _, address := range instance.Addresses {
				eventually(t, "refreshed "+address.String(), func() bool { return len(heard.times(address)) > 2*c.set+1 })
			}
			n.set(Config{Node: n.ns})
		})
	}
}

// announcements are what the client's wire was told of addresses, and when by
// the kernel's clock.
type announcements struct {
	mu   sync.Mutex
	told map[netip.Addr][]time.Time
}

func (a *announcements) times(of netip.Addr) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]time.Time{}, a.told[of]...)
}

// listenForAddresses listens on the client's wire until the test ends.
func (l *lab) listenForAddresses(t *testing.T) *announcements {
	t.Helper()
	var fd int
	client := &node{ns: l.ns("c")}
	err := client.inside(func() (err error) {
		all := int(binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 0xff}))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		wait := unix.Timeval{Usec: 100_000}
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	})
	if err != nil {
		t.Fatalf("listen on the wire: %v", err)
	}
	a := &announcements{told: make(map[netip.Addr][]time.Time)}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		frame, control := make([]byte, 2048), make([]byte, 256)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, m, _, _, err := unix.Recvmsg(fd, frame, control, 0)
			if err != nil {
				continue // nothing for a while
			}
			if address, ok := told(frame[:n]); ok {
				a.mu.Lock()
				a.told[address] = append(a.told[address], stamp(control[:m]))
				a.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done; _ = unix.Close(fd) })
	return a
}

// told is the address that a gratuitous ARP or an unsolicited neighbor
// advertisement is about.
func told(frame []byte) (netip.Addr, bool) {
	if len(frame) < 42 {
		return netip.Addr{}, false
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_ARP:
		sender, target := netip.AddrFrom4([4]byte(frame[28:32])), netip.AddrFrom4([4]byte(frame[38:42]))
		return sender, sender == target
	case unix.ETH_P_IPV6:
		const advertisement, solicited = 136, 0x40
		if len(frame) < 78 || frame[20] != unix.IPPROTO_ICMPV6 || frame[54] != advertisement || frame[58]&solicited != 0 {
			return netip.Addr{}, false
		}
		return netip.AddrFrom16([16]byte(frame[62:78])), true
	}
	return netip.Addr{}, false
}

// stamp reads when the kernel got a packet.
func stamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 || len(messages[0].Data) < 16 {
		return time.Time{}
	}
	data := messages[0].Data
	return time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
}
