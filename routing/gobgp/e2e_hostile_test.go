package gobgp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// Types of BGP messages, RFC 4271 section 4.1.
const (
	typeOpen, typeUpdate, typeNotification, typeKeepalive, typeRefresh = 1, 2, 3, 4, 5

	hostileASN = routingtest.Peer
)

// message is a BGP message with the header that it should have.
func message(kind byte, body ...byte) []byte {
	head := make([]byte, 19, 19+len(body))
	for i := range 16 {
		head[i] = 0xff
	}
	binary.BigEndian.PutUint16(head[16:], uint16(19+len(body)))
	head[18] = kind
	return append(head, body...)
}

// open is an OPEN with the given capabilities, each with its code and length.
func open(asn uint16, capabilities ...byte) []byte {
	body := []byte{4, byte(asn >> 8), byte(asn), 0, 30, 10, 77, 30, 2, 0}
	if len(capabilities) > 0 {
		body[9] = byte(2 + len(capabilities))
		body = append(append(body, 2, byte(len(capabilities))), capabilities...)
	}
	return message(typeOpen, body...)
}

// fourOctets are the capabilities of an ordinary router: IPv4 unicast, ROUTE-REFRESH, and ASNs of four octets.
var fourOctets = []byte{1, 4, 0, 1, 0, 1, 2, 0, 65, 4, 0, 0, hostileASN >> 8, hostileASN & 0xff}

// update is an UPDATE without withdrawn routes.
func update(attributes []byte, nlri ...byte) []byte {
	body := []byte{0, 0, byte(len(attributes) >> 8), byte(len(attributes))}
	return message(typeUpdate, append(append(body, attributes...), nlri...)...)
}

// attributes that belong to an acceptable route.
var (
	origin  = []byte{0x40, 1, 1, 0}
	asPath  = []byte{0x40, 2, 6, 2, 1, 0, 0, hostileASN >> 8, hostileASN & 0xff}
	nextHop = []byte{0x40, 3, 4, 10, 77, 30, 2}
)

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// beforeEstablished are answers to our OPEN.
var beforeEstablished = map[string][]byte{
	"nothing":                       nil,
	"what is not BGP":               []byte("HTTP/1.1 400 Bad Request\r\n\r\n<html>" + string(make([]byte, 4096))),
	"a header alone":                message(typeOpen)[:18],
	"a length of 0":                 {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 1},
	"a length of 18":                {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 18, 2},
	"a length of 65535":             append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}, make([]byte, 70000)...),
	"an empty OPEN":                 message(typeOpen),
	"BGP-3":                         message(typeOpen, 3, 0, 1, 0, 9, 10, 77, 30, 2, 0),
	"the wrong ASN":                 open(hostileASN + 1),
	"our own ASN":                   open(routingtest.ASN),
	"a router id of 0":              message(typeOpen, 4, hostileASN>>8, hostileASN&0xff, 0, 9, 0, 0, 0, 0, 0),
	"our own router id":             message(typeOpen, 4, hostileASN>>8, hostileASN&0xff, 0, 9, 10, 77, 30, 1, 0),
	"a hold time of 1":              message(typeOpen, 4, hostileASN>>8, hostileASN&0xff, 0, 1, 10, 77, 30, 2, 0),
	"parameters past the end":       message(typeOpen, 4, hostileASN>>8, hostileASN&0xff, 0, 9, 10, 77, 30, 2, 255, 2, 200),
	"a parameter of 1 octet":        message(typeOpen, 4, hostileASN>>8, hostileASN&0xff, 0, 9, 10, 77, 30, 2, 1, 2),
	"a capability past the end":     open(hostileASN, 65, 255, 0, 0),
	"a capability of 1 octet":       open(hostileASN, 65),
	"an ASN of 0 octets":            open(hostileASN, 65, 0),
	"multiprotocol of 1 octet":      open(hostileASN, 1, 1, 0),
	"graceful restart of 1":         open(hostileASN, 64, 1, 0),
	"long-lived restart of 3":       open(hostileASN, 71, 3, 0, 1, 1),
	"add-path of 3":                 open(hostileASN, 69, 3, 0, 1, 1),
	"extended next hop of 5":        open(hostileASN, 5, 5, 0, 1, 0, 1, 0),
	"a name longer than it is":      open(hostileASN, 73, 3, 200, 'a', 'b'),
	"a domain longer than it is":    open(hostileASN, 73, 4, 1, 'a', 250, 'b'),
	"a software version of 0":       open(hostileASN, 75, 1, 0),
	"a software version of 255":     open(hostileASN, 75, 2, 255, 'x'),
	"an empty software version":     open(hostileASN, 75, 0),
	"UPDATE before OPEN":            update(join(origin, asPath, nextHop), 24, 198, 18, 0),
	"KEEPALIVE before OPEN":         message(typeKeepalive),
	"a type 99 before OPEN":         message(99, 1, 2, 3),
	"a type 99 after OPEN":          join(open(hostileASN, fourOctets...), message(99)),
	"two OPENs":                     join(open(hostileASN, fourOctets...), open(hostileASN, fourOctets...)),
	"UPDATE instead of KEEPALIVE":   join(open(hostileASN, fourOctets...), update(nil)),
	"NOTIFICATION without a code":   message(typeNotification),
	"NOTIFICATION with a long tail": message(typeNotification, append([]byte{6, 2, 255}, make([]byte, 300)...)...),
}

