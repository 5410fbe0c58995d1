package haproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/haproxytech/client-native/v6/config-parser/params"
)

// Tier is a second tier: on one port it takes what nodes send to single
// containers of this machine, and brings it to them. The connection comes
// behind a PROXY header with the client's address, and in TLS, whose server
// name says which container is meant: HAProxy can send nothing else that
// differs from server to server, for HTTP, any other TCP and checks alike.
//
// A connection passes two frontends. The first reads the name only, and looks
// in the backend [Gate] for a server called so, which is up while the container
// accepts connections; where there is none the connection ends before TLS is
// set up, so that the node takes another server. The second, behind a socket
// that only HAProxy opens, ends TLS and goes on to the container. Servers have
// weight 0 everywhere: none is ever chosen but by its name.
type Tier struct {
	Bind        netip.AddrPort
	Nodes       []netip.Addr  // who may connect, at least one
	Certificate []byte        // PEM, chain and key: it encrypts, nobody verifies it
	Idle        time.Duration // how long a session may be silent
}

// Gate is the name of the backend with one server for each endpoint of a tier.
const Gate = "tier:gate"

// Place is where in a tier a backend stands.
type Place string

// The places of a backend.
const (
	OnNode   Place = ""       // no tier: servers are balanced
	AtGate   Place = "gate"   // servers say whether a container accepts connections
	BehindIt Place = "behind" // servers are the containers
)

// Names in [Sockets]: HAProxy's log, and what lies between the two frontends of a tier.
const logSocket, insideSocket = "log.sock", "inside.sock"

const tierFrontend, tierCertificate = "tier:port", "certs/tier.pem"

// address is where the server is reached, as HAProxy reads it.
func (p Paths) address(b *Backend, s Server) string {
	switch {
	case b.Place == AtGate:
		return "unix@" + p.seen(p.socket(insideSocket))
	case s.Socket != "":
		return "unix@" + p.seen(p.socket(s.Socket))
	}
	return s.target()
}

// sameTarget reports whether what HAProxy has is the server that is wanted. Of
// a server at the gate HAProxy tells no address; its name says all.
func sameTarget(b *Backend, has, want Server) bool {
	if b.Place == AtGate {
		return has.Socket == someSocket
	}
	return has.isAt(want)
}

func writeTier(w *strings.Builder, t *Tier, p Paths) {
	fmt.Fprintf(w, "\nfrontend %s from vipilot\n  mode tcp\n  no log\n  bind %s transparent", tierFrontend, t.Bind)
	if t.Bind.Addr().Is6() {
		w.WriteString(" v6only")
	}
	fmt.Fprintf(w, "\n  timeout client %s\n  tcp-request connection reject unless { src", millis(t.Idle))
	for _, node := range t.Nodes {
		fmt.Fprintf(w, " %s", node)
	}
	fmt.Fprintf(w, ` }
  tcp-request connection expect-proxy layer4
  tcp-request inspect-delay 5s
  tcp-request content reject unless { req.ssl_hello_type 1 }
  default_backend %s

frontend tier:inside from vipilot
  mode tcp
  no log
  bind unix@%s mode 666 accept-proxy ssl crt %s ssl-min-ver TLSv1.3
  timeout client %s
  use_backend %%[ssl_fc_sni,field(2,.,0)]
`, Gate, p.socket(insideSocket), tierCertificate, millis(t.Idle))
}

// writeInTier writes what a backend in a tier has in place of balancing: the
// name decides. It does not retry: the node does, and knows other servers.
func writeInTier(w *strings.Builder, b *Backend) {
	name := "ssl_fc_sni,field(1,.)"
	if b.Place == AtGate {
		name = "req.ssl_sni"
	}
	fmt.Fprintf(w, "  retries 0\n  use-server %%[%s] if { %s -m found }\n", name, name)
}

