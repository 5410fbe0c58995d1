package handover

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
)

// Offsets in an ARP packet of Ethernet and IPv4, RFC 826.
const (
	arpOperation = 6
	arpSender    = 14
	arpTarget    = 24
	arpRequest   = 1
)

// The hooks of ARP, include/uapi/linux/netfilter_arp.h.
const (
	arpIn  nftables.ChainHook = 0
	arpOut nftables.ChainHook = 1
)

// silence keeps ARP from telling neighbors of addresses that are held: they are
// another node's. IPv6 needs none of it, for neighbor discovery answers for
// addresses of an interface only, and asks from them alone.
type silence struct {
	table *nftables.Table
	held  *nftables.Set
	own   map[netip.Addr]netip.Addr // by address: the one of this node that asks for neighbors meanwhile
	asks  *nftables.Set
}

// silent has the node neither answer for a nor ask for neighbors in its name.
func (t *tables) silent(a netip.Addr) error {
	own, err := beside(a)
	if err != nil {
		return err
	}
	if t.silence == nil {
		made, err := newSilence()
		if err != nil {
			return err
		}
		t.silence = made
	}
	s := t.silence
	if _, ok := s.own[a]; ok {
		return nil
	}
	c, err := nftables.New()
	if err == nil {
		err = c.SetAddElements(s.held, []nftables.SetElement{{Key: a.AsSlice()}})
	}
	if err == nil {
		err = c.SetAddElements(s.asks, []nftables.SetElement{{Key: a.AsSlice(), Val: own.AsSlice()}})
	}
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		return fmt.Errorf("keep %s from being told to neighbors: %w", a, err)
	}
	s.own[a] = own
	return nil
}

// speaks is the end of silent. The last one takes the table along.
func (t *tables) speaks(a netip.Addr) error {
	s := t.silence
	if s == nil || !s.own[a].IsValid() {
		return nil
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	delete(s.own, a)
	if len(s.own) == 0 {
		t.silence = nil
		c.DelTable(s.table)
		return c.Flush()
	}
	gone := []nftables.SetElement{{Key: a.AsSlice()}}
	if err := c.SetDeleteElements(s.held, gone); err != nil {
		return err
	}
	if err := c.SetDeleteElements(s.asks, gone); err != nil {
		return err
	}
	return c.Flush()
}

// newSilence makes the table. As nft would list it:
//
//	chain answers { type filter hook input; arp operation request arp daddr ip @held drop }
//	chain asks { type filter hook output; arp saddr ip set arp saddr ip map @asks }
func newSilence() (*silence, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	s := &silence{own: make(map[netip.Addr]netip.Addr)}
	s.table = c.AddTable(&nftables.Table{Family: nftables.TableFamilyARP, Name: tableName})
	s.held = &nftables.Set{Table: s.table, Name: "held", KeyType: nftables.TypeIPAddr}
	s.asks = &nftables.Set{Table: s.table, Name: "asks", KeyType: nftables.TypeIPAddr, DataType: nftables.TypeIPAddr, IsMap: true}
	for _, set := range []*nftables.Set{s.held, s.asks} {
		if err := c.AddSet(set, nil); err != nil {
			return nil, fmt.Errorf("make nftables set %s: %w", set.Name, err)
		}
	}
	chain := func(name string, hook nftables.ChainHook) *nftables.Chain {
		accept := nftables.ChainPolicyAccept
		return c.AddChain(&nftables.Chain{Name: name, Table: s.table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookRef(hook), Priority: nftables.ChainPriorityFilter, Policy: &accept})
	}
	c.AddRule(&nftables.Rule{Table: s.table, Chain: chain("answers", arpIn), Exprs: []expr.Any{
		load(expr.PayloadBaseNetworkHeader, arpOperation, 2, 1),
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, arpRequest}},
		load(expr.PayloadBaseNetworkHeader, arpTarget, 4, 1),
		&expr.Lookup{SourceRegister: 1, SetName: s.held.Name, SetID: s.held.ID},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	c.AddRule(&nftables.Rule{Table: s.table, Chain: chain("asks", arpOut), Exprs: []expr.Any{
		load(expr.PayloadBaseNetworkHeader, arpSender, 4, 1),
		&expr.Lookup{SourceRegister: 1, SetName: s.asks.Name, SetID: s.asks.ID, DestRegister: 1, IsDestRegSet: true},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: arpSender, Len: 4},
	}})
	if err := c.Flush(); err != nil {
		return nil, fmt.Errorf("make nftables table %s: %w", tableName, err)
	}
	return s, nil
}

// beside is the node's own address on the network that a is on.
func beside(a netip.Addr) (netip.Addr, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list interfaces: %w", err)
	}
	for _, link := range links {
		networks, err := prefixes(link)
		if err != nil {
			return netip.Addr{}, err
		}
		for _, n := range networks {
			if !n.IsSingleIP() && n.Contains(a) && n.Addr() != a {
				return n.Addr(), nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("no address of this node is on the network of %s", a)
}
