// Package span marks the parts of a round for OpenTelemetry. It exports
// nothing and knows no collector: a part is recorded where the context carries
// a span that is, and costs one look at the context where it does not.
//
//	ctx, end := span.Start(ctx, "haproxy check")
//	err := check(ctx)
//	end(err)
package span

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Name of the instrumentation, as the collector sees it.
const Name = "github.com/vipilot/vipilot"

// End ends a part, with the error that it ended in and what there is to say of
// it. Call it once.
type End func(err error, say ...attribute.KeyValue)

// Start begins a part of what ctx belongs to. End must be called in any case.
func Start(ctx context.Context, name string) (context.Context, End) {
	whole := trace.SpanFromContext(ctx)
	if !whole.IsRecording() {
		return ctx, ignore
	}
	ctx, part := whole.TracerProvider().Tracer(Name).Start(ctx, name)
	return ctx, func(err error, say ...attribute.KeyValue) {
		part.SetAttributes(say...)
		Fail(part, err)
		part.End()
	}
}

// Fail notes an error on a span; nil is none.
func Fail(s trace.Span, err error) {
	if err != nil {
		s.SetStatus(codes.Error, err.Error())
	}
}

func ignore(error, ...attribute.KeyValue) {}
