package gobgp

import (
	"errors"
	"net"
	"net/netip"
	"reflect"
	"unsafe"

	"github.com/osrg/gobgp/v3/pkg/log"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/server"
)

// graft puts a sieve before every session of a GoBGP that has no place for
// one. GoBGP dials by itself, with MD5 and TTL security, and keeps the
// connection in a field of its own. It logs that a session has a connection
// and is about to send its OPEN: in the goroutine that owns the peers, with the
// peer's lock held, and before anybody reads. That is the moment to change the
// field. docs/decisions/0019 says why this and nothing else.
type graft struct {
	server *server.BgpServer
	report func(peer netip.Addr, why string) // why a session ends
}

// errGrown is what New says when the fields are not where they were.
var errGrown = errors.New("put a sieve before GoBGP: its sessions have changed (bug: the pinned version is another one)")

// newGraft looks whether GoBGP's fields are as they are known.
func newGraft(s *server.BgpServer, report func(netip.Addr, string)) (*graft, error) {
	peers, ok := reflect.TypeFor[server.BgpServer]().FieldByName("neighborMap")
	if !ok || peers.Type.Kind() != reflect.Map || peers.Type.Key().Kind() != reflect.String || peers.Type.Elem().Kind() != reflect.Pointer {
		return nil, errGrown
	}
	machine, ok := peers.Type.Elem().Elem().FieldByName("fsm")
	if !ok || machine.Type.Kind() != reflect.Pointer {
		return nil, errGrown
	}
	conn, ok := machine.Type.Elem().FieldByName("conn")
	if !ok || conn.Type != reflect.TypeFor[net.Conn]() {
		return nil, errGrown
	}
	return &graft{server: s, report: report}, nil
}

// isTurn reports whether a message of GoBGP's log is the one to act at.
func isTurn(msg string, f log.Fields) bool {
	return msg == "state changed" && f["new"] == bgp.BGP_FSM_OPENSENT.String()
}

// join puts a sieve before the session of a peer, which GoBGP knows by key. It
// may be called by GoBGP only, when isTurn.
func (g *graft) join(key string, peer netip.Addr) {
	entry := reflect.ValueOf(g.server).Elem().FieldByName("neighborMap").MapIndex(reflect.ValueOf(key))
	if !entry.IsValid() || entry.IsNil() {
		return // GoBGP has just let go of it, and closes its connection
	}
	field := entry.Elem().FieldByName("fsm").Elem().FieldByName("conn")
	conn := (*net.Conn)(unsafe.Pointer(field.UnsafeAddr())) // newGraft knows its type
	if _, done := (*conn).(*sieve); *conn != nil && !done {
		*conn = newSieve(*conn, func(why string) { g.report(peer, why) })
	}
}