// gateOptions make a server that is up while the container accepts connections.
func gateOptions(s Server) []params.ServerOption {
	return []params.ServerOption{
		word("check"), value("inter", "1s"), value("fastinter", "200ms"), value("rise", "1"), value("fall", "3"),
		value("addr", s.Address.Addr().String()), value("port", fmt.Sprint(s.Address.Port())),
		value("weight", "0"), word("send-proxy-v2"),
	}
}

// viaOptions lead to the tier of another machine, and to one endpoint there.
func viaOptions(s Server) []params.ServerOption {
	list := []params.ServerOption{
		word("send-proxy-v2"), word("check-send-proxy"),
		word("ssl"), value("verify", "none"), value("sni", "str("+s.Via+")"), word("check-ssl"), value("check-sni", s.Via),
	}
	if s.Source.IsValid() {
		list = append(list, value("source", s.Source.String()))
	}
	return list
}

// writePins makes the cookie hold the server's name. HAProxy's own cookie is
// made of the server's address, which servers behind one tier share.
func writePins(w *strings.Builder, b *Backend) {
	fmt.Fprintf(w, `  http-request set-var(txn.pin) req.cook(%[1]s)
  use-server %%[var(txn.pin)] if { var(txn.pin) -m found }
  http-response add-header Set-Cookie %[1]s=%%[srv_name];\ path=/;\ HttpOnly unless { srv_name,strcmp(txn.pin) eq 0 }
  http-response add-header Cache-Control private unless { srv_name,strcmp(txn.pin) eq 0 }
`, b.StickyCookie)
}

// tierCause is the difference between two tiers, all of which need a reload.
func tierCause(o, n *Tier) string {
	switch {
	case reflect.DeepEqual(o, n):
		return ""
	case o == nil:
		return "tier added"
	case n == nil:
		return "tier removed"
	}
	return "tier changed"
}

func checkTier(want Config) error {
	t := want.Tier
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("tier: "+format, args...)) }
	for _, b := range want.Backends {
		if (b.Place == AtGate || b.Place == BehindIt) && t == nil {
			fault("backend %q is in a tier that is not there", b.Name)
		}
	}
	if t == nil {
		return errors.Join(errs...)
	}
	if !t.Bind.IsValid() || t.Bind.Port() == 0 || t.Bind.Addr().Zone() != "" {
		fault("bind %s is not an address and a port", t.Bind)
	}
	if len(t.Nodes) == 0 || t.Idle <= 0 || len(t.Certificate) == 0 {
		fault("it needs nodes, an idle time and a certificate")
	}
	for _, node := range t.Nodes {
		if !node.IsValid() || node.Zone() != "" {
			fault("node %s is not an address", node)
		}
	}
	return errors.Join(errs...)
}

// viaFault says why the name of a server in a tier cannot stand in a file, "" when it can.
func viaFault(s Server) string {
	switch {
	case s.Via != "" && (!nameForm.MatchString(s.Via) || strings.Contains(s.Via, ":")):
		return "a name in a tier may hold letters, digits and _.- only"
	case s.Source.Zone() != "":
		return "its source has a zone"
	}
	return ""
}

// listening are the frontends with an address of this machine.
func (c Config) listening() []Frontend {
	if c.Tier == nil {
		return c.Frontends
	}
	port := Frontend{Name: tierFrontend, Binds: []Bind{{Address: c.Tier.Bind.Addr(), Port: c.Tier.Bind.Port()}}}
	return append(slices.Clip(c.Frontends), port)
}

// AtGate are the verdicts on the servers at a gate, under the services and the
// names that they have behind it.
func (v Verdicts) AtGate() Verdicts {
	single := make(map[ServerKey]Health)
	if gate := v[Gate]; gate != nil {
		for name, health := range gate.servers {
			if server, service, ok := strings.Cut(name, "."); ok {
				single[ServerKey{Backend: service, Server: server}] = health
			}
		}
	}
	return NewVerdicts(single)
}
