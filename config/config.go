// Package config reads the declarative description of services and virtual
// IPs and turns it into one checked, immutable [Config], or into every fault
// at once. It parses, it does not validate later: whoever holds a Config need
// not check it again. It knows no daemon and prints nothing.
//
//	cfg, err := config.Load(config.Dir("/etc/vipilot"))
//	var faults config.Faults
//	if errors.As(err, &faults) { … one line per mistake … }
package config

import (
	"net/netip"
	"time"
)

// Config is a whole, checked configuration. It is a value: nobody changes it
// after Load has returned it, and its slices are shared freely.
// Named things are slices sorted by name, nodes keep the order of
// declaration because that order is the default preference of VIPs.
type Config struct {
	Revision string // hash over all files read (hex, 12 digits), equal input gives an equal revision
	Nodes    []Node
	Hosts    []Host
	Networks []Network
	VIPs     []VIP
	Services []Service
	Issuers  []Issuer // the acme section
	Routing  Routing
	Guard    Guard
	HAProxy  HAProxy

	// Files holds every file that was read, by the name it was read under:
	// configuration files relative to the root, referenced files relative or
	// absolute as resolved. Loading from it gives this Config again.
	Files Tree
	// Dirs are the directories that were listed for files with changing names,
	// and the files elsewhere that were looked for and may yet come.
	Dirs []string
	// Warnings are remarks that do not keep the configuration from being used.
	Warnings Faults
}

// Node is a load-balancer machine.
type Node struct {
	Name      string
	Address   netip.Addr // the node's own address: VRRP unicast source, BGP next hop
	Interface string     // where VRRP instances live by default
	RouterID  netip.Addr // defaults to Address where that is IPv4
	Peers     []string   // names of routing.bgp.peers this node uses; nil = all
	Drain     bool       // state: drain
	Canary    bool       // takes a revision before the nodes that are none
	Status    string     // URL where other nodes read this one's status
}

// Host is an application machine with a Docker engine.
type Host struct {
	Name    string
	Docker  DockerURL
	TLS     *ClientTLS // nil = no TLS
	Address netip.Addr // where published ports are reached; invalid when Local (unix socket) and not given
	Drain   bool
	Swarm   bool
	Proxy   *HostProxy `json:",omitempty"` // nil = the host has none
}

// DockerURL says how an engine is reached.
type DockerURL struct {
	Scheme string // unix, tcp or ssh
	Path   string // unix: the socket
	Host   string // tcp, ssh: host:port
	User   string // ssh
}

// String gives the URL as the Docker client wants it, e.g. "tcp://10.77.0.11:2376".
func (u DockerURL) String() string {
	switch {
	case u.Scheme == "unix":
		return "unix://" + u.Path
	case u.User != "":
		return u.Scheme + "://" + u.User + "@" + u.Host
	}
	return u.Scheme + "://" + u.Host
}

// ClientTLS is the PEM material of a TLS client.
type ClientTLS struct {
	CA, Cert []byte
	Key      Secret
}

// Network is what is said about a Docker network, by its name.
type Network struct {
	Name   string
	Direct *bool // nil = by the driver
}

// HA says who places a VIP.
type HA string

// The three placements of contract section 3.
const (
	VRRP    HA = "vrrp"
	Anycast HA = "anycast"
	Static  HA = "static"
)

// VIP is one virtual service address set.
type VIP struct {
	Name      string
	Addresses []netip.Addr // at least one, no duplicates across VIPs
	HA        HA
	Nodes     []string // in order of preference, never empty
	VRRP      VRRPOptions
	Announce  *Announce // nil = not announced
	Pos       Pos
}

// VRRPOptions are the keys under vips.<name>.vrrp, with defaults filled in.
type VRRPOptions struct {
	ID             uint8  // VRID 1..255, unique among VIPs
	Interface      string // "" = the node's
	AdvertInterval time.Duration
	Preempt        bool
	PreemptDelay   time.Duration
	Unicast        bool
	Password       Secret
	GARP           GARP
}

// GARP says how a master tells switches and neighbors where the addresses are
// now: by gratuitous ARP for IPv4, by unsolicited neighbor advertisements for IPv6.
type GARP struct {
	Delay    time.Duration // from taking over to the second set, in whole seconds; 0 = there is none
	Repeat   uint8         // messages for each address in a set
	Refresh  time.Duration // between further single messages while it is the master, in whole seconds; 0 = none
	Interval time.Duration // pause between two messages on one interface, where the longest of its VIPs counts
}

// Announce says how a VIP is told to routers.
type Announce struct {
	BGP, OSPF   bool
	When        When
	Backup      Backup
	Communities []string // "65010:100", or large "65010:1:2"
	// MED and Prepend make the path of a VRRP backup less preferred, as Backup
	// says: the one or the other is 0.
	MED     uint32
	Prepend uint8
	// LocalPreference is for iBGP peers; 0 = the routers' default, 100.
	LocalPreference uint32
	// KeepLast has an anycast VIP announced without a ready endpoint when no
	// other node would announce it.
	KeepLast bool
}

// When is the condition of an announcement.
type When string

// See contract section 3, announce.when.
const (
	WhenServing When = "serving"
	WhenProxy   When = "proxy"
)

// Backup is what a VRRP backup does with the prefix.
type Backup string

// See contract section 3, announce.backup.
const (
	BackupWithdraw Backup = "withdraw"
	BackupMED      Backup = "med"
	BackupPrepend  Backup = "prepend"
)

