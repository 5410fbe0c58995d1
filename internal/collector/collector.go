// Package collector takes OpenTelemetry traces over OTLP/HTTP, for tests: it
// reads what a real collector reads, and refuses what one would refuse.
//
//	c := new(collector.Collector)
//	server := httptest.NewServer(c)
//	… c.Traces() …
package collector

import (
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	collect "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
)

// maxBody bounds one export.
const maxBody = 16 << 20

// Span is one span, as it arrived.
type Span struct {
	Trace, ID, Parent string
	Name              string
	Start, End        time.Time
	Failed            string            // its error, "" without one
	About             map[string]string // attributes, its resource's too
}

// Collector keeps every span it is sent. Its methods may be called from
// several goroutines.
type Collector struct {
	mu       sync.Mutex
	spans    []Span
	requests []*http.Request
}

// ServeHTTP takes POST /v1/traces.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "POST /v1/traces, application/x-protobuf", http.StatusNotFound)
		return
	}
	var export collect.ExportTraceServiceRequest
	body, err := read(r)
	if err == nil {
		err = proto.Unmarshal(body, &export)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.keep(&export, r)
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty answer is an empty message
}

func read(r *http.Request) ([]byte, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		plain, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = plain
	}
	return io.ReadAll(io.LimitReader(body, maxBody))
}

func (c *Collector) keep(export *collect.ExportTraceServiceRequest, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r)
	for _, of := range export.GetResourceSpans() {
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				about := words(of.GetResource().GetAttributes())
				maps.Copy(about, words(s.GetAttributes()))
				c.spans = append(c.spans, Span{
					Trace: string(s.GetTraceId()), ID: string(s.GetSpanId()), Parent: string(s.GetParentSpanId()), Name: s.GetName(),
					Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())),
					Failed: s.GetStatus().GetMessage(), About: about,
				})
			}
		}
	}
}

// words are attributes as text, of the kinds that are used here.
func words(list []*common.KeyValue) map[string]string {
	all := make(map[string]string)
	for _, kv := range list {
		switch v := kv.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[kv.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			all[kv.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		case *common.AnyValue_BoolValue:
			all[kv.GetKey()] = strconv.FormatBool(v.BoolValue)
		}
	}
	return all
}

// Requests are the exports, in the order they came.
func (c *Collector) Requests() []*http.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// Traces are the spans by trace, the root first, the others as they began.
// Traces whose root has not come yet are left out.
func (c *Collector) Traces() [][]Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	byTrace := make(map[string][]Span)
	for _, s := range c.spans {
		byTrace[s.Trace] = append(byTrace[s.Trace], s)
	}
	var all [][]Span
	for _, spans := range byTrace {
		slices.SortStableFunc(spans, func(a, b Span) int {
			if (a.Parent == "") != (b.Parent == "") {
				return len(a.Parent) - len(b.Parent)
			}
			return a.Start.Compare(b.Start)
		})
		if spans[0].Parent == "" {
			all = append(all, spans)
		}
	}
	slices.SortFunc(all, func(a, b []Span) int { return a[0].Start.Compare(b[0].Start) })
	return all
}

// Names are the names of a trace's spans, each with those above it:
// "round/haproxy/haproxy check".
func Names(trace []Span) []string {
	byID := make(map[string]Span)
	for _, s := range trace {
		byID[s.ID] = s
	}
	var names []string
	for _, s := range trace {
		name := s.Name
		for up, ok := byID[s.Parent]; ok; up, ok = byID[up.Parent] {
			name = up.Name + "/" + name
		}
		names = append(names, name)
	}
	return names
}
