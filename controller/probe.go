package controller

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
)

// probeTimeout bounds one dial, with the answer to it.
const probeTimeout = 2 * time.Second

// probe is one endpoint that has not answered yet.
type probe struct {
	key     haproxy.ServerKey
	started time.Time
	address string
	path    string // HTTP check; "" = a connection is an answer
	host    string // the check's Host header; "" = localhost
	via     string // its name in the tier at address; "" = none
	source  netip.Addr
}

// ask dials once. With a path the answer must be what HAProxy's own check
// accepts: a status of 200 to 399.
func ask(ctx context.Context, p probe) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := p.dial(ctx)
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
		if !pool.Awaits {
			continue
		}
		for _, m := range pool.Members {
			if m.Answered || m.Drain {
				continue
			}
			one := probe{key: haproxy.ServerKey{Backend: service, Server: m.Server}, started: m.Started, address: m.Address.String()}
			if m.Via.IsValid() && pool.Backend.Place == haproxy.OnNode {
				service := config.Service{Name: service}
				one.address, one.via, one.source = m.Via.String(), viaName(service, m.Endpoint), m.Source
			}
			if pool.Backend.ProxyProtocol == "" || one.via != "" {
				one.path, one.host = pool.Backend.Check.Path, pool.Backend.Check.Host
			}
			want[one] = true
		}
	}
	return want
}
