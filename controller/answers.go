package controller

import (
	"maps"
	"time"

	"github.com/vipilot/vipilot/haproxy"
)

// answer notes that an endpoint answered its first dial.
func (l *loop) answer(p probe) {
	fresh := &Answers{Started: make(map[string]time.Time)}
	if old := l.in.Answered[p.key.Backend]; old != nil {
		maps.Copy(fresh.Started, old.Started)
	}
	fresh.Started[p.key.Server] = p.started
	l.in.Answered[p.key.Backend] = fresh
}

// forget drops the answers of servers that are no members any more.
func (l *loop) forget(d Desired) {
	for service, answers := range l.in.Answered {
		pool := d.Pools[service]
		if pool == nil {
			delete(l.in.Answered, service)
			continue
		}
		if len(answers.Started) <= len(pool.Members) {
			continue
		}
		kept := &Answers{Started: make(map[string]time.Time)}
		for _, m := range pool.Members {
			if m.Answered && !m.Static {
				kept.Started[m.Server] = m.Started
			}
		}
		l.in.Answered[service] = kept
	}
}

// inherit counts the endpoints that a predecessor has readied as answered,
// whether or not it had the time to remember them on disk.
func (l *loop) inherit() {
	if l.inherited == nil {
		return
	}
	want, err := l.plan.desire(l.in)
	if err != nil {
		return // the round says so
	}
	for service, pool := range want.Pools {
		for _, m := range pool.Members {
			key := haproxy.ServerKey{Backend: service, Server: m.Server}
			if health, ok := l.inherited[haproxy.ServerKey{Backend: m.backend(service), Server: m.Server}]; ok && health != haproxy.Down && !m.Answered {
				l.answer(probe{key: key, started: m.Started})
			}
		}
	}
	l.inherited = nil
}
