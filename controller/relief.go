package controller

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/routing/handover"
	"github.com/vipilot/vipilot/status"
	"github.com/vipilot/vipilot/vrrp"
)

const (
	fitInterval = 500 * time.Millisecond // between two questions to another node
	reliefPause = time.Minute            // before a VIP that nobody took is given up again
)

// bearing is what the questions to other nodes depend on, by the last round.
type bearing struct {
	masters map[string]bool // VRRP VIPs that this node carries
	deaf    bool            // no router hears it
}

// fitness are the VRRP VIPs, by node, which other nodes could carry now: a node
// in service that is a backup and is heard by routers where that matters, twice
// in a row. A node that does not answer could not.
type fitness map[string]map[string]bool

// relief is what comes of it. See docs/decisions/0017.
type relief struct {
	fit    fitness
	coming map[string]time.Time // by node: it comes into service, and until when that is believed
	since  map[string]time.Time // by VIP: when another node was first seen about to take it, or it was given up
	asked  time.Time            // when HAProxy had been told to ask clients to reconnect
	passed map[string]time.Time // by VIP: until when the node that comes passes on what belongs to connections here
}

// courtesy is what a node that comes is told: who is expected, and since when
// clients are asked to reconnect because of it.
type courtesy struct {
	expected map[string]bool // by node; true = it takes something from here
	asked    time.Time
}

// readyFor reports whether that node may have its VIPs now.
func (c *courtesy) readyFor(node string, now time.Time) bool {
	if c == nil {
		return false
	}
	takes, known := c.expected[node]
	return known && (!takes || !c.asked.IsZero() && now.Sub(c.asked) >= reconnectTime)
}

// expectNode believes until then that a node comes.
func (r *relief) expectNode(node string, until time.Time) {
	if r.coming == nil {
		r.coming = make(map[string]time.Time)
	}
	r.coming[node] = until
}

// comes reports whether one of the nodes does.
func (r *relief) comes(nodes []string, now time.Time) bool {
	return slices.ContainsFunc(nodes, func(node string) bool { return r.coming[node].After(now) })
}

// relieve looks at each VRRP VIP of this node. One that a preferred node is
// about to take back has its clients asked to reconnect beforehand. One that does not preempt
// is given up for a moment when no router hears this node and another one is fit.
func (l *loop) relieve(ctx context.Context) {
	r, now := &l.relief, time.Now()
	if r.since == nil {
		r.since = make(map[string]time.Time)
	}
	state, _ := l.router.State()
	expected, relieved := l.in.Expected, l.in.Relieved
	st := bearing{masters: make(map[string]bool), deaf: state.Deaf}
	l.in.Expected, l.in.Relieved = false, nil
	l.expectArrivals(ctx, now)
	taken := leaving{}
	for _, vip := range l.in.Config.VIPs {
		rank := slices.Index(vip.Nodes, l.in.Node)
		if vip.HA != config.VRRP || rank < 0 {
			continue
		}
		if left := l.relieveOf(vip, rank, &st, &taken, now); left > 0 {
			l.again(ctx, left)
		}
	}
	l.passOnBefore(ctx, taken, now)
	if l.in.Expected && !expected {
		l.log.Info("another node is about to have VIPs of this one: HTTP clients are asked to reconnect")
	}
	if len(l.in.Relieved) > 0 && !slices.Equal(l.in.Relieved, relieved) {
		l.log.Warn("no router hears this node, and one hears another: VIPs given up", "vips", l.in.Relieved)
	}
	l.bearing.Store(&st)
	select {
	case l.bearings <- struct{}{}:
	default:
	}
}

// relieveOf looks at one VIP, for which this node has the given rank, and says for
// how long yet it is about to move.
func (l *loop) relieveOf(vip config.VIP, rank int, st *bearing, taken *leaving, now time.Time) (left time.Duration) {
	r, master := &l.relief, l.election.Role(vip.Name) == vrrp.Master
	if master {
		st.masters[vip.Name] = true
	}
	if vip.VRRP.Preempt {
		preferred := vip.Nodes[:rank]
		left = r.expect(vip, master && (r.fit.any(preferred, vip.Name) || r.comes(preferred, now)), now)
		l.in.Expected = l.in.Expected || left > 0
		taken.add(r, vip, left, now)
		return left
	}
	due := vip.Announce != nil && st.deaf && master && l.in.Stage == InService
	if left = r.giveUp(vip, due && r.fit.any(vip.Nodes, vip.Name), now); left > 0 {
		l.in.Relieved = append(l.in.Relieved, vip.Name)
	}
	return left
}

