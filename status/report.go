// Package status is the node's last report: what is wanted, what was done and
// what is wrong, as one immutable value, and the ways to read it: JSON, a
// stream of events, Prometheus metrics, a page and text. It acts on nothing:
// what a request may change is done by functions that others hand in.
//
//	board := status.NewBoard()
//	board.Emit(status.Diff(board.Report(), r, "start web-1")...)
//	board.Publish(r)
//	err := status.NewServer(status.ServerOptions{Board: board}).Serve(ctx, listener, false)
package status

import "time"

// Report is GET /v1/status. Field names are the contract's, section 6.
type Report struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	Ready   bool   `json:"ready"` // everything wanted is applied
	// Stage is how far the node is on its way out of service or back: in
	// service, reconnecting, withdrawing, yielding, drained, returning, leaving.
	Stage        string                 `json:"stage,omitempty"`
	Config       Config                 `json:"config"`
	Components   Components             `json:"components"`
	Nodes        map[string]Node        `json:"nodes,omitempty"` // all that are declared
	Hosts        map[string]Host        `json:"hosts"`
	VIPs         map[string]VIP         `json:"vips"`
	Services     map[string]Service     `json:"services"`
	Certificates map[string]Certificate `json:"certificates,omitempty"` // served to clients, by name
	Drained      *Drained               `json:"drained,omitempty"`      // by hand; nil = nothing
}

// Config is the revision in force and what became of the newest one.
type Config struct {
	Revision  string     `json:"revision"`
	AppliedAt *time.Time `json:"applied_at"`
	Pending   *string    `json:"pending"` // a revision that waits or was refused
	Error     *string    `json:"error"`   // why

	// PendingReason says in one word why Pending is not in force: refused,
	// guard, canary or taken_back; "" without one.
	PendingReason string `json:"pending_reason,omitempty"`
}

// The reasons why a revision is not in force.
const (
	Refused   = "refused"    // by a check or a daemon
	Guarded   = "guard"      // it removes too much, and waits for approval
	Soaking   = "canary"     // it waits for the canaries
	TakenBack = "taken_back" // it left a service without a ready endpoint
)

// Components of the node.
type Components struct {
	HAProxy    HAProxy    `json:"haproxy"`
	Keepalived Keepalived `json:"keepalived"`
	Speaker    Speaker    `json:"speaker"`
	FRR        *FRR       `json:"frr,omitempty"` // only where it is used
}

// FRR is the routing daemons beside the speaker: running, or stopped when one
// of those that are needed is.
type FRR struct {
	State     string              `json:"state"`
	Daemons   map[string]int      `json:"daemons"` // their pids, 0 = stopped
	Neighbors map[string]Neighbor `json:"neighbors"`
	Error     *string             `json:"error"`
}

// Neighbor is one OSPF neighbor, by router ID and interface.
type Neighbor struct {
	Interface string `json:"interface"`
	Version   int    `json:"version"` // of OSPF: 2 or 3
	State     string `json:"state"`
	BFD       string `json:"bfd,omitempty"`
}

// HAProxy is the proxy's state: running, stopped, or failed.
type HAProxy struct {
	State          string  `json:"state"`
	PID            int     `json:"pid"`
	Version        string  `json:"version,omitempty"`
	Reloads        int     `json:"reloads"`
	ReloadCause    string  `json:"reload_cause,omitempty"` // what made the last one necessary
	OldWorkers     int     `json:"old_workers,omitempty"`  // of before a reload, finishing their sessions
	RuntimeUpdates int     `json:"runtime_updates"`
	Error          *string `json:"error"`
}

// Keepalived is keepalived's state; "off" where no VIP uses VRRP.
type Keepalived struct {
	State   string  `json:"state"`
	PID     int     `json:"pid"`
	Reloads int     `json:"reloads"`
	Error   *string `json:"error"`
	// Checker is the keepalived that serves UDP; nil where no service needs one.
	Checker *Checker `json:"checker,omitempty"`
}

// Checker is the keepalived of UDP services: running, stopped, or off where
// the node's kernel cannot, as Error says.
type Checker struct {
	State   string  `json:"state"`
	PID     int     `json:"pid"`
	Reloads int     `json:"reloads"`
	Error   *string `json:"error"`
}

// Speaker is the sentinel and the speaker in it; "off" where nothing is announced is still running as the watchdog.
type Speaker struct {
	State string          `json:"state"`
	PID   int             `json:"pid"`
	Error *string         `json:"error"`
	Peers map[string]Peer `json:"peers"`
	// Outdated is why a sentinel of another version is still there; "" = it is of
	// the controller's.
	Outdated string `json:"outdated,omitempty"`
	Deaf     bool   `json:"deaf,omitempty"` // no router hears this node, though some should
}

// Peer is one BGP session.
type Peer struct {
	State             string `json:"state"`
	PrefixesAnnounced int    `json:"prefixes_announced"`
	Error             string `json:"error,omitempty"`
	BFD               string `json:"bfd,omitempty"` // up, init or down; "" = not asked for
}

// Host is one application host: connected, connecting or unreachable.
type Host struct {
	State      string     `json:"state"`
	Containers int        `json:"containers"`
	StaleSince *time.Time `json:"stale_since"`
	Error      *string    `json:"error"`
}

// VIP is one virtual address set on this node.
type VIP struct {
	Addresses []string `json:"addresses"`
	HA        string   `json:"ha"`
	Role      string   `json:"role"` // master, backup, fault; active for anycast and static; "" unknown
	Announced []string `json:"announced"`
	Reason    string   `json:"reason"` // why it is not announced, "" when it is or need not be
}

// Service is one service with its endpoints.
type Service struct {
	VIP       string      `json:"vip"`
	Endpoints []Endpoint  `json:"endpoints"`
	Rejected  []Rejection `json:"rejected"`
}

// Endpoint is one server: ready, starting, drain or down.
type Endpoint struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Via     string `json:"via,omitempty"`    // the host's reverse proxy that brings it to Address
	Branch  string `json:"branch,omitempty"` // value of the service's host_label
}

// place is where the endpoint is reached, and through what.
func (e Endpoint) place() string {
	if e.Via == "" {
		return e.Address
	}
	return e.Address + " via " + e.Via
}

// Rejection is a container that was selected and cannot be used.
type Rejection struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// Event is one change with its cause, as sent on GET /v1/events.
type Event struct {
	ID      uint64    `json:"id"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`    // endpoint, host, vip, prefix, config, component, node, stage
	Subject string    `json:"subject"` // todo app1/web-1
	From    string    `json:"from,omitempty"`
	To      string    `json:"to,omitempty"`
	Cause   string    `json:"cause"`
}
