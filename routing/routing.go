// Package routing says what is announced to whom. It owns the wanted state
// [Config] and the [Speaker] that makes it true; routing/gobgp speaks BGP with
// an embedded GoBGP, routing/remote drives a speaker that lives in the
// sentinel process. Whether to announce is decided elsewhere.
package routing

import (
	"context"
	"net/netip"
	"time"
)

// Config is the whole wanted routing state of this node.
type Config struct {
	ASN             uint32        `json:"asn"`
	RouterID        netip.Addr    `json:"router_id"`
	Peers           []Peer        `json:"peers"`                      // sorted by Name
	Prefixes        []Prefix      `json:"prefixes"`                   // sorted by Prefix
	GracefulRestart time.Duration `json:"graceful_restart,omitempty"` // 0 = off
}

// Peer is one router.
type Peer struct {
	Name         string     `json:"name"`
	Address      netip.Addr `json:"address"`
	ASN          uint32     `json:"asn"`
	LocalAddress netip.Addr `json:"local_address,omitzero"` // source of the session
	// LocalAddress6 is the next hop of IPv6 prefixes over an IPv4 session. Not
	// given, the speaker looks for a global address on the session's interface.
	LocalAddress6 netip.Addr    `json:"local_address6,omitzero"`
	Password      string        `json:"password,omitempty"`     // RFC 2385; never logged
	TTLSecurity   bool          `json:"ttl_security,omitempty"` // RFC 5082
	HoldTime      time.Duration `json:"hold_time,omitempty"`    // 0 = 9 s
}

// Prefix is one route wanted at every peer.
type Prefix struct {
	Prefix      netip.Prefix `json:"prefix"`
	VIP         string       `json:"vip"`
	Communities []string     `json:"communities,omitempty"` // "65010:100", "65010:1:2" (large, RFC 8092)
	// WhileHeld asks the gate to announce only while the kernel holds the address.
	WhileHeld bool    `json:"while_held,omitempty"`
	MED       *uint32 `json:"med,omitempty"`
	Prepend   uint8   `json:"prepend,omitempty"` // times our ASN is added in front
}

// PeerState is one session as the speaker sees it.
type PeerState struct {
	State             string `json:"state"` // idle, connect, active, opensent, openconfirm, established
	PrefixesAnnounced int    `json:"prefixes_announced"`
	Error             string `json:"error,omitempty"` // why it is not established, as far as known
}

// Speaker makes a Config true.
type Speaker interface {
	// Set takes the whole wanted state. It is idempotent, diffs inside, and
	// withdraws before it announces. Sessions that did not change are not touched.
	Set(ctx context.Context, want Config) (changed bool, err error)
	// Close withdraws everything, then ends the sessions.
	Close() error
}
