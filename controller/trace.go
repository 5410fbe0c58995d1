package controller

import (
	"context"
	"net/netip"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/internal/span"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/vrrp"
)

// maxTracedEvents is how many events of a round have a span of their own; the
// rest is counted.
const maxTracedEvents = 16

// roundTrace makes one trace of what led to a round and of its steps. It
// belongs to the loop; without a tracer it keeps and costs nothing.
type roundTrace struct {
	tracer  trace.Tracer // nil = rounds are not traced
	events  []tracedEvent
	count   int       // of events
	folding time.Time // since when they are taken
}

type tracedEvent struct {
	cause               string
	heard, sent, folded time.Time // heard is zero where nobody knows
}

// trace has the loop traced, appliers included. Call it before run.
func (l *loop) trace(tracer trace.Tracer) {
	if tracer == nil {
		return
	}
	l.traced.tracer = tracer
	l.proxy, l.election = tracedProxy{l.proxy}, tracedElection{l.election}
	l.router, l.addresses = tracedRouter{l.router}, tracedAddresses{l.addresses}
}

// stamp notes when e was sent, from any goroutine.
func (t *roundTrace) stamp(e *event) {
	if t.tracer != nil {
		e.sent = time.Now()
	}
}

// fold notes an event whose folding began then.
func (t *roundTrace) fold(e event, began time.Time) {
	if t.tracer == nil {
		return
	}
	if t.count == 0 {
		t.folding = began
	}
	t.count++
	if e.cause != "" && len(t.events) < maxTracedEvents {
		t.events = append(t.events, tracedEvent{cause: e.cause, heard: e.heard, sent: e.sent, folded: time.Now()})
	}
}

// now is the time where rounds are traced.
func (t *roundTrace) now() (now time.Time) {
	if t.tracer != nil {
		now = time.Now()
	}
	return now
}

// begin opens the trace of a round at its first event.
func (t *roundTrace) begin(ctx context.Context, cause string) (context.Context, trace.Span) {
	if t.tracer == nil {
		return ctx, trace.SpanFromContext(ctx)
	}
	now := time.Now()
	first := now
	if t.count > 0 {
		first = t.folding
	}
	for _, e := range t.events {
		first = earliest(first, earliest(e.heard, e.sent))
	}
	ctx, whole := t.tracer.Start(ctx, "round", trace.WithNewRoot(), trace.WithTimestamp(first),
		trace.WithAttributes(attribute.String("vipilot.cause", cause), attribute.Int("vipilot.events", t.count)))
	part := func(name string, from, to time.Time, say ...attribute.KeyValue) {
		_, one := t.tracer.Start(ctx, name, trace.WithTimestamp(from), trace.WithAttributes(say...))
		one.End(trace.WithTimestamp(to))
	}
	for _, e := range t.events {
		part("event", earliest(e.heard, e.sent), e.folded, attribute.String("vipilot.cause", e.cause))
	}
	if t.count > 0 {
		part("fold", t.folding, now)
	}
	t.events, t.count = nil, 0
	return ctx, whole
}

// end ends the trace of a round.
func (t *roundTrace) end(whole trace.Span, revision, changed string, err error) {
	if t.tracer == nil {
		return
	}
	whole.SetAttributes(attribute.String("vipilot.revision", revision), attribute.String("vipilot.changed", changed))
	span.Fail(whole, err)
	whole.End()
}

// earliest is the first of two times, of which zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// The traced appliers mark what Set does, and let everything else through.
type (
	tracedProxy     struct{ proxy }
	tracedElection  struct{ election }
	tracedRouter    struct{ router }
	tracedAddresses struct{ addresses }
)

func (p tracedProxy) Set(ctx context.Context, want haproxy.Config) (haproxy.Change, error) {
	ctx, end := span.Start(ctx, "haproxy")
	change, err := p.proxy.Set(ctx, want)
	end(err, attribute.String("vipilot.change", string(change.Kind)), attribute.String("vipilot.reload_cause", change.Cause))
	return change, err
}

func (e tracedElection) Set(ctx context.Context, want vrrp.Config) (bool, error) {
	ctx, end := span.Start(ctx, "keepalived")
	changed, err := e.election.Set(ctx, want)
	end(err, attribute.Bool("vipilot.changed", changed))
	return changed, err
}

func (r tracedRouter) Set(ctx context.Context, want remote.Want) (bool, error) {
	ctx, end := span.Start(ctx, "speaker")
	changed, err := r.router.Set(ctx, want)
	end(err, attribute.Bool("vipilot.changed", changed), attribute.Int("vipilot.prefixes", len(want.Routing.Prefixes)))
	return changed, err
}

func (a tracedAddresses) Set(ctx context.Context, want []netip.Addr) (bool, error) {
	ctx, end := span.Start(ctx, "anycast addresses")
	changed, err := a.addresses.Set(ctx, want)
	end(err, attribute.Bool("vipilot.changed", changed))
	return changed, err
}
