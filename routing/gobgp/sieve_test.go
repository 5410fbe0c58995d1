package gobgp

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/server"
)

// said is a connection from which everything has been read that a router will
// ever say; what it is told is kept.
type said struct {
	net.Conn
	io.Reader
	told bytes.Buffer
}

func (s *said) Read(b []byte) (int, error)       { return s.Reader.Read(b) }
func (s *said) Write(b []byte) (int, error)      { return s.told.Write(b) }
func (s *said) SetWriteDeadline(time.Time) error { return nil }

// sift gives what comes through a sieve, the router's last word from us, and why.
func sift(from io.Reader) (through, told []byte, why string) {
	conn := &said{Reader: from}
	s := newSieve(conn, func(text string) { why += text })
	through, _ = io.ReadAll(s)
	return through, conn.told.Bytes(), why
}

func TestSieve(t *testing.T) {
	opening := append(open(hostileASN, fourOctets...), message(typeKeepalive)...)
	keepalive := message(typeKeepalive)
	refresh := message(typeRefresh, 0, 1, 0, 1)
	noSync := message(typeKeepalive)
	noSync[3] = 0
	long := message(typeUpdate, make([]byte, 4096-19)...)
	tooLong := message(typeUpdate, make([]byte, 4097-19)...)
	end6 := []byte{0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1}
	end6long := []byte{0, 0, 0, 7, 0x90, 15, 0, 3, 0, 2, 1}
	gone6 := append([]byte{0, 0, 0, 7, 0x80, 15, 4, 0, 2, 1}, 0)
	for name, c := range map[string]struct {
		said, through []byte
		told          []byte // code, subcode and data
		why           string
	}{
		"a session":                {said: join(opening, refresh, keepalive), through: join(opening, refresh, keepalive)},
		"routes":                   {said: join(opening, update(join(origin, asPath, nextHop), 24, 198, 18, 0), refresh), through: join(opening, keepalive, refresh)},
		"the longest message":      {said: join(opening, long, refresh), through: join(opening, keepalive, refresh)},
		"End-of-RIB":               {said: join(opening, update(nil)), through: join(opening, update(nil))},
		"End-of-RIB of IPv6":       {said: join(opening, message(typeUpdate, end6...)), through: join(opening, message(typeUpdate, end6...))},
		"End-of-RIB, long form":    {said: join(opening, message(typeUpdate, end6long...)), through: join(opening, message(typeUpdate, end6long...))},
		"a prefix of IPv6 gone":    {said: join(opening, message(typeUpdate, gone6...)), through: join(opening, keepalive)},
		"NOTIFICATION at once":     {said: message(typeNotification, 2, 2), through: message(typeNotification, 2, 2)},
		"half a header":            {said: join(opening, keepalive[:10]), through: opening},
		"half a message":           {said: join(opening, refresh[:21]), through: opening},
		"a second OPEN":            {said: join(opening, open(hostileASN)), through: opening, told: []byte{5, 3, 1}, why: "a message of type 1 in a session that stands"},
		"two OPENs":                {said: join(open(hostileASN), open(hostileASN)), through: open(hostileASN), told: []byte{5, 2, 1}, why: "instead of the KEEPALIVE"},
		"UPDATE first":             {said: update(nil), told: []byte{5, 1, 2}, why: "a message of type 2 instead of an OPEN"},
		"a type that is not BGP's": {said: join(opening, message(99, 1), keepalive), through: opening, told: []byte{1, 3, 99}, why: "a message of type 99"},
		"type 0":                   {said: message(0), told: []byte{1, 3, 0}, why: "a message of type 0"},
		"not BGP":                  {said: []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), told: []byte{1, 1}, why: "what is not BGP"},
		"no marker":                {said: join(opening, noSync), through: opening, told: []byte{1, 1}, why: "what is not BGP"},
		"too long":                 {said: join(opening, tooLong), through: opening, told: []byte{1, 2, 0x10, 1}, why: "a message of type 2 with 4097 octets"},
		"KEEPALIVE with a body":    {said: join(opening, message(typeKeepalive, 1)), through: opening, told: []byte{1, 2, 0, 20}, why: "a message of type 4 with 20 octets"},
		"a short OPEN":             {said: message(typeOpen, 4), told: []byte{1, 2, 0, 20}, why: "a message of type 1 with 20 octets"},
	} {
		t.Run(name, func(t *testing.T) {
			through, told, why := sift(bytes.NewReader(c.said))
			if !bytes.Equal(through, c.through) {
				t.Errorf("GoBGP reads % x\nwanted      % x", through, c.through)
			}
			if c.told != nil {
				c.told = message(typeNotification, c.told...)
			}
			if !bytes.Equal(told, c.told) {
				t.Errorf("the router is told % x, wanted % x", told, c.told)
			}
			if !strings.Contains(why, c.why) || (why == "") != (c.why == "") {
				t.Errorf("why = %q, wanted %q", why, c.why)
			}
		})
	}
}

// FuzzSieve gives what comes through to GoBGP's parser, in the order GoBGP
// takes it. No input ends the process there.
func FuzzSieve(f *testing.F) {
	opening := append(open(hostileASN, fourOctets...), message(typeKeepalive)...)
	for _, b := range beforeEstablished {
		f.Add(b)
	}
	for _, b := range whenEstablished {
		f.Add(join(opening, b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		through, _, _ := sift(bytes.NewReader(b))
		for opened := false; len(through) > 0; opened = true {
			length := binary.BigEndian.Uint16(through[16:])
			m, err := bgp.ParseBGPMessage(through[:length])
			if m == nil {
				t.Fatalf("GoBGP makes nothing of % x: %v", through[:length], err)
			}
			if o, is := m.Body.(*bgp.BGPOpen); is {
				if opened {
					t.Fatalf("an OPEN after another message: % x", through)
				}
				if err == nil {
					_, _ = bgp.ValidateOpenMsg(o, hostileASN, 65010, net.IPv4(10, 77, 30, 1))
				}
			}
			through = through[length:]
		}
	})
}

// What New looks for is there in the version of GoBGP that is pinned.
func TestGraft(t *testing.T) {
	g, err := newGraft(server.NewBgpServer(), func(netip.Addr, string) {})
	if err != nil {
		t.Fatal(err)
	}
	g.join("203.0.113.1", netip.MustParseAddr("203.0.113.1")) // a peer that is no more
}
