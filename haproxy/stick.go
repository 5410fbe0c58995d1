package haproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// DefaultPeersPort is where nodes tell each other their stick tables.
const DefaultPeersPort = 10024

// tableSize bounds a stick table; the oldest client makes room for a new one.
// An entry costs about 100 bytes, and only when it is used.
const tableSize = 200_000

// PeersName stands in a [TakenError] for the socket of [Peers]: no frontend of
// ours is called so.
const PeersName = "peers"

// Peers are the nodes that share stick tables. A worker also hands them to its
// successor through its own node's entry, so they survive a reload with one
// node too. The section is written only while some backend has a table.
//
// The protocol has no password: a node listens on its own address alone.
type Peers struct {
	Local string // the name of this node, one of Nodes
	Port  uint16 // 0 = [DefaultPeersPort]
	Nodes []Peer // sorted by Name
}

// Peer is one node of [Peers].
type Peer struct {
	Name    string
	Address netip.Addr
}

func (p Peer) at(port uint16) netip.AddrPort {
	if port == 0 {
		port = DefaultPeersPort
	}
	return netip.AddrPortFrom(p.Address, port)
}

// local is this node's own entry.
func (p Peers) local() (Peer, bool) {
	i := slices.IndexFunc(p.Nodes, func(n Peer) bool { return n.Name == p.Local })
	if i < 0 {
		return Peer{}, false
	}
	return p.Nodes[i], true
}

// hasTable reports whether the backend remembers clients in a stick table.
func (b *Backend) hasTable() bool { return b.StickySource > 0 }

// sharesTables reports whether the peers section is needed.
func (c Config) sharesTables() bool {
	return len(c.Peers.Nodes) > 0 && slices.ContainsFunc(c.Backends, (*Backend).hasTable)
}

// localPeer is this node's name among the peers, "" without them.
func (c Config) localPeer() string {
	if !c.sharesTables() {
		return ""
	}
	return c.Peers.Local
}

// peersCause says whether the peers differ in what only a reload can change.
func peersCause(have, want Config) string {
	if have.sharesTables() == want.sharesTables() && (!want.sharesTables() || have.Peers.equal(want.Peers)) {
		return ""
	}
	return "peers changed"
}

func (p Peers) equal(q Peers) bool {
	return p.Local == q.Local && p.Port == q.Port && slices.Equal(p.Nodes, q.Nodes)
}

// writePeers writes the peers section. This node listens, transparently like
// every bind, on its own address only.
func writePeers(w *strings.Builder, p Peers) {
	w.WriteString("\npeers vipilot\n")
	if own, ok := p.local(); ok {
		fmt.Fprintf(w, "  bind %s transparent\n", own.at(p.Port))
	}
	for _, n := range p.Nodes {
		if n.Name == p.Local {
			fmt.Fprintf(w, "  server %s\n", n.Name)
			continue
		}
		fmt.Fprintf(w, "  server %s %s\n", n.Name, n.at(p.Port))
	}
}

// writeTable has the backend remember which server a client's address went to.
// Addresses of both families fit the type.
func (b *Backend) writeTable(w *strings.Builder, peers bool) {
	if !b.hasTable() {
		return
	}
	fmt.Fprintf(w, "  stick-table type ipv6 size %d expire %s", tableSize, millis(b.StickySource))
	if peers {
		w.WriteString(" peers vipilot")
	}
	w.WriteString("\n  stick on src\n")
}

// checkPeers returns the faults of the peers section.
func checkPeers(want Config) error {
	if !want.sharesTables() {
		return nil
	}
	if _, ok := want.Peers.local(); !ok {
		return fmt.Errorf("peers: this node %q is not one of them", want.Peers.Local)
	}
	last := ""
	for _, n := range want.Peers.Nodes {
		if !nameForm.MatchString(n.Name) || strings.Contains(n.Name, ":") || !n.Address.IsValid() || n.Address.Zone() != "" {
			return fmt.Errorf("peers: %q %s is not a node's name and address", n.Name, n.Address)
		}
		if n.Name <= last {
			return fmt.Errorf("peers: %q: names must be sorted and unique (after %q)", n.Name, last)
		}
		last = n.Name
	}
	return nil
}

// maxTable is the longest that a stick table may remember a client: HAProxy
// counts its times in 31 bits of milliseconds.
const maxTable = 24 * 24 * time.Hour

// peersListener is the peers' socket in the form of a frontend, to see whether
// it can be had.
func (c Config) peersListener() []Frontend {
	own, ok := c.Peers.local()
	if !ok || !c.sharesTables() {
		return nil
	}
	at := own.at(c.Peers.Port)
	return []Frontend{{Name: PeersName, Binds: []Bind{{Address: at.Addr(), Port: at.Port()}}}}
}
