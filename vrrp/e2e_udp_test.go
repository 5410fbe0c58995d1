package vrrp

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// UDP services beside an election. Where the kernel has IPVS datagrams get
// through; where it has none, that is said, and the election is not touched.
func TestUDPBesideElection(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	n := l.nodes[0]
	want := n.config(150, public())
	want.Virtual = []VirtualServer{{
		Service: "echo", Address: netip.MustParseAddrPort("203.0.113.10:5300"), Scheduler: WeightedRoundRobin, Interval: 200 * time.Millisecond, Fall: 2,
		Servers: []RealServer{{Address: netip.MustParseAddrPort("10.77.90.2:5301"), Weight: 100}},
	}}
	n.set(want)
	eventually(t, "master", func() bool { return n.k.Role("public") == Master })
	pid, reloads := n.k.Status().PID, n.k.Status().Reloads

	missing := n.inside(kernelIPVS)
	if missing == nil {
		echo(t, l.nodes[1], "10.77.90.2:5301")
		eventually(t, "an answer through IPVS", func() bool { return n.inside(func() error { return ask("203.0.113.10:5300") }) == nil })
	} else if b := n.k.Balance(); b.Missing == nil || b.Running || !strings.Contains(b.Missing.Error(), "this node's kernel has no IPVS") {
		t.Errorf("the kernel says %v, the balance %+v", missing, b)
	}

	want.Virtual[0].Servers = append(want.Virtual[0].Servers, RealServer{Address: netip.MustParseAddrPort("10.77.90.3:5301"), Weight: 0})
	n.set(want)
	if s := n.k.Status(); s.PID != pid || s.Reloads != reloads || s.Err != nil || n.k.Role("public") != Master {
		t.Errorf("an endpoint of UDP came, and the election went from pid %d, %d reloads to %+v", pid, reloads, s)
	}
	want.Virtual = nil
	n.set(want)
	if s := n.k.Status(); s.PID != pid || s.Reloads != reloads || n.k.Balance().Running {
		t.Errorf("without UDP: %+v, %+v", s, n.k.Balance())
	}
}

// echo answers datagrams on a node until the test ends.
func echo(t *testing.T, n *node, address string) {
	t.Helper()
	var conn net.PacketConn
	err := n.inside(func() (err error) {
		conn, err = net.ListenPacket("udp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buffer[:size], from)
		}
	}()
}

// ask wants one datagram answered.
func ask(address string) error {
	conn, err := net.DialTimeout("udp", address, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("are you there?")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 100))
	return err
}
