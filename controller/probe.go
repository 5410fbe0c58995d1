package controller

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/vipilot/vipilot/haproxy"
)

// Timing of the first dials to a new endpoint. A process that was just started
// listens within milliseconds or takes its time; the wait grows accordingly.
const (
	firstProbeWait = 2 * time.Millisecond
	maxProbeWait   = time.Second
	probeTimeout   = 2 * time.Second
)

// probe is one endpoint that has not answered yet.
type probe struct {
	key     haproxy.ServerKey
	started time.Time
	address string
	path    string // HTTP check; "" = a connection is an answer
	host    string // the check's Host header; "" = localhost
}

// prober dials new endpoints until they answer, each on its own, and tells
// the loop. It belongs to the loop's goroutine; only answered is called from
// others.
type prober struct {
	ctx      context.Context
	answered func(p probe, took time.Duration)
	running  map[probe]context.CancelFunc
}

func newProber(ctx context.Context, answered func(p probe, took time.Duration)) *prober {
	return &prober{ctx: ctx, answered: answered, running: make(map[probe]context.CancelFunc)}
}

// set makes want the endpoints that are dialed: new ones are started, those
// no longer wanted are given up.
func (p *prober) set(want map[probe]bool) {
	for one, cancel := range p.running {
		if !want[one] {
			cancel()
			delete(p.running, one)
		}
	}
	for one := range want {
		if _, ok := p.running[one]; ok {
			continue
		}
		ctx, cancel := context.WithCancel(p.ctx)
		p.running[one] = cancel
		began := time.Now()
		go func() {
			if untilAnswer(ctx, one) == nil {
				p.answered(one, time.Since(began))
			}
		}()
	}
}

// untilAnswer dials again and again until the endpoint answers or ctx ends.
func untilAnswer(ctx context.Context, p probe) error {
	for wait := firstProbeWait; ; wait = min(2*wait, maxProbeWait) {
		if ask(ctx, p) == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// ask dials once. With a path the answer must be what HAProxy's own check
// accepts: a status of 200 to 399.
func ask(ctx context.Context, p probe) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if p.path == "" {
		return nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+p.path, nil)
	if err != nil {
		return err
	}
	request.Host = cmp.Or(p.host, "localhost")
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

// wantProbes are the members that have still to answer.
func wantProbes(d Desired) map[probe]bool {
	want := make(map[probe]bool)
	for service, pool := range d.Pools {
		for _, m := range pool.Members {
			if m.Answered || m.Drain {
				continue
			}
			one := probe{key: haproxy.ServerKey{Backend: service, Server: m.Server}, started: m.Started, address: m.Address.String()}
			if pool.Backend.ProxyProtocol == "" {
				one.path, one.host = pool.Backend.Check.Path, pool.Backend.Check.Host
			}
			want[one] = true
		}
	}
	return want
}
