package haproxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// tiers are a node and a host on one machine, each with a HAProxy of its own.
type tiers struct {
	t          *testing.T
	node, host *lab
	front      uint16 // the node's
	port       netip.AddrPort
	pem        []byte
}

func newTiers(t *testing.T) *tiers {
	e2e(t)
	return &tiers{t: t, node: newLab(t), host: newLab(t), front: freePort(t),
		port: netip.AddrPortFrom(loopback, freePort(t)), pem: testPEM(t, "tier")}
}

// nameOf is the name in the tier of the container that is called so.
func nameOf(server string) string { return fmt.Sprintf("%016x", server) }

// inTier is what the host's HAProxy should do with these containers.
func (s *tiers) inTier(containers ...Server) Config {
	gate := &Backend{Name: Gate, Mode: TCP, Place: AtGate, Server: time.Hour, Tunnel: time.Hour}
	behind := &Backend{Name: "app", Mode: TCP, Place: BehindIt, Server: time.Hour, Tunnel: time.Hour}
	for _, c := range calmBackend("", containers...).Servers {
		state := c.State
		c.Weight, c.State, c.Name = 0, Ready, nameOf(c.Name)
		behind.Servers = append(behind.Servers, c)
		c.Name, c.State = c.Name+".app", state
		gate.Servers = append(gate.Servers, c)
	}
	return Config{MaxConn: 1000, Backends: []*Backend{behind, gate},
		Tier: &Tier{Bind: s.port, Nodes: []netip.Addr{loopback}, Certificate: s.pem, Idle: time.Hour}}
}

// onNode is what the node's HAProxy should do with them.
func (s *tiers) onNode(mode Mode, containers ...Server) Config {
	want := checked(simple(s.front))
	want.Frontends[0].Mode, want.Backends[0].Mode = mode, mode
	if mode == TCP {
		want.Frontends[0].Routes, want.Frontends[0].Default = nil, "app"
	} else {
		want.Backends[0].StickyCookie, want.Backends[0].StickyName = "SRV", true
	}
	for _, c := range calmBackend("", containers...).Servers {
		c.Via, c.Source, c.Address = nameOf(c.Name)+".app", loopback, s.port
		want.Backends[0].Servers = append(want.Backends[0].Servers, c)
	}
	return want
}

// answers asks so often and counts who answered; a failure counts as its text.
func (s *tiers) answers(n int, header ...string) map[string]int {
	seen := make(map[string]int)
	for range n {
		status, body, _ := fetch(s.front, "x", "/", header...)
		who, _, _ := strings.Cut(body, " ")
		if status != 200 {
			who = fmt.Sprintf("%d %s", status, body)
		}
		seen[who]++
	}
	return seen
}

func only(seen map[string]int, names ...string) bool {
	for _, name := range names {
		if seen[name] == 0 {
			return false
		}
	}
	return len(seen) == len(names)
}

// Both HAProxys take containers at run time; each is a server of its own.
func TestE2ETier(t *testing.T) {
	for _, mode := range []Mode{HTTP, TCP} {
		t.Run(string(mode), func(t *testing.T) {
			s := newTiers(t)
			s.node.run()
			s.host.run()
			a, b, c := app(t, "a"), app(t, "b"), app(t, "c")
			s.host.set(s.inTier())
			s.node.set(s.onNode(mode))
			for _, containers := range [][]Server{{a}, {a, b}, {a, b, c}} {
				if change := s.host.set(s.inTier(containers...)); change.Kind != Runtime {
					t.Fatalf("a container on the host: %+v", change)
				}
				if change := s.node.set(s.onNode(mode, containers...)); change.Kind != Runtime {
					t.Fatalf("a container on the node: %+v", change)
				}
			}
			if seen := s.answers(12); !only(seen, "a", "b", "c") {
				t.Errorf("answers %v", seen)
			}
			s.host.lockedUp(s.host.worker())
			s.node.eventually("all pass their checks", func() bool {
				results, err := s.node.CheckResults(t.Context(), "app")
				return err == nil && len(results) == 3 && results["a"].Check == "L6OK" && results["b"].Check == "L6OK" && results["c"].Check == "L6OK"
			})
			if mode == HTTP {
				s.checkHTTP()
			}
			s.checkStop(mode, a, b, c)
		})
	}
}

// checkHTTP looks at what the application and the client are told.
func (s *tiers) checkHTTP() {
	s.t.Helper()
	_, body, header := fetch(s.front, "x", "/", "X-Forwarded-For: 6.6.6.6")
	if !strings.Contains(body, "for=127.0.0.1 ") {
		s.t.Errorf("the application is told %s", body)
	}
	cookie, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
	who, _, _ := strings.Cut(body, " ")
	if seen := s.answers(9, "Cookie: other=1; "+cookie); !only(seen, who) {
		s.t.Errorf("%s pins to %v, not to %s", cookie, seen, who)
	}
	if _, _, header := fetch(s.front, "x", "/", "Cookie: "+cookie); header.Get("Set-Cookie") != "" {
		s.t.Errorf("a client that is pinned gets %v", header)
	}
	if seen := s.answers(9, "Cookie: SRV=nobody"); len(seen) != 3 {
		s.t.Errorf("a cookie of nobody: %v", seen)
	}
}

