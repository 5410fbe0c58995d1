package status

import (
	"net"
	"net/netip"
	"sync"
)

// Connections that a TCP listener holds, at the most, and of them those
// from one address (for IPv6: one /64). Beyond them a connection is closed at
// once: who opens thousands must neither use up the controller's descriptors nor
// keep others out.
const (
	maxConnections = 1024
	maxOfOne       = 512
)

// throng bounds the connections of a listener.
type throng struct {
	net.Listener
	most, ofOne int

	mu   sync.Mutex
	all  int
	each map[netip.Prefix]int
}

func newThrong(l net.Listener) *throng {
	return &throng{Listener: l, most: maxConnections, ofOne: maxOfOne, each: make(map[netip.Prefix]int)}
}

// Accept gives the next connection for which there is room.
func (c *throng) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := origin(conn)
		if c.enter(from) {
			return &counted{Conn: conn, leave: func() { c.leave(from) }}, nil
		}
		conn.Close()
	}
}

func (c *throng) enter(from netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.most || c.each[from] >= c.ofOne {
		return false
	}
	c.all++
	c.each[from]++
	return true
}

func (c *throng) leave(from netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.each[from]--; c.each[from] == 0 {
		delete(c.each, from)
	}
}

// origin is what counts as one client; the zero Prefix where there is no address.
func origin(conn net.Conn) netip.Prefix {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if at.Addr().Unmap().Is6() {
		bits = 64
	}
	p, _ := at.Addr().Unmap().WithZone("").Prefix(bits)
	return p
}

// counted leaves the throng when it is closed, once.
type counted struct {
	net.Conn
	once  sync.Once
	leave func()
}

func (c *counted) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}
