package discovery

import "net/netip"

// Want is what a service asks of a container.
type Want struct {
	Host        string
	HostAddress netip.Addr      // where published ports are reached; invalid if unknown
	Local       bool            // the engine is this node's own
	HostDrained bool            // hosts.<name>.state: drain
	Port        uint16          // the service's port; 0 = label, else the single exposed one
	Network     string          // the service's network; "" = no preference
	Direct      map[string]bool // networks.<name>.direct, only those that say so
	IPv6        bool            // prefer IPv6 (unused unless the container has no IPv4)
}

// Endpoint is one address:port that can serve.
type Endpoint struct {
	Name    string // host/container, e.g. app1/web-1
	Host    string
	ID      string // container ID; "" for static servers
	Address netip.AddrPort
	Weight  int    // 0..256; label vipilot.weight, default 100
	Drain   bool   // stopping, or its host is drained: no new sessions
	Reason  Reason // why it drains; "" otherwise
}

// Reason is a machine-readable refusal, the words of contract section 4.
type Reason string

// The reasons an endpoint is not used.
const (
	PortNotPublished    Reason = "port_not_published"
	PublishedOnLoopback Reason = "published_on_loopback"
	NetworkNone         Reason = "network_none"
	NetworkNotDirect    Reason = "network_not_direct"
	AmbiguousNetwork    Reason = "ambiguous_network"
	AmbiguousPort       Reason = "ambiguous_port"
	NotRunning          Reason = "not_running"
	ReasonStarting      Reason = "starting"
	ReasonUnhealthy     Reason = "unhealthy"
	ReasonPaused        Reason = "paused"
	ReasonStopping      Reason = "stopping"
	HostDrained         Reason = "host_drained"
	DisabledByLabel     Reason = "disabled_by_label"
	InvalidLabel        Reason = "invalid_label"
)

// Rejection is a container that a service selected and cannot use, and why.
type Rejection struct {
	Name   string // host/container
	Reason Reason
	Detail string // one sentence for a person: what was found, what would help
}