// whenEstablished are messages on an established session. GoBGP v3.37 alone
// would end the process at a second OPEN, and at a message of no known type.
var whenEstablished = map[string][]byte{
	"withdrawn routes past the end": message(typeUpdate, 255, 255, 0, 0),
	"attributes past the end":       message(typeUpdate, 0, 0, 255, 255),
	"an UPDATE of 1 octet":          message(typeUpdate, 0),
	"an attribute of 1 octet":       update([]byte{0x40}),
	"an attribute past the end":     update([]byte{0x40, 1, 200, 0}),
	"a long attribute past the end": update([]byte{0x50, 1, 255, 255, 0}),
	"an attribute without length":   update([]byte{0x40, 1}),
	"a prefix of 33 bits":           update(join(origin, asPath, nextHop), 33, 198, 18, 0, 0, 0),
	"a prefix of 255 bits":          update(join(origin, asPath, nextHop), 255, 1),
	"a prefix past the end":         update(join(origin, asPath, nextHop), 32, 198),
	"no attributes":                 update(nil, 24, 198, 18, 0),
	"no next hop":                   update(join(origin, asPath), 24, 198, 18, 0),
	"ORIGIN not transitive":         update(join([]byte{0, 1, 1, 0}, asPath, nextHop), 24, 198, 18, 0),
	"an empty ORIGIN":               update(join([]byte{0x40, 1, 0}, asPath, nextHop), 24, 198, 18, 0),
	"ORIGIN of 200":                 update(join([]byte{0x40, 1, 1, 200}, asPath, nextHop), 24, 198, 18, 0),
	"an empty AS_PATH":              update(join(origin, []byte{0x40, 2, 0}, nextHop), 24, 198, 18, 0),
	"a segment past the end":        update(join(origin, []byte{0x40, 2, 2, 2, 255}, nextHop), 24, 198, 18, 0),
	"a segment of no kind":          update(join(origin, []byte{0x40, 2, 6, 77, 1, 0, 0, 0, 1}, nextHop), 24, 198, 18, 0),
	"a segment of nobody":           update(join(origin, []byte{0x40, 2, 2, 2, 0}, nextHop), 24, 198, 18, 0),
	"a confederation":               update(join(origin, []byte{0x40, 2, 6, 3, 1, 0, 0, 0, 1}, nextHop), 24, 198, 18, 0),
	"our own AS in the path":        update(join(origin, []byte{0x40, 2, 6, 2, 1, 0, 0, routingtest.ASN >> 8, routingtest.ASN & 0xff}, nextHop), 24, 198, 18, 0),
	"NEXT_HOP of 0 octets":          update(join(origin, asPath, []byte{0x40, 3, 0}), 24, 198, 18, 0),
	"NEXT_HOP of 1 octet":           update(join(origin, asPath, []byte{0x40, 3, 1, 10}), 24, 198, 18, 0),
	"NEXT_HOP of 3 octets":          update(join(origin, asPath, []byte{0x40, 3, 3, 10, 77, 30}), 24, 198, 18, 0),
	"NEXT_HOP not transitive":       update(join(origin, asPath, []byte{0, 3, 0, 0, 0, 0, 0}), 24, 198, 18, 0),
	"NEXT_HOP of a loopback":        update(join(origin, asPath, []byte{0x40, 3, 4, 127, 0, 0, 1}), 24, 198, 18, 0),
	"NEXT_HOP of us":                update(join(origin, asPath, []byte{0x40, 3, 4, 10, 77, 30, 1}), 32, 203, 0, 113, 10),
	"NEXT_HOP of a group":           update(join(origin, asPath, []byte{0x40, 3, 4, 224, 0, 0, 1}), 24, 198, 18, 0),
	"an unknown well-known":         update(join(origin, asPath, nextHop, []byte{0x40, 99, 1, 0}), 24, 198, 18, 0),
	"the same attribute twice":      update(join(origin, origin, asPath, nextHop), 24, 198, 18, 0),
	"an AGGREGATOR of 3":            update(join(origin, asPath, nextHop, []byte{0xc0, 7, 3, 1, 2, 3}), 24, 198, 18, 0),
	"AS4_PATH longer than AS_PATH":  update(join(origin, asPath, nextHop, []byte{0xc0, 17, 10, 2, 2, 0, 0, 0, 1, 0, 0, 0, 2}), 24, 198, 18, 0),
	"an empty AS4_PATH":             update(join(origin, []byte{0x40, 2, 0}, nextHop, []byte{0xc0, 17, 0}), 24, 198, 18, 0),
	"an AS4_AGGREGATOR of 1":        update(join(origin, asPath, nextHop, []byte{0xc0, 18, 1, 1}), 24, 198, 18, 0),
	"a community of 3":              update(join(origin, asPath, nextHop, []byte{0xc0, 8, 3, 1, 2, 3}), 24, 198, 18, 0),
	"an extended community of 7":    update(join(origin, asPath, nextHop, []byte{0xc0, 16, 7, 0x80, 6, 1, 2, 3, 4, 5}), 24, 198, 18, 0),
	"an IPv6 community of 5":        update(join(origin, asPath, nextHop, []byte{0xc0, 25, 5, 0, 2, 1, 2, 3}), 24, 198, 18, 0),
	"a large community of 11":       update(join(origin, asPath, nextHop, append([]byte{0xc0, 32, 11}, make([]byte, 11)...)), 24, 198, 18, 0),
	"MP_REACH of 2":                 update(join(origin, asPath, []byte{0x80, 14, 2, 0, 2})),
	"MP_REACH with a long next hop": update(join(origin, asPath, []byte{0x80, 14, 5, 0, 2, 1, 200, 0})),
	"MP_REACH of a family not ours": update(join(origin, asPath, []byte{0x80, 14, 9, 0, 25, 70, 4, 10, 77, 30, 2, 0})),
	"MP_REACH of no family":         update(join(origin, asPath, []byte{0x80, 14, 9, 255, 255, 255, 4, 10, 77, 30, 2, 0})),
	"flow specification":            update(join(origin, asPath, []byte{0x80, 14, 8, 0, 1, 133, 0, 0, 240, 255, 1})),
	"MP_UNREACH of 2":               update([]byte{0x80, 15, 2, 0, 2}),
	"a prefix SID past the end":     update(join(origin, asPath, nextHop, []byte{0xc0, 40, 5, 5, 255, 255, 0, 1}), 24, 198, 18, 0),
	"a tunnel past the end":         update(join(origin, asPath, nextHop, []byte{0xc0, 23, 5, 0, 8, 255, 255, 1}), 24, 198, 18, 0),
	"an AIGP of 1":                  update(join(origin, asPath, nextHop, []byte{0x80, 26, 1, 1}), 24, 198, 18, 0),
	"a PMSI tunnel of 1":            update(join(origin, asPath, nextHop, []byte{0xc0, 22, 1, 1}), 24, 198, 18, 0),
	"a link state of 3":             update(join(origin, asPath, nextHop, []byte{0x80, 29, 3, 4, 0, 255}), 24, 198, 18, 0),
	"a second OPEN":                 open(hostileASN, fourOctets...),
	"a message of no type":          message(0),
	"a message of type 6":           message(6, 1, 2, 3),
	"a message of type 99":          message(99, 1, 2, 3),
	"a message of type 255":         message(255),
	"ROUTE-REFRESH of 1":            message(typeRefresh, 0),
	"ROUTE-REFRESH of no family":    message(typeRefresh, 255, 255, 0, 255),
	"a KEEPALIVE with a body":       message(typeKeepalive, 1, 2, 3),
	"a NOTIFICATION without a code": message(typeNotification),
}

