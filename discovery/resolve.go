package discovery

import (
	"cmp"
	"fmt"
	"net/netip"
)

// Want is what a service asks of a container.
type Want struct {
	Host        string
	HostAddress netip.Addr // where published ports are reached; invalid if unknown
	Local       bool       // the engine is this node's own
	HostDrained bool       // hosts.<name>.state: drain
	Port        uint16     // the service's port; 0 = label, else the single exposed one
	Network     string     // the service's network; "" = no preference
	Last        uint16     // not 0: it is reached at every port from First to Last; Port is the one that is asked
	First       uint16
	UDP         bool            // the service is of UDP
	Direct      map[string]bool // networks.<name>.direct, only those that say so
	Proxy       netip.AddrPort  // the host's reverse proxy; invalid if it has none
	IPv6        bool            // prefer IPv6 (unused unless the container has no IPv4)
}

// Endpoint is one address:port that can serve.
type Endpoint struct {
	Name    string // host/container, e.g. app1/web-1; of a Swarm task node/task, e.g. worker1/web.3
	Host    string
	ID      string // container ID; "" for static servers
	Address netip.AddrPort
	Weight  int            // 0..256; label vipilot.weight, default 100
	Drain   bool           // stopping, or its host is drained: no new sessions
	Reason  Reason         // why it drains; "" otherwise
	Via     netip.AddrPort // the host's reverse proxy, which alone reaches Address; invalid otherwise
	Mesh    string         // the Swarm service that is reached at this port of every node, see SwarmNode.Entrance; else ""
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
	DrainedByHand       Reason = "drained_by_hand" // with vipilot drain; never said by Resolve
	DisabledByLabel     Reason = "disabled_by_label"
	InvalidLabel        Reason = "invalid_label"
)

// Rejection is a container that a service selected and cannot use, and why.
type Rejection struct {
	Name   string // host/container
	Reason Reason
	Detail string // one sentence for a person: what was found, what would help
}

// Resolve says at which address a service reaches container c, or why it does
// not use it: the endpoint is meaningful exactly when the rejection is nil.
//
// Labels narrow and never widen: where the service names a port, a different
// vipilot.port is ignored; vipilot.network chooses among the networks the
// container is on. A container that is stopping keeps its endpoint, with Drain
// set, whatever its health: what it still serves may finish. A Swarm task that
// is reached no other way is reached through the routing mesh: its endpoint
// has Mesh set, and stands for one on every node.
func Resolve(c Container, want Want) (Endpoint, *Rejection) {
	name := want.Host + "/" + c.Name
	reject := func(reason Reason, detail string) (Endpoint, *Rejection) {
		return Endpoint{}, &Rejection{Name: name, Reason: reason, Detail: detail}
	}
	asked, reason, detail := parseLabels(c)
	if reason != "" {
		return reject(reason, detail)
	}
	c, want = c.speaking(want)
	if reason, detail := unfit(c); reason != "" {
		return reject(reason, detail)
	}
	address, reason, detail := locate(c, want, asked)
	var via netip.AddrPort
	if reason.leavesProxy() {
		if inner, why, text := throughProxy(c, want, asked); inner.IsValid() || why != "" {
			address, reason, detail, via = inner, why, text, want.Proxy
		}
	}
	mesh := ""
	if reason == PortNotPublished || reason == NetworkNotDirect {
		if port, ok := throughMesh(c, want, asked); ok {
			address, reason, mesh = netip.AddrPortFrom(want.HostAddress, port), "", c.Task.Service
		}
	}
	if reason != "" {
		return reject(reason, detail)
	}
	e := Endpoint{Name: name, Host: want.Host, ID: c.ID, Address: address, Via: via, Weight: asked.weight, Mesh: mesh}
	switch {
	case c.State == Stopping:
		e.Drain, e.Reason = true, ReasonStopping
	case want.HostDrained:
		e.Drain, e.Reason = true, HostDrained
	}
	return e, nil
}

// unfit says why c cannot serve now, wherever it is.
func unfit(c Container) (Reason, string) {
	switch c.State {
	case Pending:
		return ReasonStarting, cmp.Or(c.Task.note(), "the task does not run yet")
	case Stopping:
		return "", ""
	case Paused:
		return ReasonPaused, "the container is paused; docker unpause it"
	case Running:
	default:
		if note := c.Task.note(); note != "" {
			return NotRunning, note
		}
		return NotRunning, "the container is not running; docker logs says why it ended, docker start starts it"
	}
	switch c.Health {
	case Starting:
		return ReasonStarting, "the image's HEALTHCHECK has not passed yet"
	case Unhealthy:
		return ReasonUnhealthy, "the image's HEALTHCHECK fails; docker inspect shows its last outputs under State.Health"
	case NoHealth, Healthy:
	default:
		return ReasonStarting, fmt.Sprintf("the engine reports an unknown health %.40q", string(c.Health))
	}
	return "", ""
}
