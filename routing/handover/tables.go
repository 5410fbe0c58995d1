package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	tableName = "vipilot_handover"
	// protocol marks our routes (ip route: proto 177), as BIRD and FRR do theirs.
	protocol = 177
	// maxFlows bounds what the kernel remembers: about 100 bytes each.
	maxFlows = 1 << 18
	timeWait = 6 // include/net/tcp_states.h
)

// tables is the real kernel.
type tables struct {
	v4, v6  *family // of the tables that are in place
	silence *silence
}

// family is one table. IPv4 and IPv6 need their own: the dup statement is
// theirs.
type family struct {
	table *nftables.Table
	moved *nftables.Set // addresses whose connections are noted
	flows *nftables.Set // connections that began here: client, its port, address, port
	via   *nftables.Set // from address to where the others are passed; ends by itself
	moves map[netip.Addr]bool
}

// hold silences first: nobody may be told that the address is here.
func (t *tables) hold(a netip.Addr) error {
	if a.Is4() && Near(a) {
		if err := t.silent(a); err != nil {
			return err
		}
	}
	return ignore(netlink.RouteAdd(local(a)), syscall.EEXIST)
}

func (t *tables) release(a netip.Addr) error {
	return errors.Join(ignore(netlink.RouteDel(local(a)), syscall.ESRCH), t.speaks(a))
}

// local is a route that has the kernel take packets for a as its own. Its
// metric leaves the kernel's own route first, when a is an address again.
func local(a netip.Addr) *netlink.Route {
	r := &netlink.Route{
		Dst: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}, LinkIndex: 1, // lo
		Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Protocol: protocol, Priority: 4096,
	}
	if a.Is6() {
		r.Scope = netlink.SCOPE_UNIVERSE
	}
	return r
}

func (t *tables) pass(moves []Move, d time.Duration) error {
	for _, f := range []struct {
		own    **family
		family nftables.TableFamily
		six    bool
	}{{&t.v4, nftables.TableFamilyIPv4, false}, {&t.v6, nftables.TableFamilyIPv6, true}} {
		mine := slices.DeleteFunc(slices.Clone(moves), func(m Move) bool { return m.Address.Is6() != f.six })
		if len(mine) == 0 {
			continue
		}
		if *f.own == nil {
			made, err := newFamily(f.family)
			if err != nil {
				return err
			}
			*f.own = made
		}
		if err := (*f.own).pass(mine, d); err != nil {
			return err
		}
	}
	return nil
}

func (t *tables) stop(addresses []netip.Addr) error {
	return errors.Join(t.v4.stop(addresses, &t.v4), t.v6.stop(addresses, &t.v6))
}

func (t *tables) reset() error {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_LOCAL, Protocol: protocol}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	errs := []error{err}
	for _, r := range routes {
		errs = append(errs, netlink.RouteDel(&r))
	}
	c, err := nftables.New()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	left, err := c.ListTables()
	if err != nil { // no nftables, nothing left there
		return errors.Join(errs...)
	}
	for _, table := range left {
		if table.Name == tableName {
			c.DelTable(table)
		}
	}
	t.v4, t.v6, t.silence = nil, nil, nil
	return errors.Join(append(errs, c.Flush())...)
}

// newFamily makes the table. Its two rules, as nft would list them for IPv4:
//
//	ip daddr @moved tcp flags & (syn|ack) == syn update @flows { ip saddr . tcp sport . ip daddr . tcp dport }
//	tcp flags & syn == 0 ip saddr . tcp sport . ip daddr . tcp dport != @flows dup to ip daddr map @via drop
func newFamily(number nftables.TableFamily) (*family, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	address, saddr, daddr := nftables.TypeIPAddr, uint32(12), uint32(16)
	if number == nftables.TableFamilyIPv6 {
		address, saddr, daddr = nftables.TypeIP6Addr, 8, 24
	}
	f := &family{moves: make(map[netip.Addr]bool)}
	f.table = c.AddTable(&nftables.Table{Family: number, Name: tableName})
	key, err := nftables.ConcatSetType(address, nftables.TypeInetService, address, nftables.TypeInetService)
	if err != nil {
		return nil, err
	}
	f.moved = &nftables.Set{Table: f.table, Name: "moved", KeyType: address}
	f.flows = &nftables.Set{Table: f.table, Name: "flows", KeyType: key, Concatenation: true, Dynamic: true, HasTimeout: true, Timeout: 2 * MaxTime, Size: maxFlows}
	f.via = &nftables.Set{Table: f.table, Name: "via", KeyType: address, DataType: address, IsMap: true, HasTimeout: true}
	for _, set := range []*nftables.Set{f.moved, f.flows, f.via} {
		if err := c.AddSet(set, nil); err != nil {
			return nil, fmt.Errorf("make nftables set %s: %w", set.Name, err)
		}
	}
	accept := nftables.ChainPolicyAccept
	chain := c.AddChain(&nftables.Chain{Name: "arriving", Table: f.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle, Policy: &accept})
	c.AddRule(&nftables.Rule{Table: f.table, Chain: chain, Exprs: slices.Concat(
		[]expr.Any{load(expr.PayloadBaseNetworkHeader, daddr, address.Bytes, 8), &expr.Lookup{SourceRegister: 8, SetName: f.moved.Name, SetID: f.moved.ID}},
		flags(tcpSYN|tcpACK, tcpSYN), flow(saddr, daddr, address.Bytes),
		[]expr.Any{&expr.Dynset{SrcRegKey: 8, SetName: f.flows.Name, SetID: f.flows.ID, Operation: unix.NFT_DYNSET_OP_UPDATE}},
	)})
	c.AddRule(&nftables.Rule{Table: f.table, Chain: chain, Exprs: slices.Concat(
		flags(tcpSYN, 0), flow(saddr, daddr, address.Bytes),
		[]expr.Any{
			&expr.Lookup{SourceRegister: 8, SetName: f.flows.Name, SetID: f.flows.ID, Invert: true},
			load(expr.PayloadBaseNetworkHeader, daddr, address.Bytes, 8),
			&expr.Lookup{SourceRegister: 8, SetName: f.via.Name, SetID: f.via.ID, DestRegister: 12, IsDestRegSet: true},
			&expr.Dup{RegAddr: 12},
			&expr.Verdict{Kind: expr.VerdictDrop},
		},
	)})
	if err := c.Flush(); err != nil {
		return nil, fmt.Errorf("make nftables table %s: %w", tableName, err)
	}
	return f, nil
}

// Flags of a TCP header, RFC 9293 section 3.1.
const (
	tcpSYN = 0x02
	tcpACK = 0x10
)

// flags goes on with TCP packets of which the masked flags are want.
func flags(mask, want byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		load(expr.PayloadBaseTransportHeader, 13, 1, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{want}},
	}
}

// flow loads the key of the flows from register 8 on, each part on its own.
func flow(saddr, daddr, size uint32) []expr.Any {
	words := size / 4
	return []expr.Any{
		load(expr.PayloadBaseNetworkHeader, saddr, size, 8),
		load(expr.PayloadBaseTransportHeader, 0, 2, 8+words),
		load(expr.PayloadBaseNetworkHeader, daddr, size, 9+words),
		load(expr.PayloadBaseTransportHeader, 2, 2, 9+2*words),
	}
}

func load(base expr.PayloadBase, offset, size, register uint32) *expr.Payload {
	return &expr.Payload{Base: base, Offset: offset, Len: size, DestRegister: register}
}

// pass notes connections first, then those that are there, and sends strangers
// away last: no packet of a connection that began here is sent.
func (f *family) pass(moves []Move, d time.Duration) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	var moved, via []nftables.SetElement
	for _, m := range moves {
		moved = append(moved, nftables.SetElement{Key: m.Address.AsSlice()})
		via = append(via, nftables.SetElement{Key: m.Address.AsSlice(), Val: m.Via.AsSlice(), Timeout: d})
		f.moves[m.Address] = true
	}
	if err := errors.Join(c.SetAddElements(f.moved, moved), c.Flush()); err != nil {
		return fmt.Errorf("note connections: %w", err)
	}
	known, err := established(moves)
	if err != nil {
		return fmt.Errorf("list connections: %w", err)
	}
	for part := range slices.Chunk(known, 1000) {
		if err := errors.Join(c.SetAddElements(f.flows, part), c.Flush()); err != nil {
			return fmt.Errorf("note connections: %w", err)
		}
	}
	return f.lead(via)
}

// lead tells where strangers are passed to. What is told already is told again
// in the same transaction that takes it back; it may have ended by itself just now.
func (f *family) lead(via []nftables.SetElement) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	var told []nftables.SetElement
	known, err := c.GetSetElements(f.via)
	if err != nil {
		return fmt.Errorf("list nftables map %s: %w", f.via.Name, err)
	}
	for _, e := range via {
		if slices.ContainsFunc(known, func(k nftables.SetElement) bool { return slices.Equal(k.Key, e.Key) }) {
			told = append(told, nftables.SetElement{Key: e.Key})
		}
	}
	if len(told) > 0 {
		err := errors.Join(c.SetDeleteElements(f.via, told), c.SetAddElements(f.via, via), c.Flush())
		if !errors.Is(err, syscall.ENOENT) {
			return err
		}
	}
	return errors.Join(c.SetAddElements(f.via, via), c.Flush())
}

// stop ends what belongs to the addresses, and removes the table after the last.
func (f *family) stop(addresses []netip.Addr, own **family) error {
	if f == nil {
		return nil
	}
	c, err := nftables.New()
	if err != nil {
		return err
	}
	var gone []nftables.SetElement
	for _, a := range addresses {
		if f.moves[a] {
			delete(f.moves, a)
			gone = append(gone, nftables.SetElement{Key: a.AsSlice()})
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if len(f.moves) == 0 {
		*own = nil
		c.DelTable(f.table)
		return c.Flush()
	}
	// Connections are noted until nobody is sent away any more.
	for _, e := range gone { // some have ended by themselves
		if err := errors.Join(c.SetDeleteElements(f.via, []nftables.SetElement{e}), ignore(c.Flush(), syscall.ENOENT)); err != nil {
			return err
		}
	}
	return errors.Join(c.SetDeleteElements(f.moved, gone), c.Flush())
}

// established are the connections to the addresses that began here. One that
// has ended does not count (TIME-WAIT): its client may have used the port again,
// for a connection to the other node.
func established(moves []Move) ([]nftables.SetElement, error) {
	proto := uint8(unix.AF_INET)
	if moves[0].Address.Is6() {
		proto = unix.AF_INET6
	}
	sockets, err := netlink.SocketDiagTCP(proto)
	if err != nil {
		return nil, err
	}
	var list []nftables.SetElement
	for _, s := range sockets {
		to, ok := netip.AddrFromSlice(s.ID.Source)
		from, ok2 := netip.AddrFromSlice(s.ID.Destination)
		if !ok || !ok2 || s.State == timeWait || s.ID.DestinationPort == 0 || !slices.ContainsFunc(moves, func(m Move) bool { return m.Address == to.Unmap() }) {
			continue
		}
		var key []byte
		key = append(append(key, from.Unmap().AsSlice()...), port(s.ID.DestinationPort)...)
		key = append(append(key, to.Unmap().AsSlice()...), port(s.ID.SourcePort)...)
		list = append(list, nftables.SetElement{Key: key})
	}
	return list, nil
}

// port is padded to a register.
func port(n uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, n), 0, 0) }

func ignore(err, one error) error {
	if errors.Is(err, one) {
		return nil
	}
	return err
}
