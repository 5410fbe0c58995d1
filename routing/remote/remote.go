// Package remote drives the speaker that lives in the sentinel process, over
// a unix socket in the run directory. It holds the words both sides speak.
package remote

import (
	"net/netip"
	"time"

	"github.com/vipilot/vipilot/routing"
)

// Gate says what must live for any prefix to be announced.
type Gate struct {
	PID       int    `json:"pid"`        // HAProxy's master; 0 = HAProxy does not run
	StartTime uint64 `json:"start_time"` // field 22 of /proc/PID/stat, so a reused pid is not taken for it
	Socket    string `json:"socket"`     // HAProxy's stats socket, pinged
}

// WantVersion is that of a Want. It grows when an older sentinel must not act
// on one, rather than leave out the fields that it does not know.
const WantVersion = 1

// Want is all the controller tells the sentinel. It stays in force without it.
type Want struct {
	Version   int            `json:"version,omitempty"` // set by Client; 0 is of before there were any
	Routing   routing.Config `json:"routing"`
	Gate      Gate           `json:"gate"`
	TrackFile string         `json:"track_file"` // keepalived's; "" = none
	// SpeakerTrackFile is another of keepalived's: 1 in it says that no router
	// hears this node. "" = none.
	SpeakerTrackFile string `json:"speaker_track_file,omitempty"`
}

// State is all the sentinel tells.
type State struct {
	PID       int                          `json:"pid"`
	HAProxyUp bool                         `json:"haproxy_up"`
	Announced []netip.Prefix               `json:"announced"` // sorted
	Held      []netip.Addr                 `json:"held"`      // wanted addresses the kernel holds, sorted
	Peers     map[string]routing.PeerState `json:"peers"`
	// Neighbors are OSPF's, by router ID and interface.
	Neighbors map[string]routing.NeighborState `json:"neighbors,omitempty"`
	FRR       map[string]routing.DaemonState   `json:"frr,omitempty"` // its daemons that are used
	Error     string                           `json:"error,omitempty"`
	// Deaf: no router hears this node, though some should.
	Deaf bool `json:"deaf,omitempty"`
	// Stays is why the sentinel cannot be replaced now without a route lost; ""
	// = it can.
	Stays string `json:"stays,omitempty"`
	Build string `json:"build,omitempty"` // version of the sentinel's program
}

// Answer is what a PUT of a Want brings back: the state it led to.
type Answer struct {
	Changed bool  `json:"changed"`
	State   State `json:"state"`
}

// Names in the run directory, and the paths of the HTTP API on the socket.
const (
	Socket     = "sentinel.sock"      // 0600
	Record     = "sentinel.json"      // internal/supervise's
	WantFile   = "sentinel.want.json" // 0600, holds passwords
	LockFile   = "sentinel.lock"      // held by the sentinel that lives
	HeirFile   = "sentinel.heir"      // left by one that handed over
	SpeakerAPI = "speaker.sock"       // GoBGP's own gRPC API, for reading

	PathWant  = "/v1/want"  // PUT a Want, get an Answer
	PathState = "/v1/state" // GET a State
	PathWatch = "/v1/watch" // GET a State now and on every change, one JSON a line

	// PathHandOver ends the sentinel on POST and leaves everything as it is for
	// the next one: routes, FRR, the track file.
	PathHandOver = "/v1/hand-over"

	// Heartbeat is the longest silence of a watch.
	Heartbeat = 10 * time.Second
)
