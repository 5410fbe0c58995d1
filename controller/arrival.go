package controller

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/routing/handover"
	"github.com/vipilot/vipilot/vrrp"
)

// A node that comes into service, after a drain or a boot, tells those that
// carry its VIPs meanwhile, and waits until they have asked their clients to
// reconnect. See docs/decisions/0017.
const (
	comingTime   = 3 * time.Second        // how long a node that says it comes is expected
	patienceBack = 4 * time.Second        // the longest wait for the others
	welcomeAgain = 200 * time.Millisecond // between two questions whether they are ready
)

// arrival is the way back as the loop goes it.
type arrival struct {
	boot    bool // this node has carried nothing yet since its HAProxy was started
	cancel  context.CancelFunc
	welcome bool // nobody has to be waited for any more
}

// comeBack moves a node that is wanted in service towards it.
func (l *loop) comeBack(ctx context.Context, step func(Stage)) {
	a := &l.arrival
	boot := a.boot && l.in.Stage == InService
	a.boot = false
	switch {
	case l.in.Stage == InService && !boot:
	case l.in.Stage == Returning:
		if a.welcome {
			l.stopAsking()
			step(InService)
		}
	case l.in.Stage == Reconnecting: // it has not left
		step(InService)
	default:
		hosts := l.givers()
		if len(hosts) == 0 {
			step(InService)
			return
		}
		step(Returning)
		ctx, a.cancel = context.WithCancel(ctx)
		a.welcome = false
		go l.askWelcome(ctx, hosts)
	}
}

// stopAsking is the end of the way back, there or not.
func (l *loop) stopAsking() {
	if l.arrival.cancel != nil {
		l.arrival.cancel()
		l.arrival.cancel = nil
	}
}

// givers are the nodes that may carry now what comes to this one when it is in
// service: what they announce as well, and what it takes from them.
func (l *loop) givers() []netip.AddrPort {
	in := l.in
	if l.handing.connections == nil || in.Tier != nil {
		return nil
	}
	var list []netip.AddrPort
	for _, n := range in.Config.Nodes {
		shares := func(v config.VIP) bool { return gives(v, n.Name, in.Node) }
		if n.Name != in.Node && n.Address.IsValid() && slices.ContainsFunc(movable(in.Config.VIPs, in.Node), shares) {
			list = append(list, netip.AddrPortFrom(n.Address, in.Config.Routing.HandoverPort))
		}
	}
	return list
}

// gives reports whether one node loses connections of a VIP to another that
// comes into service.
func gives(v config.VIP, from, to string) bool {
	a, b := slices.Index(v.Nodes, from), slices.Index(v.Nodes, to)
	switch {
	case a < 0 || b < 0:
		return false
	case v.HA == config.VRRP:
		return v.VRRP.Preempt && b < a
	}
	return v.HA == config.Anycast && v.Announce != nil
}

