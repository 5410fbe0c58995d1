package vrrp

import (
	"net/netip"
	"time"
)

// Config is the whole wanted state of keepalived on this node.
type Config struct {
	Node      string     // router_id
	Instances []Instance // sorted by Name; empty = no election is needed
	TrackFile string     // absolute; the sentinel writes 0 (fine) or 1 (fault) into it
	// SpeakerFile is absolute; the sentinel writes 1 into it while no router
	// hears the node, and 0 else. Announced instances that preempt then have the
	// lowest priorities. "" = none.
	SpeakerFile string
	// LifeFile is absolute; the sentinel holds a lock (flock) on it while it lives,
	// and without it the addresses are given up after some seconds. "" = none.
	LifeFile string
	Yield    bool // any other node may have the addresses; switched without a reload
	// Virtual are the UDP services, which a keepalived of its own carries: what
	// changes there never touches the election.
	Virtual []VirtualServer
}

// Instance is one VRRP instance: it carries one VIP.
type Instance struct {
	Name           string // the VIP's name
	VRID           uint8
	Interface      string
	Priority       uint8 // 1..254
	AdvertInterval time.Duration
	Preempt        bool
	PreemptDelay   time.Duration
	Source         netip.Addr   // this node's address
	UnicastPeers   []netip.Addr // the other nodes' addresses; empty = multicast
	Password       string       // never logged
	Addresses      []netip.Addr // the VIP's, IPv4 and IPv6 mixed
	Announced      bool         // routers are told of the VIP
	GARP           GARP
	// Relieved gives the addresses of an announced instance that does not preempt
	// up, for another node to take; switched without a reload.
	Relieved bool
}

// GARP is how a master tells switches and neighbors where the addresses are, by
// gratuitous ARP and unsolicited neighbor advertisements. The zero value is
// [DefaultGARP].
type GARP struct {
	Delay    time.Duration // whole seconds from taking over to the second set; 0 = no second one
	Repeat   uint8         // messages for each address in a set
	Refresh  time.Duration // whole seconds between further messages; 0 = none
	Interval time.Duration // between two on an interface; the longest of its instances counts
}

// DefaultGARP is what the file says for all instances.
var DefaultGARP = GARP{Delay: time.Second, Repeat: 2, Refresh: time.Minute}

// Role is what keepalived says an instance is on this node.
type Role string

// The roles; the zero value means not yet known.
const (
	Master Role = "master"
	Backup Role = "backup"
	Fault  Role = "fault"
)

// RoleChange is one instance taking a role.
type RoleChange struct {
	Instance string
	Role     Role
	At       time.Time
}
