package controller

import (
	"context"
	"errors"
	"time"
)

// leave ends the node's part in order: withdraw what others announce too, wait
// for the routers, hand the VIPs over, drain, stop. It runs on the loop's
// goroutine, after the loop.
func (l *loop) leave(ctx context.Context) error {
	l.log.Info("leaving in order: withdraw, hand the VIPs over, drain, stop")
	l.departure.ending = true
	l.due = time.Time{} // a round asked for before went with the loop's context
	if l.in.Config != nil {
		l.settle(ctx, "leaving")
		l.pump(ctx, l.in.Config.Routing.Converge+4*reconnectTime+time.Second, func() bool { return l.in.Stage == Yielding })
		l.pump(ctx, l.patience(), func() bool { return len(l.masterOf()) == 0 })
		l.in.Stage = Leaving
		l.settle(ctx, "leaving: withdrawn")
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
	if l.handing.connections != nil {
		err = errors.Join(err, l.handing.Close())
	}
	return errors.Join(err, l.router.Close(ctx))
}

// pump goes on with the loop's work until done, for d at most.
func (l *loop) pump(ctx context.Context, d time.Duration, done func() bool) {
	deadline := time.After(d)
	for !done() {
		select {
		case <-ctx.Done():
			return
		case <-deadline:
			return
		case e := <-l.inbox:
			l.settle(ctx, l.take(e))
		}
	}
}
