package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vipilot/vipilot/acme"
	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/routing/handover"
	"github.com/vipilot/vipilot/status"
)

const (
	inboxSize   = 4096
	firstRetry  = 200 * time.Millisecond // after a step that failed
	maxRetry    = 10 * time.Second
	adoptWindow = 2 * time.Second // how long the first round of a successor waits for the engines
	maxCauses   = 3               // named in one line; the rest is counted
)

// event is one fact that arrived: fold puts it into the state, on the loop's
// goroutine.
type event struct {
	cause string // for people; "" = not worth a line
	fold  func()
	heard time.Time // when it happened, as far as its source knows
	sent  time.Time // where rounds are traced
}

// loop is the one owner of the state. All its fields belong to the goroutine
// of run, except inbox, newest, offers, bearing, bearings, courtesy and known.
type loop struct {
	opts      Options
	log       *slog.Logger
	board     *status.Board
	memory    *memory
	proxy     proxy
	election  election
	router    router
	addresses addresses
	authority authority
	newSource newSource
	askStatus func(ctx context.Context, url string) (*status.Report, error)   // of another node
	askWord   func(ctx context.Context, n config.Node) (handover.Word, error) // of what another node says of itself before a VIP moves

	// askComes tells another node that this one comes, and asks whether it may.
	askComes func(ctx context.Context, from netip.Addr, to netip.AddrPort, d time.Duration) (bool, error)

	inbox   chan event
	in      Input
	plan    planner
	prober  *prober
	sources map[string]source
	applied applied
	waiting map[string]bool // hosts whose first word the first round waits for
	// inherited are the servers a predecessor's HAProxy sends new sessions to,
	// until the first round has counted them as answered.
	inherited map[haproxy.ServerKey]haproxy.Health
	ordered   *config.Config // whose certificates are ordered
	issued    map[acme.Key]acme.Certificate
	trial     *config.Config // the configuration to go back to when a component refuses the new one
	fresh     *config.Config // what the source had at the start, until the last good one is in force again
	rollout   rollout
	departure departure
	arrival   arrival
	relief    relief
	handing   handing
	bearing   atomic.Pointer[bearing]
	courtesy  atomic.Pointer[courtesy]
	bearings  chan struct{} // bearing was stored; pokes coalesce
	unrenewed string        // why it did not
	renewed   int           // the sentinel's process that was asked to hand over
	retry     time.Duration // grows with each round that fails
	complaint string        // the failure that was logged last
	next      *time.Timer   // asks for another round
	due       time.Time     // when next fires
	report    reporter
	udp       haproxy.Verdicts // on the servers of UDP services, made from udpFrom
	udpFrom   map[haproxy.ServerKey]haproxy.Health
	atGate    gateHealth
	steps     *status.Steps
	traced    roundTrace
	newest    atomic.Pointer[config.Config] // the last valid one offered
	offers    chan struct{}                 // newest was stored; pokes coalesce
	known     atomic.Pointer[facts]         // for explain
}

// send hands a fact to the loop, from any goroutine.
func (l *loop) send(ctx context.Context, e event) {
	l.traced.stamp(&e)
	select {
	case l.inbox <- e:
	case <-ctx.Done():
	}
}

// run folds events and makes rounds until ctx ends. The first event is acted
// on at once; what arrives while a round runs is taken together in the next.
func (l *loop) run(ctx context.Context) error {
	l.prober = newProber(ctx, func(p probe, took time.Duration) {
		l.steps.Took(status.StepAnswer, took)
		l.send(ctx, event{cause: p.key.Server + " answers", fold: func() { l.answer(p) }})
	})
	l.followHosts(ctx)
	deadline := time.After(adoptWindow)
	l.settle(ctx, "start")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-deadline:
			clear(l.waiting)
			l.settle(ctx, "")
		case e := <-l.inbox:
			l.settle(ctx, l.take(e))
		}
	}
}

