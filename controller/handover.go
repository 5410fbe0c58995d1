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
	l.handOver(ctx, movable(vips, l.in.Node), d).Wait()
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
	go func() {
		var lc net.ListenConfig
		listener, err := lc.Listen(ctx, "tcp", at.String())
		if err == nil {
			err = handover.Serve(ctx, listener, l.passOn)
		}
		if err != nil && ctx.Err() == nil {
			l.log.Warn("other nodes cannot hand their connections over to this one", "listen", at, "err", err)
		}
	}()
}

// movable are those VIPs of a node that another one may have next, and that
// routers are told of.
func movable(vips []config.VIP, node string) []config.VIP {
	return slices.DeleteFunc(slices.Clone(vips), func(v config.VIP) bool {
		return v.Announce == nil || len(v.Nodes) < 2 || !slices.Contains(v.Nodes, node)
	})
}

// passOn passes on what belongs to connections of the node at from. It runs
// on its own goroutine.
func (l *loop) passOn(from netip.Addr, r handover.Request) error {
	known := l.known.Load()
	if known == nil || known.in.Config == nil {
		return errors.New("no configuration is in force")
	}
	in := known.in
	if in.Stage != InService {
		return fmt.Errorf("node %s is being drained itself", in.Node)
	}
	i := slices.IndexFunc(in.Config.Nodes, func(n config.Node) bool { return n.Name != in.Node && n.Address == from })
	if i < 0 {
		return fmt.Errorf("%s is no other node's address", from)
	}
	leaving := in.Config.Nodes[i].Name
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

// handOver holds the connections of VIPs that are about to leave this node, or
// have just left it, and asks the others to pass on what belongs to them. The
// answers, which are logged, can be waited for; no longer than [handover.Ask] does.
func (l *loop) handOver(ctx context.Context, vips []config.VIP, d time.Duration) *sync.WaitGroup {
	var asking sync.WaitGroup
	node, ok := l.in.Config.Node(l.in.Node)
	if l.handing.connections == nil || !ok || !node.Address.IsValid() || len(vips) == 0 {
		return &asking
	}
	d = min(d, handover.MaxTime)
	ways, err := handover.Ways(node.Address)
	if err != nil {
		l.log.Warn("connections in flight will be reset when a VIP moves", "err", err)
		return &asking
	}
	asked := make(map[string][]handover.Move)
	var all []netip.Addr
	for _, vip := range vips {
		addresses, err := handover.Routed(vip.Addresses)
		if err != nil {
			l.log.Warn("connections in flight will be reset when a VIP moves", "vip", vip.Name, "err", err)
			continue
		}
		all = append(all, addresses...)
		for _, a := range addresses {
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
		if other.Name == node.Name || len(moves) == 0 || !other.Address.IsValid() {
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
	case before != vrrp.Master || l.in.Stage != InService:
	case change.Role == vrrp.Backup, slices.Contains(l.in.Relieved, vip.Name): // not a fault: HAProxy goes on
		l.handOver(ctx, movable([]config.VIP{vip}, l.in.Node), heldTime)
	}
}
