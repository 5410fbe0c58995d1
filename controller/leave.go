package controller

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/vipilot/vipilot/config"
)

// leave ends the node's part in order: withdraw, wait for the routers, give
// up the VIPs, drain, stop.
func (l *loop) leave(ctx context.Context) error {
	l.log.Info("leaving in order: withdraw, give up the VIPs, drain, stop")
	l.in.Leaving = true
	elsewhere := l.servedElsewhere()
	if l.in.Config != nil {
		_, err := l.round(ctx)
		l.after(ctx, err)
		l.publish("leaving: withdrawn")
	}
	if elsewhere { // routers get time to act before anything behind them stops
		time.Sleep(l.in.Config.Routing.Converge)
	}
	err := errors.Join(l.election.Close(ctx), l.addresses.Close())
	l.publish("leaving: VIPs given up")
	drain := time.Duration(0)
	if l.in.Config != nil {
		for _, s := range l.in.Config.Services {
			drain = max(drain, s.Backend.Drain)
		}
	}
	drained, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	err = errors.Join(err, l.proxy.Close(drained))
	l.publish("leaving: drained")
	return errors.Join(err, l.router.Close(ctx))
}

// servedElsewhere reports whether this node announces a VIP that other nodes
// announce at the same time, so that waiting for the routers loses nothing. A
// VRRP VIP has no other announcer until this node gives it up: for it, waiting
// would be an outage.
func (l *loop) servedElsewhere() bool {
	state, ok := l.router.State()
	if !ok || l.in.Config == nil {
		return false
	}
	for _, vip := range l.in.Config.VIPs {
		if vip.HA != config.VRRP && slices.ContainsFunc(state.Announced, func(p netip.Prefix) bool { return slices.Contains(vip.Addresses, p.Addr()) }) {
			return true
		}
	}
	return false
}
