package controller

import (
	"context"
	"errors"
	"time"
)

// converge is how long routers get to act on a withdrawal before anything
// behind it stops.
const converge = 2 * time.Second

// leave ends the node's part in order: withdraw, wait for the routers, give
// up the VIPs, drain, stop.
func (l *loop) leave(ctx context.Context) error {
	l.log.Info("leaving in order: withdraw, give up the VIPs, drain, stop")
	l.in.Leaving = true
	announced := 0
	if state, ok := l.router.State(); ok {
		announced = len(state.Announced)
	}
	if l.in.Config != nil {
		_, err := l.round(ctx)
		l.after(ctx, err)
		l.publish("leaving: withdrawn")
	}
	if announced > 0 {
		time.Sleep(converge)
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
