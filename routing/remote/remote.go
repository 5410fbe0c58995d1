// Package remote drives the speaker that lives in the sentinel process, over
// a unix socket in the run directory. It holds the words both sides speak.
package remote

import (
	"net/netip"

	"github.com/vipilot/vipilot/routing"
)

// Gate says what must live for any prefix to be announced.
type Gate struct {
	PID       int    `json:"pid"`        // HAProxy's master; 0 = HAProxy does not run
	StartTime uint64 `json:"start_time"` // field 22 of /proc/PID/stat, so a reused pid is not taken for it
	Socket    string `json:"socket"`     // HAProxy's stats socket, pinged
}

// Want is all the controller tells the sentinel. It stays in force without it.
type Want struct {
	Routing   routing.Config `json:"routing"`
	Gate      Gate           `json:"gate"`
	TrackFile string         `json:"track_file"` // keepalived's; "" = none
}

// State is all the sentinel tells.
type State struct {
	PID       int                          `json:"pid"`
	HAProxyUp bool                         `json:"haproxy_up"`
	Announced []netip.Prefix               `json:"announced"` // sorted
	Held      []netip.Addr                 `json:"held"`      // wanted addresses the kernel holds, sorted
	Peers     map[string]routing.PeerState `json:"peers"`
	Error     string                       `json:"error,omitempty"`
}
