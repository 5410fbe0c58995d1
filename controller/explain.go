package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// Limits of one answer: whoever asks reads it, and a fleet has ten thousand
// containers.
const (
	maxExplanations = 8
	maxNotes        = 10
	maxNear         = 5 // services that nearly select a container
	maxGuesses      = 3
)

// facts are what the last round knew and did. Nobody changes them any more, so
// explaining takes nothing from the loop, even while a step hangs.
type facts struct {
	in     Input
	want   Desired
	report *status.Report
	at     time.Time
}

// facts keeps the present state for those who ask.
func (l *loop) facts(r *status.Report) *facts {
	f := &facts{in: l.in, want: l.applied.want, report: r, at: time.Now()}
	f.in.Hosts = maps.Clone(l.in.Hosts)
	f.in.Answered = nil // it is in the members
	return f
}

// errStarting is the answer to every question before the first round.
var errStarting = errors.New("the controller is starting and knows nothing yet; ask again in a moment")

// lastChecks asks HAProxy for the last check of every server of a backend.
type lastChecks func(backend string) (map[string]haproxy.CheckResult, error)

// explain answers a question from what the last round knew. Any goroutine may
// ask.
func (l *loop) explain(ctx context.Context, q status.Question) (status.Answer, error) {
	f := l.known.Load()
	if f == nil || f.in.Config == nil {
		return status.Answer{}, errStarting
	}
	return explain(f, q, func(backend string) (map[string]haproxy.CheckResult, error) {
		return l.proxy.CheckResults(ctx, backend)
	}), nil
}

// explain is a pure function of what is known and of what HAProxy says of its
// last checks.
func explain(f *facts, q status.Question, checks lastChecks) status.Answer {
	x := newExplainer(f, checks)
	answer := status.Answer{Subject: q.Subject, Node: f.in.Node}
	s, err := parseSubject(q.Subject)
	if err != nil {
		answer.Kind, answer.Reason = "unknown", err.Error()
		return answer
	}
	answer.Subject = s.text // without a password
	things := x.find(s, resolution(q))
	if len(things) == 0 {
		answer.Kind, answer.Name = "unknown", s.text
		answer.Reason, answer.DidYouMean = x.unknown(s)
		return answer
	}
	answer.LeftOut = max(0, len(things)-maxExplanations)
	for i, tell := range things[:len(things)-answer.LeftOut] {
		if i == 0 {
			answer.Found, answer.Explanation = true, tell()
		} else {
			answer.Others = append(answer.Others, tell())
		}
	}
	return answer
}

// explainer tells the steps, each a method that gives one.
type explainer struct {
	*facts
	cfg       *config.Config
	node      config.Node
	places    []place
	listeners []listener // of every VIP, those of other nodes too
	checks    lastChecks // nil = too many to ask for
	checked   map[string]checked
}

// listener is a frontend and the VIP it belongs to.
type listener struct {
	haproxy.Frontend
	vip  config.VIP
	port uint16
	last uint16 // of a range, else port
	// beside is the part of the port that ends TLS, where this one passes it through.
	beside *haproxy.Frontend
}

// has reports whether the listener has the port.
func (l listener) has(port uint16) bool { return l.port <= port && port <= l.last }

type checked struct {
	servers map[string]haproxy.CheckResult
	err     error
}

func newExplainer(f *facts, checks lastChecks) *explainer {
	x := &explainer{facts: f, cfg: f.in.Config, checks: checks, checked: make(map[string]checked)}
	x.node, _ = x.cfg.Node(f.in.Node)
	x.places = placesOf(f.in)
	if f.in.Tier != nil { // no client comes here
		return x
	}
	for _, frontend := range wantFrontends(x.cfg, x.cfg.Services, f.in.Obtained) {
		port := frontend.Binds[0].Port
		frontend.Routes = slices.DeleteFunc(frontend.Routes, func(r haproxy.Route) bool { return r.Backend == challengeBackend })
		vip, _ := x.cfg.VIP(strings.TrimSuffix(frontend.Name, fmt.Sprintf("_%d", port)))
		if len(frontend.Passthrough) > 0 {
			x.listeners = append(x.listeners, listener{passedThrough(frontend), vip, port, port, &frontend})
		}
		x.listeners = append(x.listeners, listener{frontend, vip, port, max(port, frontend.LastPort), nil})
	}
	return x
}

// passedThrough is the part of a port that passes TLS through, as a frontend.
func passedThrough(f haproxy.Frontend) haproxy.Frontend {
	return haproxy.Frontend{Name: f.Name, Mode: haproxy.TCP, Binds: f.Binds, Routes: f.Passthrough}
}

// brief is x for explaining many things in a line each: HAProxy is not asked,
// and what nearly fits is not looked for.
func (x *explainer) brief() *explainer {
	short := *x
	short.checks = nil
	return &short
}

// lastCheck is what HAProxy says of one server.
func (x *explainer) lastCheck(backend, server string) (haproxy.CheckResult, error) {
	if x.in.Tier != nil {
		backend, server = haproxy.Gate, server+"."+backend
	}
	known, asked := x.checked[backend]
	if !asked {
		known.servers, known.err = x.checks(backend)
		x.checked[backend] = known
	}
	r, ok := known.servers[server]
	if known.err == nil && !ok {
		return r, fmt.Errorf("HAProxy has no server %s/%s yet", backend, server)
	}
	return r, known.err
}

// conclude comes to a verdict. Traffic needs every common step, and one of the
// chains where there are any.
func conclude(kind, name string, common []status.Step, chains ...[]status.Step) status.Explanation {
	e := status.Explanation{Kind: kind, Name: name, Verdict: status.GetsTraffic, Steps: common}
	for _, chain := range chains {
		for _, one := range chain {
			same := func(o status.Step) bool { return o.Step == one.Step && o.Text == one.Text }
			if slices.ContainsFunc(e.Steps, same) {
				continue // two services on one VIP
			}
			if len(chains) > 1 && one.Step != "vip" && one.Step != "announce" {
				one.Text = one.Service + ": " + one.Text
			}
			e.Steps = append(e.Steps, one)
		}
	}
	blame := firstFail(common)
	if blame == nil && len(chains) > 0 && !slices.ContainsFunc(chains, carries) {
		blame = firstFail(chains[0])
	}
	if blame != nil {
		e.Verdict, e.Reason, e.Next = status.NoTraffic, blame.Text, blame.Next
		if blame.Reason != "" {
			e.Reason = blame.Reason + ": " + blame.Text
		}
	}
	return e
}

func carries(chain []status.Step) bool { return firstFail(chain) == nil }

func firstFail(steps []status.Step) *status.Step {
	if i := slices.IndexFunc(steps, func(s status.Step) bool { return s.Verdict == status.Fail }); i >= 0 {
		return &steps[i]
	}
	return nil
}

// notes cuts a list to what a person reads.
func notes(all []status.Note) []status.Note {
	if len(all) <= maxNotes {
		return all
	}
	more := status.Note{Verdict: status.Skip, Text: fmt.Sprintf("and %d more", len(all)-maxNotes)}
	return append(slices.Clip(all[:maxNotes]), more)
}

// some lists words for a person, a few of them.
func some(words []string) string {
	const few = 4
	switch n := len(words); {
	case n > few:
		return fmt.Sprintf("%s and %d more", strings.Join(words[:few], ", "), n-few)
	case n > 1:
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// count is a number of things, in words.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
