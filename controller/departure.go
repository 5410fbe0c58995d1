package controller

import (
	"context"
	"slices"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
	"github.com/vipilot/vipilot/vrrp"
)

// Stage is how far this node is on its way out of service, or back. Each step leaves
// traffic a way before it closes the next one, see docs/decisions/0009.
type Stage string

// The stages, in their order.
const (
	InService Stage = ""
	// Reconnecting: HTTP clients are asked to reconnect, and idle connections
	// are closed, while routers still lead them here. Only where something is
	// announced that other nodes announce as well: once it is withdrawn, the
	// packets of a connection come to a node that does not know it.
	Reconnecting Stage = "reconnecting"
	// Withdrawing: what other nodes announce at the same time is withdrawn
	// here, and HTTP clients are asked to reconnect.
	Withdrawing Stage = "withdrawing"
	// Yielding: any other node may have the VRRP VIPs. This one serves and
	// announces what nobody takes.
	Yielding Stage = "yielding"
	// Returning: wanted in service again, or for the first time. The others are
	// told, and as to traffic nothing is changed until they are ready.
	Returning Stage = "returning"
	// Leaving: the controller ends, and nothing is announced any more.
	Leaving Stage = "leaving"
)

// reconnectTime is how long clients are asked to reconnect before the first
// prefix goes: a reload of HAProxy, and what comes on connections until then.
const reconnectTime = 500 * time.Millisecond

// departure is the way out as the loop goes it.
type departure struct {
	ending bool      // the controller ends
	since  time.Time // when the present stage began
	asked  time.Time // when HAProxy had been told to ask clients to reconnect
}

// depart moves to the next stage when its time has come, and asks for a round
// at the time of the one after.
func (l *loop) depart(ctx context.Context) {
	d, now := &l.departure, time.Now()
	step := func(to Stage) {
		if l.in.Stage != to {
			l.log.Info("node", "from", orInService(l.in.Stage), "to", orInService(to))
			l.in.Stage, d.since = to, now
			l.leaveBehind(ctx, to)
		}
	}
	switch {
	case l.in.Stage == Leaving:
	case !d.ending && !l.wantedOut():
		l.comeBack(ctx, step)
	case l.in.Stage == Yielding:
	case l.in.Stage == Returning:
		l.stopAsking()
		step(Yielding)
	case l.in.Stage == InService && !l.carriesTraffic():
		step(Yielding)
	case l.in.Stage == InService && l.sharesPrefixes():
		step(Reconnecting)
		d.asked = time.Time{}
		l.again(ctx, 0) // after this round, in which HAProxy is reloaded
		return
	case l.in.Stage == InService:
		step(Withdrawing)
	}
	if l.in.Stage == Reconnecting {
		if left := l.reconnects(now); left > 0 {
			l.again(ctx, left)
			return
		}
		step(Withdrawing)
	}
	if l.in.Stage != Withdrawing {
		return
	}
	if left := l.in.Config.Routing.Converge - now.Sub(d.since); left > 0 {
		l.again(ctx, left)
		return
	}
	step(Yielding)
}

// reconnects is how long clients are still asked to reconnect: half a second
// from HAProxy's reload on. One that has to wait for its turn is waited for, but
// not for ever.
func (l *loop) reconnects(now time.Time) time.Duration {
	d := &l.departure
	if l.applied.behind && now.Sub(d.since) < 4*reconnectTime {
		return reconnectTime / 4
	}
	if d.asked.IsZero() {
		d.asked = now
	}
	return reconnectTime - now.Sub(d.asked)
}

// sharesPrefixes reports whether this node announces what others may announce
// at the same time.
func (l *loop) sharesPrefixes() bool {
	return slices.ContainsFunc(l.in.Config.VIPs, func(vip config.VIP) bool { return vip.HA != config.VRRP && l.announces(vip) })
}

func orInService(s Stage) string {
	if s == InService {
		return "in service"
	}
	return string(s)
}

// wantedOut reports whether the configuration, or somebody by hand, drains
// this node.
func (l *loop) wantedOut() bool {
	node, ok := l.in.Config.Node(l.in.Node)
	return ok && node.Drain || l.in.Drains.has(status.DrainNode, l.in.Node)
}

// carriesTraffic reports whether clients may come to this node now.
func (l *loop) carriesTraffic() bool {
	state, _ := l.router.State()
	return len(state.Announced) > 0 || len(l.masterOf()) > 0
}

// masterOf are the VRRP VIPs that this node carries.
func (l *loop) masterOf() []config.VIP {
	var vips []config.VIP
	for _, vip := range l.in.Config.VIPs {
		if vip.HA == config.VRRP && slices.Contains(vip.Nodes, l.in.Node) && l.election.Role(vip.Name) == vrrp.Master {
			vips = append(vips, vip)
		}
	}
	return vips
}

// tellStage emits the event of a stage that begins. All else that the report
// says is told after the round.
func (l *loop) tellStage(cause string) {
	if l.report.last == nil {
		return
	}
	now := *l.report.last
	now.Stage = l.stage(&now)
	l.board.Emit(status.Diff(l.report.last, &now, cause)...)
	l.report.last = &now
}

// slowness is what another node, which may have much to do, needs beyond its timers.
const slowness = 3 * time.Second

// patience is how long another node may take until it has a VIP that this one
// yields: three adverts and a skew, and the delay before it preempts.
func (l *loop) patience() time.Duration {
	longest := time.Duration(0)
	for _, vip := range l.masterOf() {
		if len(vip.Nodes) > 1 {
			longest = max(longest, 4*vip.VRRP.AdvertInterval+vip.VRRP.PreemptDelay+slowness)
		}
	}
	return longest
}

// stage is the word for how far the node is: drained once nothing comes to it
// any more.
func (l *loop) stage(r *status.Report) string {
	if l.in.Stage != Yielding {
		return orInService(l.in.Stage)
	}
	for _, vip := range r.VIPs {
		if len(vip.Announced) > 0 || vip.HA == string(config.VRRP) && vip.Role == string(vrrp.Master) {
			return string(Yielding)
		}
	}
	return "drained"
}
