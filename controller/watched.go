package controller

import (
	"context"
	"reflect"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/status"
)

// source is a running watcher of one host.
type source struct {
	host   config.Host
	cancel context.CancelFunc
	poke   func() // of a Swarm's manager: look at once; else nil
}

// followHosts starts and stops watchers so that exactly the declared hosts
// are watched, and listens to the other nodes.
func (l *loop) followHosts(ctx context.Context) {
	if l.in.Config == nil {
		return
	}
	l.followHandovers(ctx)
	declared := make(map[string]config.Host)
	for _, h := range l.in.Config.Hosts {
		declared[h.Name] = h
	}
	for name, s := range l.sources {
		h, ok := declared[name]
		if ok && sameEngine(s.host, h) {
			continue
		}
		s.cancel()
		delete(l.sources, name)
		if !ok {
			delete(l.in.Hosts, name)
		}
	}
	for name, h := range declared {
		if _, ok := l.sources[name]; !ok {
			l.watch(ctx, h)
		}
	}
}

// sameEngine reports whether the watcher of a serves b as well.
func sameEngine(a, b config.Host) bool {
	return a.Docker == b.Docker && a.Swarm == b.Swarm && reflect.DeepEqual(a.TLS, b.TLS)
}

func (l *loop) watch(ctx context.Context, h config.Host) {
	ctx, cancel := context.WithCancel(ctx)
	l.sources[h.Name] = source{host: h, cancel: cancel}
	src, err := l.newSource(h, l.in.Hosts[h.Name])
	if err != nil {
		last := l.in.Hosts[h.Name]
		l.in.Hosts[h.Name] = discovery.Snapshot{Host: h.Name, Containers: last.Containers, Node: last.Node, Swarm: last.Swarm, StaleSince: time.Now(), Err: err}
		l.log.Error("watch host", "host", h.Name, "err", err)
		return
	}
	if manager, ok := src.(interface{ Poke() }); ok && h.Swarm {
		l.sources[h.Name] = source{host: h, cancel: cancel, poke: manager.Poke}
	}
	snapshots := make(chan discovery.Snapshot)
	go func() {
		if err := src.Run(ctx, snapshots); err != nil && ctx.Err() == nil {
			l.log.Error("watch host ended early", "host", h.Name, "err", err, "bug", true)
		}
	}()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-snapshots:
				l.send(ctx, event{cause: h.Name + ": " + s.Cause, fold: func() { l.see(ctx, s) }, heard: s.Heard})
			}
		}
	}()
}

// see takes a snapshot, unless its watcher was stopped meanwhile.
func (l *loop) see(ctx context.Context, s discovery.Snapshot) {
	if ctx.Err() != nil {
		return
	}
	old, known := l.in.Hosts[s.Host]
	if !s.Connected && (old.Connected || !known || delayed(old.Err, s.Err)) {
		l.log.Warn("host unreachable, its endpoints stay", "host", s.Host, "containers", len(s.Containers), "err", s.Err)
	}
	if s.Connected && known && !old.Connected && old.Err != nil {
		l.log.Info("host connected", "host", s.Host, "containers", len(s.Containers))
	}
	if !s.Heard.IsZero() {
		l.steps.Took(status.StepInspect, s.At.Sub(s.Heard))
	}
	l.in.Hosts[s.Host] = s
	l.pokeManagers(old, s)
	delete(l.waiting, s.Host)
}

// delayed reports whether the reason of an outage is another one now.
func delayed(old, now error) bool {
	return now != nil && (old == nil || old.Error() != now.Error())
}
