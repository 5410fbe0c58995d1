package controller

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// about is what a span says, as text.
func about(s sdk.ReadOnlySpan) string {
	var words []string
	for _, kv := range s.Attributes() {
		words = append(words, strings.TrimPrefix(string(kv.Key), "vipilot.")+"="+kv.Value.Emit())
	}
	return strings.Join(append(words, s.Status().Description), " ")
}

func names(parts []sdk.ReadOnlySpan) (list []string) {
	for _, p := range parts {
		list = append(list, p.Name())
	}
	return list
}

// under are the spans below the last round, in the order they ended.
func under(t *testing.T, recorder *tracetest.SpanRecorder) (round sdk.ReadOnlySpan, parts []sdk.ReadOnlySpan) {
	t.Helper()
	ended := recorder.Ended()
	if len(ended) == 0 || ended[len(ended)-1].Name() != "round" || ended[len(ended)-1].Parent().IsValid() {
		t.Fatalf("%d spans, and the last is no round", len(ended))
	}
	round = ended[len(ended)-1]
	for _, s := range ended {
		if s.SpanContext().TraceID() == round.SpanContext().TraceID() && s != round {
			parts = append(parts, s)
		}
	}
	return round, parts
}

func TestRoundIsTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		l, engines := testLoop(t, n, load(t, pair))
		recorder := tracetest.NewSpanRecorder()
		l.trace(sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder)).Tracer("test"))
		defer start(t, l)()
		heard := time.Now()
		time.Sleep(30 * time.Millisecond) // what it takes to inspect the container
		s := snapshot("app1", web(1, "app", "todo"))
		s.Heard, s.At, s.Cause = heard, time.Now(), "start web-1"
		engines["app1"].snapshots <- s
		synctest.Wait()
		round, parts := under(t, recorder)
		if !round.StartTime().Equal(heard) || round.EndTime().Sub(heard) != 30*time.Millisecond {
			t.Errorf("the round is from %s to %s, the event was heard at %s", round.StartTime(), round.EndTime(), heard)
		}
		if got := about(round); !strings.Contains(got, "cause=app1: start web-1 events=1 revision="+l.in.Config.Revision+" changed=") {
			t.Errorf("the round says %q", got)
		}
		if got, want := names(parts), []string{"event", "fold", "desire", "haproxy", "keepalived"}; !slices.Equal(got, want) {
			t.Errorf("parts %q, want %q", got, want)
		}
		if got := about(parts[0]); !strings.Contains(got, "cause=app1: start web-1") || !parts[0].StartTime().Equal(heard) {
			t.Errorf("the event says %q, from %s", got, parts[0].StartTime())
		}

		answered(t, l)
		round, parts = under(t, recorder)
		if got := about(round); !strings.Contains(got, "changed=haproxy runtime, announced") {
			t.Errorf("the second round says %q", got)
		}
		if got, want := names(parts), []string{"fold", "desire", "haproxy", "keepalived", "speaker"}; !slices.Equal(got, want) {
			t.Errorf("parts %q, want %q", got, want)
		}
		if proxy, speaker := about(parts[2]), about(parts[4]); !strings.Contains(proxy, "change=runtime") || !strings.Contains(speaker, "changed=true prefixes=2") {
			t.Errorf("haproxy says %q, speaker %q", proxy, speaker)
		}

		n.mu.Lock()
		n.broken = errors.New("haproxy says no")
		n.mu.Unlock()
		l.in.Config = load(t, strings.Replace(pair, "  dns:", "  more: {vip: public, tcp: {port: 81}, backend: {port: 81}}\n  dns:", 1))
		n.pokes <- struct{}{}
		synctest.Wait()
		if round, _ := under(t, recorder); !strings.Contains(about(round), "haproxy says no") {
			t.Errorf("the failed round says %q", about(round))
		}
	})
}

func TestTraceIsBounded(t *testing.T) { synctest.Test(t, traceIsBounded) } // the clock stands still but for sleep

func traceIsBounded(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	traced := roundTrace{tracer: sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder)).Tracer("test")}
	for range 1000 {
		e := event{cause: "app1: start web-1"}
		traced.stamp(&e)
		traced.fold(e, traced.now())
	}
	_, whole := traced.begin(t.Context(), "many")
	traced.end(whole, "r1", "", nil)
	round, parts := under(t, recorder)
	if len(parts) != maxTracedEvents+1 || !strings.Contains(about(round), "events=1000") {
		t.Errorf("%d parts, %q", len(parts), about(round))
	}

	e := event{} // one that is not worth a line
	traced.stamp(&e)
	traced.fold(e, traced.now())
	time.Sleep(time.Millisecond)
	_, whole = traced.begin(t.Context(), "")
	traced.end(whole, "r1", "", nil)
	if round, parts := under(t, recorder); len(parts) != 1 || parts[0].StartTime().Before(round.StartTime()) {
		t.Errorf("%d parts, the first before the round that begins at %s", len(parts), round.StartTime())
	}
}

// Without a tracer nothing is kept and nothing is allocated.
func TestNoTraceIsFree(t *testing.T) {
	var traced roundTrace
	e := event{cause: "app1: start web-1"}
	cost := testing.AllocsPerRun(100, func() {
		traced.stamp(&e)
		traced.fold(e, traced.now())
		_, whole := traced.begin(t.Context(), "one")
		traced.end(whole, "r1", "", nil)
	})
	if cost != 0 || traced.count != 0 || !e.sent.IsZero() {
		t.Errorf("%v allocations, %+v", cost, traced)
	}
}