// expect says for how long yet clients are asked to reconnect because the VIP
// is about to be taken back; not for ever, as the other node may never do it.
func (r *relief) expect(vip config.VIP, about bool, now time.Time) time.Duration {
	if !about {
		delete(r.since, vip.Name)
		return 0
	}
	if r.since[vip.Name].IsZero() {
		r.since[vip.Name] = now
	}
	return r.since[vip.Name].Add(vip.VRRP.PreemptDelay + takeover(vip) + 5*time.Second).Sub(now)
}

// giveUp says for how long yet the VIP is given up. An election later it is no
// more, so that a node that nobody relieves has it again.
func (r *relief) giveUp(vip config.VIP, due bool, now time.Time) time.Duration {
	since, ok := r.since[vip.Name]
	if ok && now.Sub(since) > reliefPause {
		ok = false
		delete(r.since, vip.Name)
	}
	if !ok && due {
		since, ok = now, true
		r.since[vip.Name] = now
	}
	if !ok {
		return 0
	}
	return since.Add(takeover(vip) + time.Second).Sub(now)
}

// takeover is how long it takes until another node has what this one gives up.
func takeover(vip config.VIP) time.Duration { return 4 * vip.VRRP.AdvertInterval }

func (f fitness) any(nodes []string, vip string) bool {
	return slices.ContainsFunc(nodes, func(node string) bool { return f[node][vip] })
}

// watchFit keeps relief.fit until ctx ends. Where nothing depends on it, nobody is
// asked, and nothing happens before the next round.
func (l *loop) watchFit(ctx context.Context) error {
	if l.opts.Host != "" {
		return nil // a host's proxy knows no nodes
	}
	tick := time.NewTicker(fitInterval) // costs nothing while nobody receives from it
	defer tick.Stop()
	var before, told fitness
	for {
		nodes := rivals(l.newest.Load(), l.opts.Node, l.bearing.Load())
		said := l.askFit(ctx, nodes)
		fit := said.and(before)
		before = said
		if ctx.Err() == nil && !maps.EqualFunc(fit, told, maps.Equal) {
			told = fit
			l.send(ctx, event{fold: func() { l.relief.fit = fit }})
		}
		due, round := tick.C, (chan struct{})(nil)
		if len(nodes) == 0 {
			due, round = nil, l.bearings
		}
		select {
		case <-ctx.Done():
			return nil
		case <-round:
		case <-due:
		}
	}
}

// and is what both say.
func (f fitness) and(other fitness) fitness {
	both := make(fitness)
	for node, vips := range f {
		for vip := range vips {
			if other[node][vip] {
				if both[node] == nil {
					both[node] = make(map[string]bool)
				}
				both[node][vip] = true
			}
		}
	}
	return both
}

// rivals are the nodes to be asked: those that would take a VIP back from this
// one, and those that could relieve it while no router hears it.
func rivals(cfg *config.Config, node string, st *bearing) []config.Node {
	if cfg == nil || st == nil {
		return nil
	}
	asked := make(map[string]bool)
	for _, vip := range cfg.VIPs {
		if vip.HA != config.VRRP || !st.masters[vip.Name] {
			continue
		}
		candidates := vip.Nodes
		switch rank := slices.Index(vip.Nodes, node); {
		case vip.VRRP.Preempt && rank >= 0:
			candidates = vip.Nodes[:rank]
		case vip.Announce == nil || !st.deaf:
			continue
		}
		for _, name := range candidates {
			asked[name] = name != node
		}
	}
	return slices.DeleteFunc(slices.Clone(cfg.Nodes), func(n config.Node) bool { return !asked[n.Name] || !n.Address.IsValid() || n.Drain })
}

func (l *loop) askFit(ctx context.Context, nodes []config.Node) fitness {
	if len(nodes) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fitInterval)
	defer cancel()
	said := make(chan handover.Word, len(nodes))
	for _, n := range nodes {
		go func() {
			word, _ := l.askWord(ctx, n) // who says nothing is fit for nothing
			said <- word
		}()
	}
	fit := make(fitness)
	for range nodes {
		word := <-said
		for _, vip := range word.Fit {
			if fit[word.Node] == nil {
				fit[word.Node] = make(map[string]bool)
			}
			fit[word.Node][vip] = true
		}
	}
	return fit
}

// fitVIPs are those that a node could carry, as it reports.
func fitVIPs(r *status.Report) map[string]bool {
	fit := make(map[string]bool)
	if r.Stage != orInService(InService) || r.Components.HAProxy.State != "running" || r.Components.Speaker.Deaf {
		return fit
	}
	for name, vip := range r.VIPs {
		if vip.Role == string(vrrp.Backup) {
			fit[name] = true
		}
	}
	return fit
}
