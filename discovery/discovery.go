// Package discovery says which endpoints exist now. A [Source] sends
// [Snapshot] values: all that one host runs at one moment, plus the error and
// age of that knowledge. What a service wants of a container is decided by
// [Resolve], a pure function with the address rules of contract section 4.
// The package knows neither services nor any proxy.
package discovery

import (
	"context"
	"net/netip"
	"time"
)

// Source watches one host.
//
// Run sends a full snapshot first and another on every change, and returns
// when ctx ends. It never closes out, survives an unreachable engine (the last
// containers are sent again with Err set and StaleSince the moment of loss)
// and retries for ever.
type Source interface {
	Run(ctx context.Context, out chan<- Snapshot) error
}

// Snapshot is all that a source knew at one moment. It is immutable.
type Snapshot struct {
	Host       string
	Containers []Container // sorted by Name, then ID
	Connected  bool
	StaleSince time.Time // zero while Connected
	Err        error     // why it is not connected, or the last refusal; nil when fine
	At         time.Time // when the newest fact in it was received
	Heard      time.Time // when the event arrived that led to it; zero where it was another thing
	Cause      string    // what changed, for events: "start web-1", "list"
	Node       string    // the engine's ID as a node of a Swarm; "" if it is none, or does not tell
	Swarm      *Swarm    // what it tells of its Swarm; nil unless it is watched as a manager
	SwarmErr   error     // why Swarm is not current; nil when it is
}

// State is Docker's word for what a container does.
type State string

// States of a container as vipilot distinguishes them.
const (
	Running  State = "running"
	Stopping State = "stopping" // told to stop (kill event with the stop signal), still running
	Paused   State = "paused"
	Stopped  State = "stopped" // created, exited, dead, restarting
)

// Health is the verdict of the image's HEALTHCHECK.
type Health string

// Health of a container; NoHealth when the image declares no check.
const (
	NoHealth  Health = ""
	Starting  Health = "starting"
	Healthy   Health = "healthy"
	Unhealthy Health = "unhealthy"
)

// Container is what a decision may need to know of a container. Of a [Stopped]
// one only ID, Name, Image and Labels are kept: it holds no address.
type Container struct {
	ID        string // full, 64 hex digits
	Name      string // without the leading slash
	Image     string
	Labels    map[string]string
	State     State
	Health    Health
	StartedAt time.Time
	HostMode  bool         // network mode host
	NoNetwork bool         // network mode none
	Networks  []Attachment // sorted by Name
	Published []Published  // TCP only
	Exposed   []uint16     // TCP ports, EXPOSEd or published, sorted
	UDP       *UDPPorts    `json:",omitempty"` // nil = it has none
	Task      *Task        `json:",omitempty"` // of a container that a Swarm manager told of
}

// Attachment is a container's place on one Docker network.
type Attachment struct {
	Name   string
	Driver string // bridge, macvlan, ipvlan, overlay, weave…
	IPv4   netip.Addr
	IPv6   netip.Addr
	Subnet netip.Prefix // of IPv4, else of IPv6; only for explanations
}

// UDPPorts are what Published and Exposed are of TCP.
type UDPPorts struct {
	Published []Published
	Exposed   []uint16
}

// Published is one published port.
type Published struct {
	Port     uint16 // in the container
	HostIP   netip.Addr
	HostPort uint16
}
