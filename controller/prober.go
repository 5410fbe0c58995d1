package controller

import (
	"context"
	"sync"
	"time"
)

// Timing of the dials to a new endpoint. A process that was just started
// listens within milliseconds or takes its time; the wait grows accordingly.
const (
	firstProbeWait = 2 * time.Millisecond
	maxProbeWait   = time.Second
)

// Dials at the same moment. Ten thousand at once would cost more memory than
// all else; and endpoints that do not answer, which hold their place until the
// time-out, must leave room for those that were just started.
const (
	maxDials   = 256
	maxRepeats = 192 // of them not the first to their endpoint
)

// prober dials new endpoints until they answer, and tells the loop.
type prober struct {
	ctx      context.Context
	ask      func(context.Context, probe) error
	answered func(p probe, took time.Duration) // may block; called from many goroutines

	mu      sync.Mutex
	running map[probe]*attempt
	first   line // never dialed before
	repeats line
}

// line is who waits for a dial, and how many are dialed.
type line struct {
	waiting []*attempt
	dialed  int
}

// attempt is one endpoint on its way to an answer. It is given up as soon as
// it is not the one in prober.running.
type attempt struct {
	probe
	began  time.Time
	cancel context.CancelFunc // of the dial under way
	wait   time.Duration      // before the next
}

func newProber(ctx context.Context, answered func(p probe, took time.Duration)) *prober {
	return &prober{ctx: ctx, ask: ask, answered: answered, running: make(map[probe]*attempt)}
}

// set makes want the endpoints that are dialed: new ones are started, those
// no longer wanted are given up.
func (p *prober) set(want map[probe]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for one, a := range p.running {
		if !want[one] {
			a.cancel()
			delete(p.running, one)
		}
	}
	for one := range want {
		if p.running[one] == nil {
			a := &attempt{probe: one, began: time.Now(), cancel: func() {}, wait: firstProbeWait}
			p.running[one] = a
			p.first.waiting = append(p.first.waiting, a)
		}
	}
	p.dial()
}

// dial lets as many go on as there is room for.
func (p *prober) dial() {
	for len(p.first.waiting) > 0 && p.first.dialed+p.repeats.dialed < maxDials {
		p.start(&p.first)
	}
	for len(p.repeats.waiting) > 0 && p.first.dialed+p.repeats.dialed < maxDials && p.repeats.dialed < maxRepeats {
		p.start(&p.repeats)
	}
}

// start dials the first of a line.
func (p *prober) start(from *line) {
	a := from.waiting[0]
	from.waiting = from.waiting[1:]
	if p.running[a.probe] != a {
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	a.cancel = cancel
	from.dialed++
	go func() {
		err := p.ask(ctx, a.probe)
		cancel()
		if err == nil {
			p.answered(a.probe, time.Since(a.began))
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		from.dialed--
		if err != nil && p.ctx.Err() == nil && p.running[a.probe] == a {
			time.AfterFunc(a.wait, func() { p.repeat(a) })
			a.wait = min(2*a.wait, maxProbeWait)
		}
		p.dial()
	}()
}

// repeat lines an endpoint up again.
func (p *prober) repeat(a *attempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[a.probe] == a && p.ctx.Err() == nil {
		p.repeats.waiting = append(p.repeats.waiting, a)
		p.dial()
	}
}