// Service is what clients reach. Exactly one of HTTP, TCP and UDP is set.
type Service struct {
	Name    string
	VIP     string
	HTTP    *HTTP
	TCP     *TCP
	UDP     *UDP `json:",omitempty"`
	Backend Backend
	Raw     []RawLine // of HAProxy's language, for the section of its backend
	Pos     Pos
}

// TCP is the rule of a TCP service.
type TCP struct {
	Port uint16
	// Last makes it a range, from Port on: servers are reached at the port that
	// the client used, and asked at Backend.Port whether they live. 0 = one port.
	Last uint16   `json:",omitempty"`
	SNI  []string // lower case; TLS passthrough by server name
	// AcceptProxy are the networks that speak the PROXY protocol to this port,
	// and must; everybody else is taken as they come.
	AcceptProxy []netip.Prefix
	// Deny and Allow say which clients may connect: Deny goes first, an empty
	// Allow is everybody.
	Deny, Allow []netip.Prefix
}

// Backend says who serves and how.
type Backend struct {
	Containers    *Selector // nil = by label vipilot.service
	Servers       []StaticServer
	Port          uint16 // container port; 0 = label, else the single exposed TCP port
	Network       string
	Balance       string        // roundrobin, leastconn, random, source, uri
	StickyCookie  string        // "" = none
	StickySource  time.Duration // how long a client's address keeps its server; 0 = not at all
	SlowStart     time.Duration // how long a server that came up takes to its full weight; 0 = none
	Outlier       *Outlier      // nil = real traffic does not take a server out
	Check         *Check        // nil = TCP check with defaults
	Drain         time.Duration
	MaxConn       int // per server, 0 = no limit
	Retries       *int
	Split         []Set       // sorted by name; what they leave goes to the servers without a set
	ProxyProtocol string      // v1, v2, "" = none
	TLS           *BackendTLS // nil = plain
	H2            bool        // HTTP/2 to the servers
	Timeouts      Timeouts
	// Tiered: some host has a proxy, so several servers may share an address.
	Tiered bool `json:",omitempty"`
}

// Outlier takes a server out of rotation after failures of real traffic.
type Outlier struct {
	Errors  int    // in a row, at least 1
	Observe string // layer4 or layer7
}

// HAProxy is the haproxy section: what concerns every service.
type HAProxy struct {
	PeersPort uint16 // where nodes share stick tables; 0 = the default
	// Global and Defaults are lines of HAProxy's language for these sections.
	Global, Defaults []RawLine
}

// Timeouts of a backend; zero = the default.
type Timeouts struct {
	Connect, Server, Queue, Tunnel, Client time.Duration
}

// Check is a health check; Path "" = TCP.
type Check struct {
	Path       string
	Interval   time.Duration
	Rise, Fall int
}

// Selector picks containers: every condition given must hold.
type Selector struct {
	Labels  map[string]string
	Compose string // project/service
	Swarm   string // Swarm service name
	Image   string // glob
	Name    string // glob
}

// StaticServer is an endpoint that is not a container.
type StaticServer struct {
	Address netip.AddrPort // invalid when Host is set
	Host    string         // host name, with Port
	Port    uint16
	Backup  bool
	Weight  int    // 1..256, default 100
	Set     string // one of the backend's Split; "" = none
}

// Set is a set of servers with a share of the new sessions.
type Set struct {
	Name       string
	Percent    int
	Containers *Selector // nil = by label vipilot.set
}

// Routing is the routing section.
type Routing struct {
	BGP  *BGP
	OSPF *OSPF
	// Converge is how long leaving waits for the routers after the withdraw.
	Converge time.Duration
	// HandoverPort is where, on its own address, a node hears from the others
	// whose connections to pass on.
	HandoverPort uint16
}

// BGP is routing.bgp.
type BGP struct {
	ASN             uint32
	Speaker         string // gobgp or frr
	GracefulRestart time.Duration
	Peers           []Peer // sorted by name
}

// Peer is a BGP router we announce to.
type Peer struct {
	Name        string
	Address     netip.Addr
	ASN         uint32
	Password    Secret
	TTLSecurity bool
	HoldTime    time.Duration
	Source      netip.Addr // of the session; invalid = the node's address
	Multihop    uint8      // most hops to the router; 0 = it is on the wire
	BFD         BFD
	// What is added to every prefix on its way to this peer.
	MED             uint32
	Prepend         uint8
	LocalPreference uint32 // iBGP only; 0 = the prefix's
	Communities     []string
}

// BFD finds out within Interval times Multiplier that the other is gone; the
// zero value is off.
type BFD struct {
	Interval   time.Duration
	Multiplier uint8
}

// OSPF is routing.ospf.
type OSPF struct {
	Area                        netip.Addr
	Interfaces                  []string
	HelloInterval, DeadInterval time.Duration
	Broadcast                   bool // network type; false = point-to-point
	BFD                         BFD
	Password                    Secret // OSPFv2 only
}

// Guard says how a new revision comes into force. What it takes away is
// judged by the guard of the revision in force, how long it is tried by its own.
type Guard struct {
	// MaxRemoved is how many services, VIPs or peers, in percent of each, a
	// revision may remove without being approved; 100 = all.
	MaxRemoved int
	// Settle is how long a revision is watched: a service that it leaves
	// without a ready endpoint brings the last one back. 0 = not watched.
	Settle time.Duration
	// Soak is how long every canary must have been well with a revision before
	// the other nodes take it.
	Soak time.Duration
	// Wait is how long canaries that cannot be read are waited for, and GoOn what
	// then happens: the revision is taken all the same, or it waits for approval.
	Wait time.Duration
	GoOn bool
}

// Secret is text that must not be printed.
type Secret string

// String hides the secret from every log and format verb.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalJSON hides the secret from JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// Reveal gives the text itself, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }
