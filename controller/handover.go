package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/routing/handover"
	"github.com/vipilot/vipilot/vrrp"
)

// heldTime is how long the connections of a VIP outlive its move, once it
// has moved.
const heldTime = 10 * time.Second

// How long until the port for other nodes is tried again, at first and at last.
const (
	firstListen = time.Second
	lastListen  = 30 * time.Second
)

// connections is [handover.Handover] as the loop sees it.
type connections interface {
	Reset() error
	Hold(addresses []netip.Addr, d time.Duration) error
	Release(addresses []netip.Addr) error
	Pass(moves []handover.Move, d time.Duration) error
	Close() error
}

// leaveBehind holds the connections of what this node gives up as it enters a
// stage on its way out: first what others announce at the same time, then what
// they take over.
func (l *loop) leaveBehind(ctx context.Context, stage Stage) {
	var vips []config.VIP
	d := l.in.Config.Routing.Converge + heldTime
	switch stage {
	case Withdrawing:
		vips = slices.DeleteFunc(slices.Clone(l.in.Config.VIPs), func(v config.VIP) bool { return v.HA != config.Anycast })
	case Yielding:
		vips, d = l.masterOf(), l.patience()+heldTime
	}
	l.handOver(ctx, leaving{vips: movable(vips, l.in.Node), d: d}).Wait()
}

// handing is what the loop knows of hand-overs.
type handing struct {
	connections
	roles  map[string]vrrp.Role // as they were told last
	at     netip.AddrPort       // where other nodes may ask; invalid = nowhere
	cancel context.CancelFunc
}

// followHandovers listens where other nodes ask, as the configuration says.
func (l *loop) followHandovers(ctx context.Context) {
	h := &l.handing
	var at netip.AddrPort
	if node, ok := l.in.Config.Node(l.in.Node); ok && node.Address.IsValid() && len(movable(l.in.Config.VIPs, l.in.Node)) > 0 {
		at = netip.AddrPortFrom(node.Address, l.in.Config.Routing.HandoverPort)
	}
	if h.connections == nil || at == h.at {
		return
	}
	if h.cancel != nil {
		h.cancel()
	}
	h.at, h.cancel = at, nil
	if !at.IsValid() {
		return
	}
	ctx, h.cancel = context.WithCancel(ctx)
	go l.answerNodes(ctx, at)
}

// answerNodes serves other nodes' questions until ctx ends. An address that is
// not there yet, or a port that is taken, is tried again, ever less often.
func (l *loop) answerNodes(ctx context.Context, at netip.AddrPort) {
	for wait := firstListen; ; wait = min(2*wait, lastListen) {
		var lc net.ListenConfig
		listener, err := lc.Listen(ctx, "tcp", at.String())
		if err == nil {
			if wait > firstListen {
				l.log.Info("other nodes can hand their connections over to this one", "listen", at)
			}
			wait = firstListen
			err = handover.Serve(ctx, listener, l)
		}
		if ctx.Err() != nil {
			return
		}
		if wait == firstListen {
			l.log.Warn("other nodes cannot hand their connections over to this one, trying again", "listen", at, "err", err)
		}
		pause(ctx, wait)
	}
}

// movable are those VIPs of a node that another one may have next, and that
// come to it by VRRP or by routers.
func movable(vips []config.VIP, node string) []config.VIP {
	return slices.DeleteFunc(slices.Clone(vips), func(v config.VIP) bool {
		return v.HA != config.VRRP && v.Announce == nil || len(v.Nodes) < 2 || !slices.Contains(v.Nodes, node)
	})
}

// asker is which other node asks from an address.
func asker(in Input, from netip.Addr) (string, error) {
	i := slices.IndexFunc(in.Config.Nodes, func(n config.Node) bool { return n.Name != in.Node && n.Address == from })
	if i < 0 {
		return "", fmt.Errorf("%s is no other node's address", from)
	}
	return in.Config.Nodes[i].Name, nil
}

// present is what the last round knew, for those who ask from other goroutines.
func (l *loop) present() (Input, error) {
	known := l.known.Load()
	if known == nil || known.in.Config == nil {
		return Input{}, errors.New("no configuration is in force")
	}
	return known.in, nil
}

