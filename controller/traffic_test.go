package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// counting is a HAProxy with counters by backend.
type counting struct {
	fakeProxy
	asked *int
	said  map[string]map[string]haproxy.Traffic // servers by backend
	fault error
}

func (c counting) Traffic(_ context.Context, backend string) (whole haproxy.Traffic, servers map[string]haproxy.Traffic, err error) {
	*c.asked++
	for _, s := range c.said[backend] {
		whole.Sessions += s.Sessions
	}
	return whole, c.said[backend], c.fault
}

func TestTrafficOfAService(t *testing.T) {
	in := reviewed(t, app(1, "pr-12"), app(2, "pr-12"), app(3, "pr-7"))
	want := answerAll(t, &in)
	asked := 0
	proxy := counting{asked: &asked, said: make(map[string]map[string]haproxy.Traffic)}
	for i, m := range want.Pools["review"].Members {
		backend := branchBackend("review", m.Branch)
		if proxy.said[backend] == nil {
			proxy.said[backend] = make(map[string]haproxy.Traffic)
		}
		proxy.said[backend][m.Server] = haproxy.Traffic{Sessions: uint64(10 + i), Responses: [5]uint64{1: uint64(i)}, Took: 1500 * time.Microsecond}
	}
	l, _ := testLoop(t, newNode(t), in.Config)
	l.proxy = proxy
	if _, err := l.traffic(t.Context(), "review"); !errors.Is(err, errStarting) {
		t.Errorf("before the first round: %v", err)
	}
	l.known.Store(&facts{in: in, want: want, report: &status.Report{}})
	got, err := l.traffic(t.Context(), "review")
	if err != nil {
		t.Fatal(err)
	}
	if got.Service != "review" || got.Total.Sessions != 33 || len(got.Endpoints) != 3 || asked != 2 {
		t.Errorf("%d questions, want one a backend: %+v", asked, got)
	}
	for i, m := range want.Pools["review"].Members {
		one := got.Endpoints[status.IDOf(m.Name, m.Address.String())]
		if one.Sessions != uint64(10+i) || one.Responses[1] != uint64(i) || one.Milliseconds != 1 {
			t.Errorf("%s: %+v", m.Name, one)
		}
	}
	if _, err := l.traffic(t.Context(), "shop"); !errors.Is(err, status.ErrUnknown) {
		t.Errorf("a service that is none: %v", err)
	}
	proxy.fault = errors.New("haproxy does not answer")
	l.proxy = proxy
	if _, err := l.traffic(t.Context(), "review"); !errors.Is(err, proxy.fault) {
		t.Errorf("a HAProxy that is silent: %v", err)
	}
}

// A service of a thousand review apps is not a thousand questions.
func TestTrafficIsBounded(t *testing.T) {
	pool := &Pool{}
	for i := range 10 * mostBranches {
		pool.Members = append(pool.Members, Member{Server: "s", Branch: fmt.Sprintf("b%d", i)})
	}
	l, _ := testLoop(t, newNode(t), load(t, pair))
	asked := 0
	l.proxy = counting{asked: &asked}
	l.known.Store(&facts{in: l.in, want: Desired{Pools: map[string]*Pool{"review": pool}}, report: &status.Report{}})
	if _, err := l.traffic(t.Context(), "review"); err != nil || asked != mostBranches {
		t.Errorf("%d questions, want %d; %v", asked, mostBranches, err)
	}
}

func TestCountersAreHAProxys(t *testing.T) {
	got := countersOf(haproxy.Traffic{Sessions: 1, Current: 2, Queued: 3, Rate: 4, BytesIn: 5, BytesOut: 6, Responses: [5]uint64{7}, Connect: 8, Response: 9,
		Retries: 10, Redirects: 11, Aborted: 12, Took: 13 * time.Millisecond})
	want := status.Counters{Sessions: 1, Current: 2, Queued: 3, Rate: 4, BytesIn: 5, BytesOut: 6, Responses: [5]uint64{7}, ConnectionErrors: 8, ResponseErrors: 9,
		Retries: 10, Redispatches: 11, ClientAborts: 12, Milliseconds: 13}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