// checkStop stops one container, makes another one dead and hides the third,
// and wants no request to fail as long as there is one.
func (s *tiers) checkStop(mode Mode, a, b, c Server) {
	s.t.Helper()
	stopping := a
	stopping.State = Maint
	s.host.set(s.inTier(stopping, b, c)) // the node does not know yet
	if seen := s.answers(12); !only(seen, "b", "c") {
		s.t.Errorf("a has left its gate: %v", seen)
	}
	s.node.eventually("a is down on the node", func() bool { return s.node.Servers().Of("app", "a") == Down })
	s.host.set(s.inTier(b)) // c is not known on its host, and its name nobody's
	if seen := s.answers(12); !only(seen, "b") {
		s.t.Errorf("nobody knows a and c: %v", seen)
	}
	s.host.set(s.inTier())
	seen := s.answers(4)
	if seen["a"]+seen["b"]+seen["c"] > 0 {
		s.t.Errorf("a container answers that is gone: %v", seen)
	}
	s.node.eventually("none is up", func() bool { return s.node.Servers().Of("app", "b") == Down })
	s.host.set(s.inTier(a, b, c))
	s.node.eventually("all are back", func() bool { return only(s.answers(9), "a", "b", "c") })
	if reloads := s.host.Status().Reloads + s.node.Status().Reloads; reloads != 0 {
		s.t.Errorf("%d reloads", reloads)
	}
}

// A container that stops listening is down at the gate, and so on the node,
// though its check is a mere connection.
func TestE2ETierChecksTheContainer(t *testing.T) {
	s := newTiers(t)
	s.node.run()
	s.host.run()
	listener := listenAnywhere(t)
	a, b := serve(t, listener, "a"), app(t, "b")
	s.host.set(s.inTier(a, b))
	s.node.set(s.onNode(TCP, a, b))
	if seen := s.answers(6); !only(seen, "a", "b") {
		t.Fatalf("answers %v", seen)
	}
	listener.Close()
	s.node.eventually("a is down on the node", func() bool { return s.node.Servers().Of("app", "a") == Down })
	if seen := s.answers(6); !only(seen, "b") {
		t.Errorf("answers %v", seen)
	}
	s.host.eventually("a alone is down at the gate", func() bool {
		health := s.host.Servers().AtGate()
		return health.Of("app", nameOf("a")) == Down && health.Of("app", nameOf("b")) == Up
	})
}

// Whoever knocks at the tier gets a container by its name or nothing.
func TestE2ETierRefuses(t *testing.T) {
	s := newTiers(t)
	s.host.run()
	a := app(t, "a")
	s.host.set(s.inTier(a))
	name := nameOf("a")
	for _, knock := range []struct {
		name, from, header, sni string
		in                      bool
	}{
		{"a node by its name", "127.0.0.1", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", name + ".app", true},
		{"another machine", "127.0.0.2", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", name + ".app", false},
		{"another machine that claims to be a node", "127.0.0.2", "PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n", name + ".app", false},
		{"no PROXY header", "127.0.0.1", "", name + ".app", false},
		{"another name", "127.0.0.1", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", nameOf("b") + ".app", false},
		{"another service", "127.0.0.1", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", name + ".other", false},
		{"the service alone", "127.0.0.1", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "app", false},
		{"no name", "127.0.0.1", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "", false},
	} {
		t.Run(knock.name, func(t *testing.T) {
			if err := s.knock(knock.from, knock.header, knock.sni); (err == nil) != knock.in {
				t.Errorf("got %v, let in: %v", err, knock.in)
			}
		})
	}
}

// knock opens a connection to the tier and asks for a page.
func (s *tiers) knock(from, header, sni string) error {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp4", s.port.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	inner := tls.Client(conn, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
	_, err = io.WriteString(conn, header)
	if err = cmp.Or(err, inner.HandshakeContext(ctx)); err != nil {
		return err
	}
	fmt.Fprint(inner, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if status, body, _ := readResponse(inner); status != 200 {
		return fmt.Errorf("%d %s", status, body)
	}
	return nil
}

// The next controller takes over what runs, a reload loses nothing, and a
// HAProxy that died comes back with every name.
func TestE2ETierLives(t *testing.T) {
	s := newTiers(t)
	s.node.run()
	s.host.run()
	a, b := app(t, "a"), app(t, "b")
	s.host.set(s.inTier(a))
	s.host.set(s.inTier(a, b))
	s.node.set(s.onNode(HTTP, a, b))
	worker := s.host.worker()
	s.host.successor()
	s.host.run()
	stopped := b
	stopped.State = Maint
	if change := s.host.set(s.inTier(a, stopped)); change.Kind != Adopted || s.host.worker() != worker {
		t.Fatalf("the successor's first Set: %+v", change)
	}
	if seen := s.answers(4); !only(seen, "a") {
		t.Errorf("answers %v", seen)
	}
	longer := s.inTier(a, stopped)
	longer.Tier.Idle = 2 * time.Hour
	if change := s.host.set(longer); change.Kind != Reload {
		t.Fatalf("another idle time: %+v", change)
	}
	if seen := s.answers(4); !only(seen, "a") {
		t.Errorf("after a reload: %v", seen)
	}
	longer.Backends = s.inTier(a, b).Backends
	s.host.set(longer)
	s.node.eventually("both answer", func() bool { return only(s.answers(6), "a", "b") })
}