// PassOn passes on what belongs to connections of the node at from, see
// [handover.Answers].
func (l *loop) PassOn(from netip.Addr, r handover.Request) error {
	in, err := l.present()
	if err != nil {
		return err
	}
	if in.Stage != InService && in.Stage != Returning {
		return fmt.Errorf("node %s is being drained itself", in.Node)
	}
	leaving, err := asker(in, from)
	if err != nil {
		return err
	}
	shared := slices.DeleteFunc(movable(in.Config.VIPs, in.Node), func(v config.VIP) bool { return !slices.Contains(v.Nodes, leaving) })
	for _, m := range r.Moves {
		if !slices.ContainsFunc(shared, func(v config.VIP) bool { return slices.Contains(v.Addresses, m.Address) }) {
			return fmt.Errorf("%s is no address of a VIP that both nodes carry", m.Address)
		}
		if !handover.Near(m.Via) {
			return fmt.Errorf("%s is on no network of node %s", m.Via, in.Node)
		}
	}
	if err := l.handing.Pass(r.Moves, r.Time()); err != nil {
		l.log.Warn("connections of another node are not passed on", "node", leaving, "err", err)
		return err
	}
	l.log.Info("connections that began on another node are passed on", "node", leaving, "for", r.Time())
	return nil
}

// leaving is what a node hands over.
type leaving struct {
	vips []config.VIP
	d    time.Duration
	to   string // the one node that is to pass on; "" = all that carry the VIP
	gone bool   // the addresses are another node's already
}

// handOver holds the connections of VIPs that are about to leave this node, or
// have just left it, and asks the others to pass on what belongs to them. An
// address of the node's own network is held only when it has gone: this node
// answers for it until then. The answers, which are logged, can be waited for;
// no longer than [handover.Ask] does.
func (l *loop) handOver(ctx context.Context, what leaving) *sync.WaitGroup {
	var asking sync.WaitGroup
	node, ok := l.in.Config.Node(l.in.Node)
	if l.handing.connections == nil || !ok || !node.Address.IsValid() || len(what.vips) == 0 {
		return &asking
	}
	ways, err := handover.Ways(node.Address)
	if err != nil {
		l.log.Warn("connections in flight will be reset when a VIP moves", "err", err)
		return &asking
	}
	d := min(what.d, handover.MaxTime)
	asked := make(map[string][]handover.Move)
	var all []netip.Addr
	for _, vip := range what.vips {
		addresses := vip.Addresses
		if !what.gone {
			if addresses, err = handover.Routed(vip.Addresses); err != nil {
				l.log.Warn("connections in flight will be reset when a VIP moves", "vip", vip.Name, "err", err)
				continue
			}
		}
		all = append(all, addresses...)
		for _, a := range vip.Addresses {
			if w := slices.IndexFunc(ways, func(w netip.Addr) bool { return w.Is4() == a.Is4() }); w >= 0 {
				for _, other := range vip.Nodes {
					asked[other] = append(asked[other], handover.Move{Address: a, Via: ways[w]})
				}
			}
		}
	}
	if err := l.handing.Hold(all, d); err != nil {
		l.log.Warn("connections in flight will be reset when a VIP moves", "err", err)
		return &asking
	}
	for _, other := range l.in.Config.Nodes {
		moves := asked[other.Name]
		if other.Name == node.Name || len(moves) == 0 || !other.Address.IsValid() || what.to != "" && what.to != other.Name {
			continue
		}
		to := netip.AddrPortFrom(other.Address, l.in.Config.Routing.HandoverPort)
		asking.Go(func() {
			if err := handover.Ask(ctx, node.Address, to, handover.Request{Moves: moves, Milliseconds: int(d.Milliseconds())}); err != nil {
				l.log.Info("connections in flight will be reset if this node takes over", "node", other.Name, "err", err)
			}
		})
	}
	return &asking
}

// moved takes a change of role in: a VIP that another node has taken over in
// order leaves connections behind, one that came back has none to hold.
func (l *loop) moved(ctx context.Context, change vrrp.RoleChange) {
	h := &l.handing
	if h.connections == nil || l.in.Config == nil {
		return
	}
	before := h.roles[change.Instance]
	h.roles[change.Instance] = change.Role
	i := slices.IndexFunc(l.in.Config.VIPs, func(v config.VIP) bool { return v.HA == config.VRRP && v.Name == change.Instance })
	if i < 0 {
		return
	}
	vip := l.in.Config.VIPs[i]
	switch {
	case change.Role == vrrp.Master:
		if err := h.Release(vip.Addresses); err != nil {
			l.log.Warn("release held connections", "vip", vip.Name, "err", err)
		}
	case before != vrrp.Master:
	case change.Role == vrrp.Backup, l.in.Stage == Yielding, slices.Contains(l.in.Relieved, vip.Name): // not a fault: HAProxy goes on
		l.handOver(ctx, leaving{vips: movable([]config.VIP{vip}, l.in.Node), d: heldTime, gone: true})
	}
}