// take folds e and everything else that has arrived, and returns the causes.
func (l *loop) take(e event) string {
	var causes []string
	more := 0
	for {
		began := l.traced.now()
		e.fold()
		l.traced.fold(e, began)
		switch {
		case e.cause == "":
		case len(causes) < maxCauses:
			causes = append(causes, e.cause)
		default:
			more++
		}
		select {
		case e = <-l.inbox:
			continue
		default:
		}
		break
	}
	cause := strings.Join(causes, "; ")
	if more > 0 {
		cause += fmt.Sprintf("; and %d more", more)
	}
	return cause
}

// settle makes a round, and another one when the first refused a new
// configuration, then reports.
func (l *loop) settle(ctx context.Context, cause string) {
	if len(l.waiting) > 0 || l.in.Config == nil {
		l.publish(cause)
		return
	}
	began := time.Now()
	l.inherit()
	l.observe()
	stage := l.in.Stage
	l.depart(ctx)
	if l.in.Stage != stage { // before the round, whose effects may show in the next report
		l.tellStage(cause)
	}
	l.relieve(ctx)
	l.orderCertificates()
	traced, whole := l.traced.begin(ctx, cause) // ctx goes on to watchers, which are no part of the round
	changed, err := l.round(traced)
	if err != nil && l.trial != nil {
		l.goBack(ctx, err)
		l.orderCertificates()
		_, err = l.round(traced)
	} else if l.trial = nil; err == nil {
		if l.watchProbation(ctx) {
			_, err = l.round(traced)
		}
		l.memory.keepConfig(l.in.Config)
	}
	l.traced.end(whole, l.applied.revision, changed, err)
	if err == nil && !l.applied.behind {
		l.authority.Open() // HAProxy has the ways of what was ordered
	}
	l.after(ctx, err)
	l.tellReady(time.Now())
	if err == nil {
		l.renew(ctx)
	}
	if changed != "" {
		l.log.Info("applied", "changed", changed, "cause", cause, "took", time.Since(began).Round(10*time.Microsecond))
	}
	if l.takeFresh(ctx, err) {
		l.settle(ctx, cause)
		return
	}
	l.publish(cause)
	known := l.known.Load()
	l.memory.keepEndpoints(known.in.Hosts, known.want.Pools)
}

// after arranges another round when one failed; a round that succeeds calms
// the retries down.
func (l *loop) after(ctx context.Context, err error) {
	if err == nil {
		l.retry, l.complaint = 0, ""
		return
	}
	if ctx.Err() != nil {
		return
	}
	if text := err.Error(); text != l.complaint {
		l.complaint = text
		l.log.Error("wanted state not reached, trying again", "err", err)
	}
	l.retry = min(max(firstRetry, 2*l.retry), maxRetry)
	l.again(ctx, l.retry)
}

// again asks for another round after a wait, at the latest: an earlier one
// that was asked for stands.
func (l *loop) again(ctx context.Context, wait time.Duration) {
	due := time.Now().Add(wait)
	if l.next != nil && l.due.After(time.Now()) && l.due.Before(due) {
		return
	}
	if l.next != nil {
		l.next.Stop()
	}
	l.due = due
	l.next = time.AfterFunc(wait, func() { l.send(ctx, event{fold: func() {}}) })
}

// refuse notes that a revision is not taken, and says so unless it was said.
func (l *loop) refuse(cfg *config.Config, err error) {
	refused, before := "", l.applied.refusal
	if cfg != nil {
		refused = cfg.Revision
	}
	known := before != nil && before.Error() == err.Error() && l.applied.refused == refused
	l.applied.refused, l.applied.refusal = refused, err
	if known {
		return
	}
	l.log.Error("revision refused, the last good one stays", "revision", l.applied.refused, "err", err)
}

// goBack returns to the configuration that was in force.
func (l *loop) goBack(ctx context.Context, err error) {
	l.refuse(l.in.Config, err)
	l.in.Config, l.trial = l.trial, nil
	l.tryOut("", nil)
	l.followHosts(ctx)
}

// observe takes what HAProxy says of its servers.
func (l *loop) observe() {
	l.in.Health = l.proxy.Servers()
	if l.in.Tier != nil {
		l.in.Health = l.atGate.of(l.in.Health)
	}
	l.observeUDP()
}
