package haproxy

import (
	"net/netip"
	"time"
)

// Config is the whole wanted state of HAProxy. It is a value: backends are
// shared by pointer between rounds, and an unchanged pointer means an
// unchanged backend, so a diff costs what changed.
type Config struct {
	Frontends []Frontend // sorted by Name
	Backends  []*Backend // sorted by Name
	Tier      *Tier      // nil unless this machine runs a second tier
	MaxConn   int        // 0 = derived from the file descriptor limit
	Peers     Peers      // who shares stick tables; written when a backend has one
	Raw       Raw
	// Closing asks HTTP clients to reconnect: every answer ends their
	// connection. Switched on before the addresses move to another node, by a
	// reload: the worker of before it ends its kept connections, HTTP/2 too.
	Closing bool
}

// Raw are lines of the operator's own for the sections all share, see [CheckRaw].
type Raw struct{ Global, Defaults []string }

// Mode is http or tcp.
type Mode string

// The modes of a frontend and a backend.
const (
	HTTP Mode = "http"
	TCP  Mode = "tcp"
)

// Frontend is one set of binds with rules.
type Frontend struct {
	Name          string
	Mode          Mode
	Binds         []Bind
	LastPort      uint16        // of the range that begins with the port of each bind; 0 = one port
	Routes        []Route       // http: by host and path; tcp: by SNI when SNI is set
	Default       string        // backend when no route matches; "" = 404 (http) or reject (tcp)
	Certificates  []Certificate // non-empty = TLS is terminated here; the first is the default
	Profile       Profile
	Redirects     []Route       // http only: Host/Path that answer with a redirect to https; Backend unused
	RedirectPort  uint16        // the https port redirects go to
	ClientTimeout time.Duration // 0 = default
	QUIC          bool          // HTTP/3 on the same addresses and ports; needs Certificates
	// Guarded is set where some path keeps clients out whom others let in: then
	// paths are compared as servers may read them, %61 like a.
	Guarded bool

	// Passthrough is, on a frontend that ends TLS, which server names it does
	// not end TLS for: each leads to a tcp backend as it comes.
	Passthrough []Route
	Inside      bool // behind a frontend that looks at names, in place of the binds; leave false, Set fills it in

	AcceptProxy []netip.Prefix // tcp, or with Passthrough: who speaks the PROXY protocol; all others are taken as they come
	Splits      []Split        // of the backends it leads to; leave nil, Set fills it in
}

// Bind is one listening socket; always rendered `transparent`.
type Bind struct {
	Address netip.Addr
	Port    uint16
}

func (b Bind) addrPort() netip.AddrPort { return netip.AddrPortFrom(b.Address, b.Port) }

// Route sends a host and path prefix (http), or a server name (tcp), to a backend.
// The longest path wins, then the exact host over the wildcard ("*.x") over every host ("").
type Route struct {
	Host    string
	Path    string // starts with /; a prefix of whole segments: /api matches /api and /api/x, not /apix
	Backend string
	If      Condition // http only: fulfilled besides; at the same path and host the most conditions win
	// KeepForwarded leaves the X-Forwarded headers of a request to the rules
	// of the backend, which must have Trusted. Otherwise they are dropped.
	KeepForwarded bool
}

// Backend is one pool of servers.
type Backend struct {
	Name                           string
	Mode                           Mode
	Balance                        string // roundrobin when empty
	StickyCookie                   string
	StickySource                   time.Duration // how long a client's address stays with its server; 0 = not at all
	StickyName                     bool          // the cookie holds the server's name: several servers share an address
	Place                          Place         // where in a tier it stands; OnNode otherwise
	Check                          Check
	MaxConn                        int // per server
	Retries                        *int
	ProxyProtocol                  ProxyVersion
	SlowStart                      time.Duration // how long a server that came up takes to its full weight; 0 = no time
	Outlier                        Outlier
	TLS                            *BackendTLS // nil = plain
	Guard                          Guard
	Connect, Server, Queue, Tunnel time.Duration // 0 = default
	// Drain is the longest that sessions of a server that left may last; 0 =
	// as long as they like.
	Drain   time.Duration
	Split   []Share  // between sets of servers; empty = one pool
	Servers []Server // sorted by Name
	H2      bool     // HTTP/2 to the servers, as gRPC wants it
	Rules   Rules
	Raw     []string // lines of the operator's own for the section, see [CheckRaw]
}

// Check is the health check of every server of a backend.
type Check struct {
	Host       string // the check's Host header; "" = localhost
	Path       string // "" = TCP
	Port       uint16 // not 0: servers have no port, but that of the client's connection; this one is checked
	Interval   time.Duration
	Rise, Fall int
}

// ServerState is HAProxy's administrative state.
type ServerState string

// The states of a server.
const (
	Ready ServerState = "ready"
	Drain ServerState = "drain" // no new sessions but those pinned by a cookie
	Maint ServerState = "maint" // no new sessions at all; running ones finish
)

// Server is one endpoint. Its name identifies it for ever: another container
// or another address is another name.
type Server struct {
	Name    string
	Address netip.AddrPort // invalid when Host or Socket is set
	Host    string         // host name and Port, resolved by HAProxy (never runtime-added)
	Port    uint16
	Socket  string // name of a unix socket in [Sockets]
	State   ServerState
	Weight  int // 0..256
	Backup  bool
	// Via, where not "", is the name of the endpoint in the tier that listens
	// at Address; connections to it come from Source, where that is valid.
	Via    string
	Source netip.Addr
	Set    string // one of the backend's Split; "" = the rest
}
