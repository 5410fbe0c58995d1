package controller

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

// grace is how long a service may be without a ready endpoint after a
// revision before the revision is blamed: new endpoints answer within it.
const grace = 3 * time.Second

// probation watches a revision that has just come into force. A service that
// had ready endpoints and has none now, though its containers would still
// serve by the revision before, takes the revision back.
type probation struct {
	old   *config.Config
	until time.Time
	ready map[string]map[string]bool // by service: the servers that were ready
	empty map[string]time.Time       // services without any, since when
}

// startProbation notes what serves now, before cfg is in force; nil when
// nothing is in force or the guard does not want it.
func (l *loop) startProbation(cfg *config.Config) *probation {
	if l.in.Config == nil || cfg.Guard.Settle == 0 {
		return nil
	}
	p := &probation{old: l.in.Config, until: time.Now().Add(cfg.Guard.Settle), empty: make(map[string]time.Time)}
	p.ready = l.readyServers()
	return p
}

// readyServers are the servers that new sessions go to, by service.
func (l *loop) readyServers() map[string]map[string]bool {
	all := make(map[string]map[string]bool)
	for service, pool := range l.applied.want.Pools {
		for _, m := range pool.Members {
			if !m.ready(l.in.Health.Of(m.backend(service), m.Server)) {
				continue
			}
			if all[service] == nil {
				all[service] = make(map[string]bool)
			}
			all[service][m.Server] = true
		}
	}
	return all
}

// watchProbation looks at the services after a round, and reports whether the
// revision in force was taken back: then another round is due.
func (l *loop) watchProbation(ctx context.Context) bool {
	p := l.rollout.trial
	if p == nil {
		return false
	}
	now := time.Now()
	ready := l.readyServers()
	var next time.Time
	for service := range p.ready {
		pool := l.applied.want.Pools[service]
		if pool == nil || len(ready[service]) > 0 {
			delete(p.empty, service) // removed on purpose, or well
			continue
		}
		if _, known := p.empty[service]; !known {
			p.empty[service] = now
		}
		due := p.empty[service].Add(min(grace, l.in.Config.Guard.Settle))
		if now.Before(due) {
			if next.IsZero() || due.Before(next) {
				next = due
			}
			continue
		}
		if p.blames(l.in, service, pool) {
			l.takeBack(ctx, service, len(p.ready[service]))
			return true
		}
	}
	switch {
	case !next.IsZero():
		l.again(ctx, next.Sub(now))
	case !now.Before(p.until):
		l.tryOut("", nil)
		l.log.Info("revision settled", "revision", l.in.Config.Revision)
	default:
		l.again(ctx, p.until.Sub(now))
	}
	return false
}

// blames reports whether it is the revision that left the service without a
// ready endpoint: by the revision before, some container that was ready would
// still be a server, and the revision changed how the service is served.
func (p *probation) blames(in Input, service string, now *Pool) bool {
	in.Config = p.old
	was, err := Desire(in)
	if err != nil || was.Pools[service] == nil {
		return false
	}
	before := was.Pools[service]
	alive := slices.ContainsFunc(before.Members, func(m Member) bool { return !m.Drain && p.ready[service][m.Server] })
	return alive && (!sameServers(before, now) || !sameBackend(before.Backend, now.Backend))
}

func sameServers(a, b *Pool) bool {
	names := func(pool *Pool) map[string]bool {
		all := make(map[string]bool)
		for _, m := range pool.Members {
			all[m.Server] = true
		}
		return all
	}
	return maps.Equal(names(a), names(b))
}

// sameBackend compares everything but the servers.
func sameBackend(a, b *haproxy.Backend) bool {
	if a == nil || b == nil { // of UDP
		return a == b
	}
	x, y := *a, *b
	x.Servers, y.Servers = nil, nil
	return reflect.DeepEqual(x, y)
}

// takeBack returns to the revision before, and remembers not to try again.
func (l *loop) takeBack(ctx context.Context, service string, had int) {
	bad, p := l.in.Config, l.rollout.trial
	why := fmt.Sprintf("it left service %s without a ready endpoint (it had %d), so revision %s is in force again; change the configuration, or let it through with vipilot approve %s",
		service, had, p.old.Revision, bad.Revision)
	l.log.Error("revision taken back", "revision", bad.Revision, "service", service, "back_to", p.old.Revision)
	l.trial = nil
	l.rollout.bad = badRevision{Revision: bad.Revision, Why: why}
	l.memory.keepBad(l.rollout.bad)
	l.memory.keepConfig(p.old)
	l.tryOut("", nil)
	l.rollout.waiting, l.rollout.why = bad, why
	l.in.Config = p.old
	l.followHosts(ctx)
}