// whyRefused is what is known of a router between two of its sessions.
var whyRefused = map[string]string{
	"what is not BGP":             "the router sent what is not BGP",
	"a length of 18":              "a message of type 2 with 18 octets",
	"a type 99 before OPEN":       "a message of type 99, which BGP does not have",
	"two OPENs":                   "a message of type 1 instead of the KEEPALIVE",
	"UPDATE instead of KEEPALIVE": "a message of type 2 instead of the KEEPALIVE",
	"a second OPEN":               "a message of type 1 in a session that stands",
	"a message of type 99":        "a message of type 99, which BGP does not have",
}

// router is one end of many sessions, on an address of its own. What it does
// with a connection is up to talk; the connection ends when talk returns.
type router struct {
	address  netip.Addr
	sessions atomic.Int64
	stood    atomic.Int64 // sessions that came up
	done     atomic.Bool  // talk has had its say at least once
}

func (r *router) peer(name string) routing.Peer {
	return routing.Peer{Name: name, Address: r.address, ASN: hostileASN, LocalAddress: netip.MustParseAddr("127.0.0.1"), HoldTime: 30 * time.Second}
}

// routers hands out addresses of the loopback network of the test's namespace.
type routers struct {
	t    *testing.T
	last netip.Addr
}

func (l *routers) listen(talk func(*router, net.Conn)) *router {
	l.t.Helper()
	l.last = l.last.Next()
	r := &router{address: l.last}
	n, err := net.Listen("tcp4", netip.AddrPortFrom(r.address, 179).String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { n.Close() })
	go func() {
		for {
			conn, err := n.Accept()
			if err != nil {
				return
			}
			r.sessions.Add(1)
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Hour)) // longer than any test: the speaker is to end it
				talk(r, conn)
			}()
		}
	}()
	return r
}

