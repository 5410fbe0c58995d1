package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/vipilot/vipilot/internal/span"
)

// What a collector that is slow or gone may cost: so many spans are kept, the
// rest is dropped, and neither a round nor the end waits for it.
const (
	spansKept     = 2048
	exportTimeout = 10 * time.Second
	exportRest    = 5 * time.Second // between two attempts at most
	farewellTime  = 2 * time.Second
)

// tracing is where traces of rounds go.
type tracing struct {
	endpoint string // base URL of an OTLP collector; "" = nowhere, unless the environment names one
	node     string
}

// start gives the tracer, nil where traces go nowhere, and what ends it.
func (t tracing) start(ctx context.Context, p Program, log *slog.Logger) (trace.Tracer, func(), error) {
	target, err := t.target(p.Getenv)
	if target == "" || err != nil {
		return nil, func() {}, err
	}
	client, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(target), otlptracehttp.WithTimeout(exportTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: exportRest, MaxElapsedTime: exportTimeout}))
	if err != nil {
		return nil, nil, fmt.Errorf("export traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "vipilot"),
		attribute.String("service.version", p.Version), attribute.String("service.instance.id", t.node)),
		resource.WithFromEnv()) // OTEL_RESOURCE_ATTRIBUTES has the last word
	if err != nil {
		return nil, nil, fmt.Errorf("export traces: %w", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithResource(about),
		sdk.WithBatcher(&loud{SpanExporter: client, log: log.With("component", "traces")}, sdk.WithMaxQueueSize(spansKept), sdk.WithExportTimeout(exportTimeout)))
	log.Info("tracing rounds", "endpoint", target)
	return provider.Tracer(span.Name), func() {
		ctx, cancel := p.within(context.WithoutCancel(ctx), farewellTime)
		defer cancel()
		_ = provider.Shutdown(ctx) // what does not arrive in time is lost
	}, nil
}

// target is where spans are posted to: the flag, else OpenTelemetry's own
// variables, whose others (headers, certificates, sampling) the library reads.
func (t tracing) target(getenv func(string) string) (string, error) {
	target, name := t.endpoint, "--otlp-endpoint"
	whole := false // it names the path as well
	if target == "" {
		target, name = getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
		whole = target != ""
	}
	if target == "" {
		target, name = getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), "OTEL_EXPORTER_OTLP_ENDPOINT"
	}
	if target == "" || strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return "", nil
	}
	u, err := url.Parse(target)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", usageError{fmt.Errorf("%s is no http or https URL; a collector listens at http://HOST:4318", name)}
	case u.User != nil || u.RawQuery != "":
		return "", usageError{fmt.Errorf("%s: put credentials into OTEL_EXPORTER_OTLP_HEADERS, not into the URL", name)}
	}
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := getenv(variable); protocol != "" && protocol != "http/protobuf" {
			return "", usageError{fmt.Errorf("%s is %q; vipilot speaks http/protobuf", variable, protocol)}
		}
	}
	if !whole {
		u = u.JoinPath("v1", "traces")
	}
	return u.String(), nil
}

// loud says once that traces do not arrive, and once that they do again.
type loud struct {
	sdk.SpanExporter
	log  *slog.Logger
	lost atomic.Bool
}

// ExportSpans hands spans on. Its error is logged here, and nowhere else.
func (l *loud) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := l.SpanExporter.ExportSpans(ctx, spans)
	switch was := l.lost.Swap(err != nil); {
	case err != nil && !was:
		l.log.Warn("traces are lost, the collector does not take them", "err", err)
	case err == nil && was:
		l.log.Info("the collector takes traces again")
	}
	return nil
}