// askWelcome asks the others until all are ready, or do not answer, or it took
// too long.
func (l *loop) askWelcome(ctx context.Context, others []netip.AddrPort) {
	asking, cancel := context.WithTimeout(ctx, patienceBack)
	defer cancel()
	in, err := l.present()
	for asking.Err() == nil && (err != nil || in.Stage != Returning) { // they ask back at once
		pause(asking, 10*time.Millisecond)
		in, err = l.present()
	}
	heard := make(map[netip.AddrPort]bool)
	for asking.Err() == nil && len(others) > 0 {
		node, _ := in.Config.Node(in.Node)
		if others = l.askReady(asking, node.Address, others, heard); len(others) > 0 {
			pause(asking, welcomeAgain)
		}
	}
	l.send(ctx, event{cause: "other nodes are ready", fold: func() {
		if ctx.Err() == nil {
			l.arrival.welcome = true
		}
	}})
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// askReady asks all at once and returns those that have to be asked again: who
// is not ready, and who has answered before and does not now.
func (l *loop) askReady(ctx context.Context, from netip.Addr, others []netip.AddrPort, heard map[netip.AddrPort]bool) (left []netip.AddrPort) {
	type said struct {
		ready bool
		err   error
	}
	answers := make([]said, len(others))
	var wait sync.WaitGroup
	for i, to := range others {
		wait.Go(func() { answers[i].ready, answers[i].err = l.askComes(ctx, from, to, comingTime) })
	}
	wait.Wait()
	for i, to := range others {
		before := heard[to]
		heard[to] = answers[i].err == nil
		if !answers[i].ready && (heard[to] || before) {
			left = append(left, to)
		}
	}
	return left
}

// Comes takes in that another node comes into service, see [handover.Answers].
func (l *loop) Comes(from netip.Addr, d time.Duration) (ready bool, err error) {
	in, err := l.present()
	if err != nil {
		return false, err
	}
	node, err := asker(in, from)
	if err != nil {
		return false, err
	}
	until := time.Now().Add(min(d, comingTime))
	ctx, cancel := context.WithTimeout(context.Background(), welcomeAgain)
	defer cancel()
	l.send(ctx, event{fold: func() { l.relief.expectNode(node, until) }})
	return l.courtesy.Load().readyFor(node, time.Now()), nil
}

// Word is what this node says of itself, see [handover.Answers].
func (l *loop) Word(from netip.Addr) (handover.Word, error) {
	in, err := l.present()
	if err != nil {
		return handover.Word{}, err
	}
	if _, err := asker(in, from); err != nil {
		return handover.Word{}, err
	}
	word := handover.Word{Node: in.Node}
	if r := l.board.Report(); r != nil {
		word.Fit, word.Serving = slices.Sorted(maps.Keys(fitVIPs(r))), slices.Sorted(maps.Keys(servedVIPs(r)))
	}
	return word, nil
}

// askNodeWord asks another node what it says of itself.
func (l *loop) askNodeWord(ctx context.Context, other config.Node) (handover.Word, error) {
	cfg := l.newest.Load()
	node, ok := cfg.Node(l.opts.Node)
	if !ok || !node.Address.IsValid() || !other.Address.IsValid() {
		return handover.Word{}, fmt.Errorf("node %s or %s has no address", l.opts.Node, other.Name)
	}
	word, err := handover.AskWord(ctx, node.Address, netip.AddrPortFrom(other.Address, cfg.Routing.HandoverPort))
	if err == nil && word.Node != other.Name {
		err = fmt.Errorf("%s calls itself %q", other.Name, word.Node)
	}
	return word, err
}

// expectArrivals has clients of what this node announces together with a node
// that comes reconnect beforehand: routers will lead some of their connections
// to that node.
func (l *loop) expectArrivals(ctx context.Context, now time.Time) {
	r := &l.relief
	for node, until := range r.coming {
		if !until.After(now) {
			delete(r.coming, node)
			continue
		}
		l.again(ctx, until.Sub(now))
		what := leaving{to: node}
		for _, vip := range l.in.Config.VIPs {
			if vip.HA == config.Anycast && gives(vip, l.in.Node, node) && l.announces(vip) {
				what.add(r, vip, until.Sub(now), now)
				l.in.Expected = true
			}
		}
		l.passOnBefore(ctx, what, now)
	}
}

// add has a VIP handed over that moves within left, unless that is done already.
func (what *leaving) add(r *relief, vip config.VIP, left time.Duration, now time.Time) {
	switch {
	case left <= 0:
		delete(r.passed, vip.Name)
	case r.passed[vip.Name].Sub(now) < heldTime:
		what.vips, what.d = append(what.vips, vip), max(what.d, left+heldTime)
	}
}

// passOnBefore asks for what is to be in place when the VIPs move.
func (l *loop) passOnBefore(ctx context.Context, what leaving, now time.Time) {
	if len(what.vips) == 0 {
		return
	}
	r := &l.relief
	if r.passed == nil {
		r.passed = make(map[string]time.Time)
	}
	what.vips, what.d = movable(what.vips, l.in.Node), min(what.d, handover.MaxTime)
	for _, vip := range what.vips {
		r.passed[vip.Name] = now.Add(what.d)
	}
	l.again(ctx, what.d-heldTime)
	l.handOver(ctx, what)
}

// tellReady keeps what a node that comes is told, after a round.
func (l *loop) tellReady(now time.Time) {
	r := &l.relief
	switch {
	case !l.in.Expected:
		r.asked = time.Time{}
	case r.asked.IsZero() && !l.applied.behind && l.applied.errs.proxy == nil:
		r.asked = now
	}
	c := &courtesy{expected: make(map[string]bool), asked: r.asked}
	for node := range r.coming {
		c.expected[node] = slices.ContainsFunc(l.in.Config.VIPs, func(v config.VIP) bool {
			return gives(v, l.in.Node, node) && (v.HA == config.VRRP && l.election.Role(v.Name) == vrrp.Master || v.HA == config.Anycast && l.announces(v))
		})
	}
	l.courtesy.Store(c)
}

// announces reports whether routers are told a VIP from here.
func (l *loop) announces(vip config.VIP) bool {
	state, _ := l.router.State()
	return slices.ContainsFunc(vip.Addresses, func(a netip.Addr) bool {
		return slices.Contains(state.Announced, netip.PrefixFrom(a, a.BitLen()))
	})
}
