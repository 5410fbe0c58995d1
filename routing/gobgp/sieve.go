package gobgp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// sieve is the connection to a router as GoBGP reads it. It hands on whole
// messages that belong where they are, RFC 4271 sections 4 and 6, and ends the
// session with the NOTIFICATION that is due before anything else is read: GoBGP
// v3.37 ends the process at a message of no known type, and at a second OPEN.
// What the router announces is left out, since nothing is learned from it; of
// its UPDATEs only the End-of-RIB marker gets through. Writes pass as they are.
type sieve struct {
	net.Conn
	refused func(why string) // told once, by the reader

	phase  phase
	buffer [maxMessage]byte
	rest   []byte // of a message, not yet read by GoBGP
}

func newSieve(conn net.Conn, refused func(why string)) *sieve {
	return &sieve{Conn: conn, refused: refused, phase: awaitsOpen}
}

// phase is how far the router has got with its part of the session. Its value
// is the subcode of what comes out of turn, RFC 6608 section 3.
type phase uint8

const (
	awaitsOpen phase = iota + 1
	awaitsKeepalive
	isEstablished
)

func (p phase) String() string {
	switch p {
	case awaitsOpen:
		return "instead of an OPEN"
	case awaitsKeepalive:
		return "instead of the KEEPALIVE after its OPEN"
	}
	return "in a session that stands"
}

const (
	maxMessage = bgp.BGP_MAX_MESSAGE_LENGTH
	header     = bgp.BGP_HEADER_LENGTH
	typeAt     = header - 1
	// lastWord is how long a NOTIFICATION may take to be written.
	lastWord = time.Second
)

// Read gives GoBGP the next octets that it may see. It has one caller at a time.
func (s *sieve) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// next reads one message.
func (s *sieve) next() error {
	if _, err := io.ReadFull(s.Conn, s.buffer[:header]); err != nil {
		return err
	}
	length, f := checkHeader(s.buffer[:header])
	if f == nil {
		if _, err := io.ReadFull(s.Conn, s.buffer[header:length]); err != nil {
			return err
		}
		f = s.follow(s.buffer[typeAt])
	}
	if f != nil {
		return s.refuse(f)
	}
	s.rest = s.buffer[:length]
	if s.buffer[typeAt] == bgp.BGP_MSG_UPDATE && !isEndOfRIB(s.buffer[header:length]) {
		s.rest = turnIntoKeepalive(s.buffer[:]) // the router lives, and that is all that is of interest
	}
	return nil
}

// flaw is why a session ends: what the router is told, and what people are.
type flaw struct {
	code, subcode uint8
	data          []byte
	why           string
}

// checkHeader is RFC 4271 section 6.1.
func checkHeader(h []byte) (length int, f *flaw) {
	for _, octet := range h[:16] {
		if octet != 0xff {
			return 0, &flaw{bgp.BGP_ERROR_MESSAGE_HEADER_ERROR, bgp.BGP_ERROR_SUB_CONNECTION_NOT_SYNCHRONIZED, nil, "what is not BGP"}
		}
	}
	kind, size := h[typeAt], h[16:18]
	length = int(binary.BigEndian.Uint16(size))
	least, most, known := bounds(kind)
	switch {
	case !known:
		return 0, &flaw{bgp.BGP_ERROR_MESSAGE_HEADER_ERROR, bgp.BGP_ERROR_SUB_BAD_MESSAGE_TYPE, []byte{kind}, fmt.Sprintf("a message of type %d, which BGP does not have", kind)}
	case length < least || length > most:
		return 0, &flaw{bgp.BGP_ERROR_MESSAGE_HEADER_ERROR, bgp.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH, []byte{size[0], size[1]}, fmt.Sprintf("a message of type %d with %d octets", kind, length)}
	}
	return length, nil
}

// bounds are how long a message may be. ROUTE-REFRESH is longer only with
// capabilities that GoBGP does not offer.
func bounds(kind uint8) (least, most int, known bool) {
	switch kind {
	case bgp.BGP_MSG_OPEN:
		return 29, maxMessage, true
	case bgp.BGP_MSG_UPDATE:
		return 23, maxMessage, true
	case bgp.BGP_MSG_NOTIFICATION:
		return 21, maxMessage, true
	case bgp.BGP_MSG_KEEPALIVE:
		return header, header, true
	case bgp.BGP_MSG_ROUTE_REFRESH:
		return 23, 23, true
	}
	return 0, 0, false
}

// follow keeps to the order of messages, RFC 4271 section 8.2.2 and RFC 6608.
func (s *sieve) follow(kind uint8) *flaw {
	switch {
	case kind == bgp.BGP_MSG_NOTIFICATION:
	case s.phase == awaitsOpen && kind == bgp.BGP_MSG_OPEN:
		s.phase = awaitsKeepalive
	case s.phase == awaitsKeepalive && kind == bgp.BGP_MSG_KEEPALIVE:
		s.phase = isEstablished
	case s.phase == isEstablished && kind != bgp.BGP_MSG_OPEN:
	default:
		return &flaw{bgp.BGP_ERROR_FSM_ERROR, uint8(s.phase), []byte{kind}, fmt.Sprintf("a message of type %d %s", kind, s.phase)}
	}
	return nil
}

// refuse says the last word to the router. What GoBGP may be writing at the
// same time comes before or after it, whole.
func (s *sieve) refuse(f *flaw) error {
	why := "closed the session: the router sent " + f.why
	s.refused(why)
	last, err := bgp.NewBGPNotificationMessage(f.code, f.subcode, f.data).Serialize()
	if err == nil {
		_ = s.SetWriteDeadline(time.Now().Add(lastWord))
		_, _ = s.Write(last)
	}
	return errors.New(why)
}

// isEndOfRIB knows the markers of RFC 4724 section 2: an empty UPDATE, and one
// with an MP_UNREACH_NLRI of a family and nothing else.
func isEndOfRIB(update []byte) bool {
	attribute, is := bytes.CutPrefix(update, []byte{0, 0, 0})
	switch {
	case !is:
		return false
	case len(attribute) == 1:
		return attribute[0] == 0
	case len(attribute) == 7:
		return bytes.Equal(attribute[:4], []byte{6, byte(bgp.BGP_ATTR_FLAG_OPTIONAL), mpUnreach, 3})
	case len(attribute) == 8:
		return bytes.Equal(attribute[:5], []byte{7, byte(bgp.BGP_ATTR_FLAG_OPTIONAL | bgp.BGP_ATTR_FLAG_EXTENDED_LENGTH), mpUnreach, 0, 3})
	}
	return false
}

const mpUnreach = byte(bgp.BGP_ATTR_TYPE_MP_UNREACH_NLRI)

// turnIntoKeepalive makes a KEEPALIVE of the message that b begins with.
func turnIntoKeepalive(b []byte) []byte {
	binary.BigEndian.PutUint16(b[16:], header)
	b[typeAt] = bgp.BGP_MSG_KEEPALIVE
	return b[:header]
}
