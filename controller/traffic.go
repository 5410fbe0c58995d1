package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// mostBranches bounds how many backends of one service are asked for counters.
const mostBranches = 100

// traffic is what HAProxy counted for a service. Any goroutine may ask.
func (l *loop) traffic(ctx context.Context, service string) (status.Traffic, error) {
	f := l.known.Load()
	if f == nil || f.in.Config == nil {
		return status.Traffic{}, errStarting
	}
	pool := f.want.Pools[service]
	if pool == nil {
		return status.Traffic{}, fmt.Errorf("%w: this node has no service %.60q", status.ErrUnknown, service)
	}
	t := status.Traffic{Service: service, At: time.Now(), Endpoints: make(map[status.EndpointID]status.Counters)}
	asked := make(map[string]map[string]haproxy.Traffic)
	for _, m := range pool.Members {
		backend := branchBackend(service, m.Branch)
		servers, known := asked[backend]
		if !known && len(asked) < mostBranches {
			whole, all, err := l.proxy.Traffic(ctx, backend)
			if err != nil {
				return status.Traffic{}, err
			}
			t.Total = t.Total.Plus(countersOf(whole))
			asked[backend], servers = all, all
		}
		if one, counted := servers[m.Server]; counted {
			t.Endpoints[status.IDOf(m.Name, m.target())] = countersOf(one)
		}
	}
	return t, nil
}

func countersOf(t haproxy.Traffic) status.Counters {
	return status.Counters{
		Sessions: t.Sessions, Current: t.Current, Queued: t.Queued, Rate: t.Rate, BytesIn: t.BytesIn, BytesOut: t.BytesOut, Responses: t.Responses,
		ConnectionErrors: t.Connect, ResponseErrors: t.Response, Retries: t.Retries, Redispatches: t.Redirects, ClientAborts: t.Aborted,
		Milliseconds: uint64(t.Took.Milliseconds()),
	}
}
