package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Traffic is what HAProxy counted for one service since its worker began; a
// reload starts the counters anew.
type Traffic struct {
	Service   string                  `json:"service"`
	At        time.Time               `json:"at"`
	Total     Counters                `json:"total"`
	Endpoints map[EndpointID]Counters `json:"endpoints"` // by name and address
}

// EndpointID tells endpoints apart: a Swarm task has one name and several addresses.
type EndpointID string

// IDOf is how an endpoint is named in [Traffic].
func IDOf(name, address string) EndpointID { return EndpointID(name + " " + address) }

// Counters of a service or of one of its endpoints.
type Counters struct {
	Sessions         uint64    `json:"sessions"`
	Current          uint64    `json:"current_sessions"`
	Queued           uint64    `json:"queued"`
	Rate             uint64    `json:"sessions_per_second"`
	BytesIn          uint64    `json:"bytes_in"`
	BytesOut         uint64    `json:"bytes_out"`
	Responses        [5]uint64 `json:"responses"` // 1xx to 5xx
	ConnectionErrors uint64    `json:"connection_errors"`
	ResponseErrors   uint64    `json:"response_errors"`
	Retries          uint64    `json:"retries"`
	Redispatches     uint64    `json:"redispatches"`
	ClientAborts     uint64    `json:"client_aborts"`
	Milliseconds     uint64    `json:"mean_milliseconds"` // of the last 1,024 sessions
}

// Plus adds up; a mean is the worse of the two.
func (c Counters) Plus(o Counters) Counters {
	for i, n := range o.Responses {
		c.Responses[i] += n
	}
	c.Sessions += o.Sessions
	c.Current += o.Current
	c.Queued += o.Queued
	c.Rate += o.Rate
	c.BytesIn += o.BytesIn
	c.BytesOut += o.BytesOut
	c.ConnectionErrors += o.ConnectionErrors
	c.ResponseErrors += o.ResponseErrors
	c.Retries += o.Retries
	c.Redispatches += o.Redispatches
	c.ClientAborts += o.ClientAborts
	c.Milliseconds = max(c.Milliseconds, o.Milliseconds)
	return c
}

// ErrUnknown is a question about something this node does not know.
var ErrUnknown = errors.New("unknown")

const (
	trafficAge     = time.Second // how old counters may be: any number of readers cost HAProxy one dump
	trafficTimeout = 3 * time.Second
	mostRemembered = 256
)

// trafficMemory asks HAProxy once a second and service at most, and for one
// service at a time.
type trafficMemory struct {
	ask func(context.Context, string) (Traffic, error)

	mu   sync.Mutex
	last map[string]Traffic
	busy chan struct{}
}

func (m *trafficMemory) of(ctx context.Context, service string) (Traffic, error) {
	ctx, cancel := context.WithTimeout(ctx, trafficTimeout)
	defer cancel()
	if t, ok := m.fresh(service); ok {
		return t, nil
	}
	select {
	case m.busy <- struct{}{}:
		defer func() { <-m.busy }()
	case <-ctx.Done():
		return Traffic{}, errors.New("too many ask for counters at the same time; ask again")
	}
	if t, ok := m.fresh(service); ok { // somebody asked meanwhile
		return t, nil
	}
	t, err := m.ask(ctx, service)
	if err != nil {
		return Traffic{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil || len(m.last) >= mostRemembered {
		m.last = make(map[string]Traffic)
	}
	m.last[service] = t
	return t, nil
}

func (m *trafficMemory) fresh(service string) (Traffic, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.last[service]
	return t, ok && time.Since(t.At) < trafficAge
}

// serveTraffic is GET /v1/traffic?service=NAME.
func (s *Server) serveTraffic(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("service")
	_, known := s.report().Services[name]
	switch {
	case s.opts.Traffic == nil:
		plain(w, http.StatusNotImplemented, "this controller does not count")
		return
	case name == "":
		plain(w, http.StatusBadRequest, "name the service: GET /v1/traffic?service=NAME")
		return
	case !known:
		plain(w, http.StatusNotFound, "this node knows no such service; GET /v1/status lists them")
		return
	}
	t, err := s.traffic.of(r.Context(), name)
	if err != nil {
		plain(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	body, err := json.Marshal(t)
	if err != nil {
		s.log.Error("render counters", "err", err)
		plain(w, http.StatusInternalServerError, "the counters cannot be rendered; see the log")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n'))
}

// serveExporter is GET /metrics/haproxy: HAProxy's own exporter.
func (s *Server) serveExporter(w http.ResponseWriter, r *http.Request) {
	if s.opts.Export == nil {
		plain(w, http.StatusNotImplemented, "this controller has no HAProxy to ask")
		return
	}
	select {
	case s.exporters <- struct{}{}:
		defer func() { <-s.exporters }()
	default:
		w.Header().Set("Retry-After", "5")
		plain(w, http.StatusServiceUnavailable, "HAProxy's exporter is being read already")
		return
	}
	var body bytes.Buffer
	if err := s.opts.Export(r.Context(), &body, r.URL.Query().Get("scope") == "server"); err != nil {
		plain(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write(body.Bytes())
}

// Traffic asks what HAProxy counted for a service.
func (c *Client) Traffic(ctx context.Context, service string) (*Traffic, error) {
	body, err := c.do(ctx, http.MethodGet, "/v1/traffic?service="+url.QueryEscape(service), nil)
	if err != nil {
		return nil, err
	}
	var t Traffic
	if err := json.Unmarshal(body, &t); err != nil {
		return nil, fmt.Errorf("read the counters of %s: %w", c.addr, err)
	}
	return &t, nil
}

// Errors are the failures between HAProxy and the server.
func (c Counters) Errors() uint64 { return c.ConnectionErrors + c.ResponseErrors }
