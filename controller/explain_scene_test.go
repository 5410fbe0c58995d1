package controller

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// CheckResults is what the fake's checks have found last.
func (f fakeProxy) CheckResults(_ context.Context, backend string) (map[string]haproxy.CheckResult, error) {
	results := make(map[string]haproxy.CheckResult)
	for key, health := range f.verdicts() {
		r := haproxy.CheckResult{Status: "UP", Check: "L7OK", Words: "Layer7 check passed", Code: 200, Said: "OK", Took: time.Millisecond}
		if health == haproxy.Down {
			r = haproxy.CheckResult{Status: "DOWN", Check: "L7STS", Words: "Layer7 wrong status", Code: 503, Said: "Service Unavailable"}
		}
		if key.Backend == backend {
			results[key.Server] = r
		}
	}
	return results, nil
}

// Traffic counts nothing but what a test says.
func (f fakeProxy) Traffic(context.Context, string) (whole haproxy.Traffic, servers map[string]haproxy.Traffic, err error) {
	one := haproxy.Traffic{Sessions: 7, Responses: [5]uint64{1: 6, 4: 1}, Took: 3 * time.Millisecond}
	servers = make(map[string]haproxy.Traffic)
	for key := range f.verdicts() {
		servers[key.Server] = one
	}
	return one, servers, nil
}

// Export tells one metric.
func (fakeProxy) Export(_ context.Context, w io.Writer, _ bool) error {
	_, err := io.WriteString(w, "haproxy_process_uptime_seconds 1\n")
	return err
}

// scene is a node with a fleet, of which questions are asked.
type scene struct {
	t    *testing.T
	loop *loop
	node *node
}

// stage lets a node take up what the hosts run, as rounds would. Servers in
// silent never answered.
func stage(t *testing.T, yaml string, snapshots ...discovery.Snapshot) *scene {
	t.Helper()
	n := newNode(t)
	l, _ := testLoop(t, n, load(t, yaml))
	l.router = peered{fakeRouter{n}}
	for _, s := range snapshots {
		l.in.Hosts[s.Host] = s
	}
	s := &scene{t, l, n}
	s.round()
	return s
}

func (s *scene) round() {
	s.t.Helper()
	l := s.loop
	l.prober = newProber(s.t.Context(), func(probe, time.Duration) {})
	want, err := Desire(l.in)
	if err != nil {
		s.t.Fatal(err)
	}
	for one := range wantProbes(want) {
		if !strings.Contains(one.key.Server, "deaf") {
			l.answer(one)
		}
	}
	l.settle(s.t.Context(), "") // HAProxy has the servers
	l.settle(s.t.Context(), "") // their health is known
	s.loop.prober.set(nil)
}

// ask gives the answer as of a fixed moment.
func (s *scene) ask(subject string, q ...status.Question) status.Answer {
	question := status.Question{Subject: subject}
	if len(q) > 0 {
		question = q[0]
		question.Subject = subject
	}
	known := *s.loop.known.Load()
	known.at = time.Unix(1000, 0)
	return explain(&known, question, func(backend string) (map[string]haproxy.CheckResult, error) {
		return fakeProxy{s.node}.CheckResults(s.t.Context(), backend)
	})
}

// step finds a step of an explanation.
func step(e status.Explanation, name string) status.Step {
	for _, s := range e.Steps {
		if s.Step == name {
			return s
		}
	}
	return status.Step{}
}

func with(c discovery.Container, change func(*discovery.Container)) discovery.Container {
	change(&c)
	return c
}