// establish does what an ordinary router does until the session is up.
func (r *router) establish(conn net.Conn) bool {
	if _, err := readMessage(conn); err != nil {
		return false
	}
	if _, err := conn.Write(append(open(hostileASN, fourOctets...), message(typeKeepalive)...)); err != nil {
		return false
	}
	kind, err := readMessage(conn) // the answer to our OPEN
	if err != nil || kind != typeKeepalive {
		return false
	}
	r.stood.Add(1)
	return true
}

func readMessage(conn net.Conn) (kind byte, err error) {
	head := make([]byte, 19)
	if _, err := io.ReadFull(conn, head); err != nil {
		return 0, err
	}
	_, err = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(head[16:]))-19)
	return head[18], err
}

// drain reads until the speaker ends the session, or half a second has passed.
func drain(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	_, _ = io.Copy(io.Discard, conn)
}

// TestE2EHostilePeer has a hundred routers each send something no router
// should, and one that behaves. The speaker lives, says which router it was,
// learns nothing, and the session with the one that behaves is never interrupted.
func TestE2EHostilePeer(t *testing.T) {
	if l := routingtest.Enter(t); l == nil {
		return
	}
	rs := &routers{t: t, last: netip.MustParseAddr("127.1.0.0")}
	good := rs.listen(behave)
	all := map[string]*router{}
	for name, said := range beforeEstablished {
		all[name] = rs.listen(func(r *router, conn net.Conn) {
			_, _ = readMessage(conn)
			_, _ = conn.Write(said)
			drain(conn)
			r.done.Store(true)
		})
	}
	for name, said := range whenEstablished {
		all[name] = rs.listen(func(r *router, conn net.Conn) {
			if r.establish(conn) {
				_, _ = conn.Write(said)
				drain(conn)
				r.done.Store(true)
			}
		})
	}
	all["mutations"] = rs.listen(mutate)

	s := e2eSpeaker(t, Options{})
	c := wanted(prefix("203.0.113.10/32"))
	c.Peers = []routing.Peer{good.peer("good")}
	set(t, s, c)
	waitFor(t, func() string {
		if state := s.Peers()["good"]; state.State != "established" {
			return fmt.Sprintf("before the others come: %+v", state)
		}
		return ""
	})
	for name, r := range all {
		c.Peers = append(c.Peers, r.peer(name))
	}
	set(t, s, c)
	unsaid := maps.Clone(whyRefused)
	waitFor(t, func() string {
		peers := s.Peers()
		for name, why := range unsaid {
			if strings.Contains(peers[name].Error, why) {
				delete(unsaid, name)
			}
		}
		for name, r := range all {
			if !r.done.Load() {
				return fmt.Sprintf("%s has not been said, in %d sessions", name, r.sessions.Load())
			}
		}
		if len(unsaid) > 0 {
			return fmt.Sprintf("of these routers is not known what they did: %v", unsaid)
		}
		if state := peers["good"]; state.State != "established" {
			return fmt.Sprintf("the good router: %+v", state)
		}
		return ""
	})
	if n := good.stood.Load(); n != 1 {
		t.Errorf("the session with the good router was interrupted: it came up %d times, now %+v", n, s.Peers()["good"])
	}
	learnedNothing(t, s)
}

