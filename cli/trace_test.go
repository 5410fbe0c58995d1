package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/vipilot/vipilot/internal/collector"
	"github.com/vipilot/vipilot/internal/span"
)

// environment is a process's, as a table has it.
func environment(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestTraceTarget(t *testing.T) {
	for name, c := range map[string]struct {
		flag string
		vars map[string]string
		want string // or part of the error
	}{
		"nowhere":                {"", nil, ""},
		"the flag":               {"http://10.77.0.5:4318", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other:4318"}, "http://10.77.0.5:4318/v1/traces"},
		"a flag with a path":     {"https://collect.example.net/otlp/", nil, "https://collect.example.net/otlp/v1/traces"},
		"OpenTelemetry's own":    {"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"},
		"for traces, with path":  {"", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/in", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d"}, "http://c:4318/in"},
		"switched off":           {"http://c:4318", map[string]string{"OTEL_SDK_DISABLED": "true"}, ""},
		"gRPC":                   {"http://c:4317", map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"; vipilot speaks http/protobuf`},
		"no URL":                 {"collector:4318", nil, "--otlp-endpoint is no http or https URL"},
		"a password in it":       {"http://ann:hunter2@c:4318", nil, "--otlp-endpoint: put credentials into OTEL_EXPORTER_OTLP_HEADERS"},
		"a token in its query":   {"", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c?token=hunter2"}, "put credentials into"},
		"not even near to a URL": {"http://c:43 18", nil, "--otlp-endpoint is no http or https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tracing{endpoint: c.flag}.target(environment(c.vars))
			if err != nil {
				got = err.Error()
			}
			if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
				t.Errorf("%s, want %s", got, c.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is repeated: %s", got)
			}
			var usage usageError
			if err != nil && !errors.As(err, &usage) {
				t.Errorf("%v is not wrong usage", err)
			}
		})
	}
}

func TestNoTraces(t *testing.T) {
	tracer, end, err := tracing{}.start(t.Context(), Program{Getenv: environment(nil)}, slog.New(slog.DiscardHandler))
	if tracer != nil || err != nil {
		t.Errorf("%v, %v", tracer, err)
	}
	end()
}

func TestTracesArrive(t *testing.T) {
	var c collector.Collector
	server := httptest.NewServer(&c)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=berlin")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	log := new(bytes.Buffer)
	tracer, end, err := tracing{endpoint: server.URL, node: "lb1"}.start(t.Context(), Program{Version: "v7", Getenv: os.Getenv, Patience: patience}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, round := tracer.Start(t.Context(), "round")
	inner, endProxy := span.Start(ctx, "haproxy")
	_, endCheck := span.Start(inner, "haproxy check")
	endCheck(errors.New("no"), attribute.Int("n", 3), attribute.Bool("b", true))
	endProxy(nil)
	round.End()
	end()
	all := c.Traces()
	if len(all) != 1 {
		t.Fatalf("%d traces: %+v\n%s", len(all), all, log)
	}
	if got, want := collector.Names(all[0]), []string{"round", "round/haproxy", "round/haproxy/haproxy check"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	check := all[0][2]
	for key, want := range map[string]string{"service.name": "vipilot", "service.version": "v7", "service.instance.id": "lb1",
		"deployment.environment.name": "berlin", "n": "3", "b": "true"} {
		if check.About[key] != want {
			t.Errorf("%s is %q, want %q", key, check.About[key], want)
		}
	}
	if check.Failed != "no" {
		t.Errorf("failed: %q", check.Failed)
	}
	if r := c.Requests()[0]; r.Header.Get("Authorization") != "Bearer hunter2" || r.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("the environment was not heeded: %v", r.Header)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("a secret is in the log: %s", log)
	}
}

// A collector that is gone, or refuses, or hangs holds nobody up: spans are
// made at full speed, of which a bounded number is kept, and it is said once.
func TestCollectorGone(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	refuses := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(refuses.Close)
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hangs.Close)
	t.Cleanup(func() { close(release) })
	for name, c := range map[string]struct {
		url      string
		patience time.Duration // with a collector that answers
	}{"gone": {gone.URL, patience}, "refuses": {refuses.URL, patience}, "hangs": {hangs.URL, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(lockedBuffer)
			tracer, end, err := tracing{endpoint: c.url}.start(t.Context(), Program{Getenv: environment(nil), Patience: c.patience}, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 4 * spansKept {
				_, s := tracer.Start(context.Background(), fmt.Sprint(i))
				s.End()
			}
			began := time.Now()
			end()
			if took := time.Since(began); took > farewellTime+30*time.Second {
				t.Errorf("the end took %s", took)
			}
			if n := strings.Count(log.String(), "traces are lost"); n > 1 || n == 0 && name != "hangs" {
				t.Errorf("said %d times:\n%s", n, log)
			}
		})
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
