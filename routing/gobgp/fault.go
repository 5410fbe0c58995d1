package gobgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"github.com/osrg/gobgp/v3/pkg/log"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// faults remembers why each peer is not established, for people.
type faults struct {
	mu      sync.Mutex
	text    map[netip.Addr]string
	changed func()
}

func newFaults(changed func()) *faults {
	return &faults{text: map[netip.Addr]string{}, changed: changed}
}

func (f *faults) set(peer netip.Addr, text string) (isNew bool) {
	f.mu.Lock()
	isNew = f.text[peer] != text
	f.text[peer] = text
	f.mu.Unlock()
	if isNew {
		f.changed()
	}
	return isNew
}

func (f *faults) of(peer netip.Addr) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text[peer]
}

func (f *faults) clear(peer netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.text, peer)
}

func (f *faults) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.text)
}

// bridge is GoBGP's logger. Its messages are the only place where GoBGP tells
// why a connection failed; the level is always debug, so that it tells.
type bridge struct {
	log    *slog.Logger
	faults *faults
	graft  *graft
}

var _ log.Logger = (*bridge)(nil)

func (b *bridge) Panic(msg string, f log.Fields) { b.write(slog.LevelError, msg, f) }
func (b *bridge) Fatal(msg string, f log.Fields) { b.write(slog.LevelError, msg, f) }
func (b *bridge) Error(msg string, f log.Fields) { b.write(slog.LevelError, msg, f) }
func (b *bridge) Warn(msg string, f log.Fields)  { b.write(slog.LevelDebug, msg, f) }
func (b *bridge) Info(msg string, f log.Fields)  { b.write(slog.LevelDebug, msg, f) }
func (b *bridge) Debug(msg string, f log.Fields) { b.write(slog.LevelDebug, msg, f) }
func (b *bridge) SetLevel(log.LogLevel)          {}
func (b *bridge) GetLevel() log.LogLevel         { return log.DebugLevel }

func (b *bridge) write(level slog.Level, msg string, fields log.Fields) {
	key, _ := fields["Key"].(string)
	if peer, err := netip.ParseAddr(key); err == nil {
		if isTurn(msg, fields) {
			b.graft.join(key, peer)
		}
		if text := explain(msg, fields); text != "" {
			b.report(peer, text)
		}
	}
	if !b.log.Enabled(context.Background(), level) {
		return
	}
	attributes := make([]any, 0, 2*len(fields))
	for k, v := range fields {
		attributes = append(attributes, k, fmt.Sprint(v))
	}
	b.log.Log(context.Background(), level, "gobgp: "+msg, attributes...)
}

// silence ends a session whose router is away. A router whose listener asks for
// ttl_security may still take the first packets of a peer without it, so that
// the session comes up and is silent from then on.
const silence = "hold time expired: nothing heard from the router; if that repeats, compare ttl_security on both sides"

// report keeps why a peer is not established, and logs it when it is new.
func (b *bridge) report(peer netip.Addr, why string) {
	if b.faults.set(peer, why) {
		b.log.Warn("peer is not established", "peer", peer, "err", why)
	}
}

// explain turns a message of GoBGP about a peer into a reason; "" = not a reason.
func explain(msg string, f log.Fields) string {
	switch msg {
	case "failed to connect":
		err, _ := f["Error"].(error)
		return explainDial(err)
	case "received notification":
		return "the router closed the session: " + notification(f)
	case "sent notification":
		switch text := notification(f); {
		case strings.HasPrefix(text, "code 4("): // said by "hold timer expired"
			return silence
		case text != "":
			return "closed the session: " + text
		}
	case "hold timer expired":
		return silence
	}
	return ""
}

func explainDial(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: no BGP listener at the router's address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "the local address is not on this node"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset by the router: it may not know this node as a peer"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to the router, or it does not answer ARP"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer: the router is away, or password_file or ttl_security differ (both look alike from here)"
	}
	return fmt.Sprintf("connect: %v", err)
}

func notification(f log.Fields) string {
	code, ok := f["Code"].(uint8)
	subcode, _ := f["Subcode"].(uint8)
	if e, is := f["Data"].(*bgp.MessageError); is && !ok {
		code, subcode, ok = e.TypeCode, e.SubTypeCode, true
	}
	if !ok {
		return ""
	}
	text := bgp.NewNotificationErrorCode(code, subcode).String()
	if said, _ := f["Communicated-Reason"].(string); said != "" {
		text += fmt.Sprintf(", saying %q", said)
	}
	if code == bgp.BGP_ERROR_OPEN_MESSAGE_ERROR && subcode == bgp.BGP_ERROR_SUB_BAD_PEER_AS {
		text += ": the ASNs configured here and there differ"
	}
	return text
}