// behave is a router as it should be.
func behave(r *router, conn net.Conn) {
	if !r.establish(conn) {
		return
	}
	r.done.Store(true)
	for {
		if kind, err := readMessage(conn); err != nil || kind == typeNotification {
			return
		} else if kind == typeKeepalive {
			_, _ = conn.Write(message(typeKeepalive))
		}
	}
}

// mutate sends acceptable and strange messages with a few octets changed, each
// until the speaker ends the session.
func mutate(r *router, conn net.Conn) {
	seed := uint64(r.sessions.Load())
	random := rand.New(rand.NewPCG(seed, 1))
	if !r.establish(conn) {
		return
	}
	for range 200 {
		said := update(join(origin, asPath, nextHop, []byte{0xc0, 8, 4, 0, 1, 0, 2, 0xc0, 32, 12}, make([]byte, 12)), 24, 198, 18, byte(random.Uint32()))
		for range 1 + random.IntN(2) {
			said[19+random.IntN(len(said)-19)] = byte(random.Uint32())
		}
		if _, err := conn.Write(said); err != nil {
			break
		}
	}
	drain(conn)
	r.done.Store(r.sessions.Load() >= 5)
}

// learnedNothing wants no route but our own in the speaker.
func learnedNothing(t *testing.T, s *Speaker) {
	t.Helper()
	for _, family := range []*api.Family{family4, family6} {
		err := s.server.ListPath(context.Background(), &api.ListPathRequest{TableType: api.TableType_GLOBAL, Family: family}, func(d *api.Destination) {
			if d.Prefix != "203.0.113.10/32" || len(d.Paths) != 1 {
				t.Errorf("the speaker learned %s, %d paths", d.Prefix, len(d.Paths))
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func waitFor(t *testing.T, missing func() string) {
	t.Helper()
	const limit = 2 * time.Minute // a busy machine takes its time for so many
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		why := missing()
		if why == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, why)
		}
	}
}

// TestE2EFlood has a router announce far more than the table of the Internet
// has. Its session stands, the memory does not grow, and another router is
// served meanwhile.
func TestE2EFlood(t *testing.T) {
	if l := routingtest.Enter(t); l == nil {
		return
	}
	const many = 3_000_000
	rs := &routers{t: t, last: netip.MustParseAddr("127.1.0.0")}
	good := rs.listen(behave)
	flood := rs.listen(func(r *router, conn net.Conn) {
		if !r.establish(conn) {
			return
		}
		attributes := join(origin, asPath, nextHop)
		for n := uint32(0); n < many; {
			var nlri []byte
			for range 800 {
				nlri = append(nlri, 32, byte(11+n>>24), byte(n>>16), byte(n>>8), byte(n))
				n++
			}
			if _, err := conn.Write(update(attributes, nlri...)); err != nil {
				return
			}
		}
		if _, err := conn.Write(message(typeRefresh, 0, 1, 0, 1)); err != nil {
			return
		}
		for updates := 0; ; { // our prefix, and once more what was asked for when all else was said
			kind, err := readMessage(conn)
			if err != nil || kind == typeNotification {
				return
			}
			if kind == typeUpdate {
				updates++
			}
			r.done.Store(updates >= 2)
		}
	})
	s := e2eSpeaker(t, Options{})
	before := heap()
	c := wanted(prefix("203.0.113.10/32"))
	c.Peers = []routing.Peer{good.peer("good")}
	set(t, s, c)
	waitFor(t, func() string {
		if state := s.Peers()["good"]; state.State != "established" {
			return fmt.Sprintf("before the flood: %+v", state)
		}
		return ""
	})
	c.Peers = append(c.Peers, flood.peer("flood"))
	set(t, s, c)
	waitFor(t, func() string {
		if !flood.done.Load() {
			return fmt.Sprintf("the flood is in session %d: %+v", flood.sessions.Load(), s.Peers()["flood"])
		}
		return ""
	})
	grown := heap() - before
	t.Logf("%d prefixes sent: %d KB more on the heap", many, grown>>10)
	if grown > 32<<20 {
		t.Errorf("the router's prefixes are kept: %d MB more on the heap", grown>>20)
	}
	for name, r := range map[string]*router{"good": good, "flood": flood} {
		if n := r.stood.Load(); n != 1 || s.Peers()[name].State != "established" {
			t.Errorf("the session of %s was interrupted: it came up %d times, now %+v", name, n, s.Peers()[name])
		}
	}
	learnedNothing(t, s)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
