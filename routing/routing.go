// Package routing says what is announced to whom. It owns the wanted state
// [Config] and the [Speaker] that makes it true; routing/gobgp speaks BGP with
// an embedded GoBGP, routing/frr drives FRR, routing/remote drives the speakers
// that live in the sentinel process. Whether to announce is decided elsewhere.
package routing

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// Config is the whole wanted routing state of this node.
type Config struct {
	ASN             uint32        `json:"asn"`
	RouterID        netip.Addr    `json:"router_id"`
	Peers           []Peer        `json:"peers"`                      // sorted by Name
	Prefixes        []Prefix      `json:"prefixes"`                   // of BGP, sorted by Prefix
	GracefulRestart time.Duration `json:"graceful_restart,omitempty"` // 0 = off
	ViaFRR          bool          `json:"via_frr,omitempty"`          // FRR speaks BGP, not GoBGP
	OSPF            *OSPF         `json:"ospf,omitempty"`             // nil = no OSPF
	FRR             FRR           `json:"frr,omitzero"`               // where FRR is, if it is needed
}

// NeedsFRR reports whether a part of c is FRR's: BGP by it, OSPF, or BFD
// beside GoBGP.
func (c Config) NeedsFRR() bool {
	guarded := func(p Peer) bool { return p.BFD.On() }
	return c.OSPF != nil || c.ASN != 0 && (c.ViaFRR || slices.ContainsFunc(c.Peers, guarded))
}

// FRR says where FRR is and whose it is.
type FRR struct {
	// Attach uses the daemons that already run, and touches nothing in them
	// that is not ours. Otherwise the speaker starts its own.
	Attach bool   `json:"attach,omitempty"`
	Dir    string `json:"dir,omitempty"` // of the daemons' vty sockets
}

// OSPF is the wanted state of OSPFv2 and OSPFv3. A prefix is announced while
// it is in Prefixes and FRR finds it on an interface.
type OSPF struct {
	RouterID      netip.Addr      `json:"router_id"`
	Area          netip.Addr      `json:"area"`
	Interfaces    []OSPFInterface `json:"interfaces"`
	HelloInterval time.Duration   `json:"hello_interval"`
	DeadInterval  time.Duration   `json:"dead_interval"`
	Broadcast     bool            `json:"broadcast,omitempty"` // network type; false = point-to-point
	BFD           BFD             `json:"bfd,omitzero"`
	Password      string          `json:"password,omitempty"` // OSPFv2 only, RFC 2328 appendix D.3; never logged
	Prefixes      []Prefix        `json:"prefixes"`           // sorted by Prefix
}

// OSPFInterface is where neighbors are. Address is the node's own IPv4 address
// there, which keeps VIPs on the same interface from becoming links of the
// area; not given, the speaker looks for it.
type OSPFInterface struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address,omitzero"`
}

// BFD finds out within Interval times Multiplier that a router is gone
// (RFC 5880); the zero value is off.
type BFD struct {
	Interval   time.Duration `json:"interval,omitempty"`
	Multiplier uint8         `json:"multiplier,omitempty"`
}

// On reports whether BFD is asked for.
func (b BFD) On() bool { return b.Interval > 0 }

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
	Multihop      uint8         `json:"multihop,omitempty"`     // most hops to the router; 0 = it is on the wire
	HoldTime      time.Duration `json:"hold_time,omitempty"`    // 0 = 9 s
	BFD           BFD           `json:"bfd,omitzero"`
	Export        Export        `json:"export,omitzero"`
}

// Export is what is added to every prefix on its way to one peer.
type Export struct {
	MED             uint32   `json:"med,omitempty"`     // added to the prefix's
	Prepend         uint8    `json:"prepend,omitempty"` // times our ASN is added in front
	LocalPreference uint32   `json:"local_preference,omitempty"`
	Communities     []string `json:"communities,omitempty"`
}

// IsZero reports whether nothing is added.
func (e Export) IsZero() bool {
	return e.MED == 0 && e.Prepend == 0 && e.LocalPreference == 0 && len(e.Communities) == 0
}

// Prefix is one route wanted at every peer, or in every area.
type Prefix struct {
	Prefix      netip.Prefix `json:"prefix"`
	VIP         string       `json:"vip"`
	Communities []string     `json:"communities,omitempty"` // "65010:100", "65010:1:2" (large, RFC 8092)
	// WhileHeld asks the gate to announce only while the kernel holds the address.
	WhileHeld bool    `json:"while_held,omitempty"`
	MED       *uint32 `json:"med,omitempty"`
	Prepend   uint8   `json:"prepend,omitempty"` // times our ASN is added in front
	// LocalPreference is for iBGP peers; 0 = 100.
	LocalPreference uint32 `json:"local_preference,omitempty"`
	// Standby is how the prefix is announced while the kernel does not hold the
	// address. nil = not at all, with WhileHeld.
	Standby *Standby `json:"standby,omitempty"`
}

// Standby makes a path less preferred than that of the node that holds the
// address.
type Standby struct {
	MED     *uint32 `json:"med,omitempty"`
	Prepend uint8   `json:"prepend,omitempty"` // on top of the prefix's
}

// AsStandby is p as a node announces it that does not hold the address.
func (p Prefix) AsStandby() Prefix {
	if p.Standby != nil {
		if p.Standby.MED != nil {
			p.MED = p.Standby.MED
		}
		p.Prepend += p.Standby.Prepend
	}
	return p
}

// PeerState is one session as the speaker sees it.
type PeerState struct {
	State             string `json:"state"` // idle, connect, active, opensent, openconfirm, established
	PrefixesAnnounced int    `json:"prefixes_announced"`
	Error             string `json:"error,omitempty"` // why it is not established, as far as known
	BFD               string `json:"bfd,omitempty"`   // up, init, down; "" = not asked for
	// KeepsRoutes: the router said that it keeps our routes while we restart (RFC 4724).
	KeepsRoutes bool `json:"keeps_routes,omitempty"`
}

// NeighborState is one OSPF neighbor as FRR sees it.
type NeighborState struct {
	Interface string `json:"interface"`
	Version   int    `json:"version"` // 2 or 3
	State     string `json:"state"`   // down, init, 2-way, exstart, exchange, loading, full
	BFD       string `json:"bfd,omitempty"`
}

// DaemonState is one of FRR's daemons.
type DaemonState struct {
	PID   int    `json:"pid"` // 0 = it does not run
	Error string `json:"error,omitempty"`
}

// Speaker makes a Config true.
type Speaker interface {
	// Set takes the whole wanted state. It is idempotent, diffs inside, and
	// withdraws before it announces. Sessions that did not change are not touched.
	Set(ctx context.Context, want Config) (changed bool, err error)
	// Close withdraws everything, then ends the sessions.
	Close() error
}
