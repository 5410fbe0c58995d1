// Package controller owns the state of one node: everything a decision may
// depend on, the loop that folds events into it, and the order of the steps
// that make the decision true. [Desire] is the decision, a pure function;
// the text of daemons' files belongs to other rooms.
//
//	c := controller.New(controller.Options{Node: "lb1", Source: config.Dir("/etc/vipilot"), …})
//	err := c.Run(ctx)
package controller

import (
	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/vrrp"

	"net"
	"net/netip"
	"strconv"
	"time"
)

// Input is everything a decision may depend on. Its values are immutable; the
// maps belong to the loop and are not kept by Desire.
type Input struct {
	Node     string
	Tier     *Tier // not nil: this is the proxy of the host called Node, and Config is as it sees it
	Config   *config.Config
	Hosts    map[string]discovery.Snapshot
	Answered map[string]*Answers // by service
	Health   haproxy.Verdicts
	Taken    map[string]bool // frontends that cannot listen: another program has their port
	Obtained *Obtained       // certificates that came over ACME
	RunDir   string          // where sockets are
	Drains   *Drains         // by hand
	Stage    Stage           // how far the node is on its way out of service
	Expected bool            // a preferred node is about to take VIPs back
	Relieved []string        // VIPs that do not preempt and are given up, to be carried by a node that routers hear
	FRR      routing.FRR     // where FRR is, and whose
	NoUDP    string          // why this node can serve no UDP; "" = it can
	// Others are the other nodes that could be asked just now: by VIP, whether
	// they have a ready endpoint. A node that is not there is unknown.
	Others map[string]map[string]bool
}

// Answers remembers which servers of one service have answered, since the
// start given: a container that was started again has to answer again. It is
// replaced, never changed.
type Answers struct {
	Started map[string]time.Time // by server name
}

func (a *Answers) has(server string, started time.Time) bool {
	if a == nil {
		return false
	}
	since, ok := a.Started[server]
	return ok && since.Equal(started)
}

// Desired is the whole wanted state of the node, with a reason for everything
// that is refused.
type Desired struct {
	HAProxy haproxy.Config
	VRRP    vrrp.Config
	Routing routing.Config
	Anycast []netip.Addr // addresses this node carries on lo
	Pools   map[string]*Pool
	// Silent says why a VIP that could be announced is not wanted announced.
	Silent map[string]string
}

// Pool is who serves one service: its members, and who was turned away.
type Pool struct {
	Members  []Member              // sorted by Name
	Rejected []discovery.Rejection // sorted by Name
	Backend  *haproxy.Backend      // nil = of UDP
	Branches []Branch              // sorted by Value; Backend has no servers then
	Awaits   bool                  // a member has still to answer
}

// Member is one endpoint of a service and the server it becomes.
type Member struct {
	discovery.Endpoint
	Server   string // HAProxy's name for it
	Branch   string // the value of the service's host label; "" = the service has none
	Started  time.Time
	Answered bool // it has accepted a connection, or passed the service's check, since Started
	Static   bool
	Set      string // of the service's split; "" = none
	ByHand   bool   // drained by hand: its sessions finish, it is no server any more
	Swarm    string // the ID of the Swarm whose managers tell of it; "" = none
	Backup   bool
	DNSName  string // a static server named by host, with Port; Address is invalid then
	Port     uint16
	Source   netip.Addr // where connections to the proxy at Via come from
}

// target is where m is reached, as people write it.
func (m Member) target() string {
	if m.DNSName != "" {
		return net.JoinHostPort(m.DNSName, strconv.Itoa(int(m.Port)))
	}
	return m.Address.String()
}

// serves reports whether new sessions may go to m.
func (m Member) serves() bool { return m.Answered && !m.Drain }

// ready reports whether m serves and HAProxy does not say otherwise.
func (m Member) ready(h haproxy.Health) bool {
	return m.serves() && h != haproxy.Down && (!m.Static || h == haproxy.Up)
}
