package haproxy

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A server of a range is reached at the port that the client used, also one
// that came at run time.
func TestE2EPorts(t *testing.T) {
	l := newLab(t)
	first := freePorts(t, 3, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	server := func(name, address string) Server {
		for i := range 3 {
			n, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", address, first+uint16(i)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { n.Close() })
			go func() {
				for {
					conn, err := n.Accept()
					if err != nil {
						return
					}
					fmt.Fprintf(conn, "%s port %d", name, first+uint16(i))
					conn.Close()
				}
			}()
		}
		return Server{Name: name, Address: netip.AddrPortFrom(netip.MustParseAddr(address), 0), State: Ready, Weight: 100}
	}
	a, b := server("a", "127.0.0.2"), server("b", "127.0.0.3")
	want := Config{MaxConn: 1000,
		Frontends: []Frontend{{Name: "front", Mode: TCP, Binds: []Bind{{loopback, first}}, LastPort: first + 2, Default: "app"}},
		Backends:  []*Backend{{Name: "app", Mode: TCP, Check: Check{Port: first + 1, Interval: 500 * time.Millisecond}, Servers: []Server{a}}},
	}
	l.set(want)
	ask := func(port uint16) string {
		conn, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", port), patience)
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		said, _ := io.ReadAll(conn)
		return string(said)
	}
	for i := range uint16(3) {
		if got, want := ask(first+i), fmt.Sprintf("a port %d", first+i); got != want {
			t.Errorf("port %d: %q, want %q", first+i, got, want)
		}
	}
	if change := l.set(withTCPServers(want, a, b)); change.Kind != Runtime {
		t.Errorf("a server came: %v", change)
	}
	l.eventually("the new server answers at the client's port", func() bool {
		return ask(first+2) == fmt.Sprintf("b port %d", first+2)
	})
	if change := l.set(withTCPServers(want, b)); change.Kind != Runtime {
		t.Errorf("a server left: %v", change)
	}
	l.eventually("the other one is gone", func() bool { return strings.HasPrefix(ask(first), "b ") && strings.HasPrefix(ask(first), "b ") })

	l.stop()
	l.HAProxy = New(l.opts) // a successor knows the servers again
	if change := l.set(withTCPServers(want, b)); change.Kind == Reload {
		t.Errorf("adoption: %v", change)
	}
}

// withTCPServers is c with other servers in its only backend.
func withTCPServers(c Config, servers ...Server) Config {
	b := *c.Backends[0]
	b.Servers = servers
	c.Backends = []*Backend{&b}
	return c
}

// freePorts gives the first of so many ports in a row that are free on all
// addresses.
func freePorts(t *testing.T, count int, addresses ...string) uint16 {
	t.Helper()
	for first := 21000; first < 30000; first += count {
		free := true
		for i := range count {
			for _, a := range addresses {
				n, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", a, first+i))
				if err != nil {
					free = false
					continue
				}
				n.Close()
			}
		}
		if free {
			return uint16(first)
		}
	}
	t.Fatal("no free ports")
	return 0
}
