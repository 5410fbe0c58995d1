package controller

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/internal/span"
	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/status"
)

// stepTimeout bounds one step of a round.
const stepTimeout = 30 * time.Second

// applied is what became of the last round.
type applied struct {
	want     Desired
	at       time.Time // when the configuration in force was applied
	revision string
	routed   remote.Want // last told to the sentinel
	told     bool
	errs     stepErrors
	behind   bool // a reload waits for its turn
	carries  bool // addresses may be on lo that are ours, or a predecessor's
	refused  string
	refusal  error
}

// stepErrors are the failures of the last round, by component.
type stepErrors struct{ desire, proxy, election, addresses, router error }

func (e stepErrors) join() error {
	return errors.Join(e.desire, e.proxy, e.election, e.addresses, e.router)
}

// round makes the decision true: withdraw what must go, HAProxy, keepalived,
// anycast addresses, announce the rest. A failed HAProxy step blocks new
// announcements, never withdrawals. It returns what changed, for the log.
func (l *loop) round(life context.Context) (changed string, err error) {
	ctx, cancel := context.WithTimeout(life, stepTimeout)
	defer cancel()
	var errs stepErrors
	defer func() { l.applied.errs = errs }()
	_, end := span.Start(ctx, "desire")
	want, err := l.plan.desire(l.in)
	end(err)
	if err != nil {
		errs.desire = err
		return "", err
	}
	l.forget(want)
	var done []string
	note := func(what string, changed bool) {
		if changed {
			done = append(done, what)
		}
	}

	if keep, less := without(l.applied.routed.Routing, want.Routing); l.applied.told && less {
		keep := remote.Want{Routing: keep, Gate: l.applied.routed.Gate,
			TrackFile: l.applied.routed.TrackFile, SpeakerTrackFile: l.applied.routed.SpeakerTrackFile}
		withdrawn, err := l.tell(ctx, keep)
		errs.router = err
		note("withdrawn", withdrawn)
	}

	l.prober.set(wantProbes(want)) // they may answer while HAProxy reloads
	began := time.Now()
	change, err := l.proxy.Set(ctx, want.HAProxy)
	switch change.Kind {
	case haproxy.Runtime:
		l.steps.Took(status.StepUpdate, time.Since(began))
	case haproxy.Reload:
		l.steps.Took(status.StepReload, time.Since(began))
	}
	errs.proxy = err
	l.in.Taken = haproxy.Taken(err)
	if len(l.in.Taken) > 0 && l.trial == nil { // one port in strange hands is no reason to serve nothing
		change, err = l.proxy.Set(ctx, withoutFrontends(want.HAProxy, l.in.Taken))
	}
	l.applied.behind = change.Retry > 0
	if change.Retry > 0 {
		l.again(life, change.Retry)
	}
	note(describe(change), change.Kind != haproxy.None)
	l.applied.want = want
	if err == nil {
		errs = l.placeAndAnnounce(ctx, &want, errs, note)
	} else {
		errs.router = errors.Join(errs.router, l.guardOnly(ctx))
	}
	if err := errs.join(); err != nil {
		return strings.Join(done, ", "), err
	}
	if l.applied.revision != l.in.Config.Revision {
		l.applied.revision, l.applied.at = l.in.Config.Revision, time.Now()
	}
	return strings.Join(done, ", "), nil
}

// placeAndAnnounce does the steps that need a HAProxy that serves.
func (l *loop) placeAndAnnounce(ctx context.Context, want *Desired, errs stepErrors, note func(string, bool)) stepErrors {
	l.observe() // what the proxy step did to the servers decides what is announced
	want.Silent = make(map[string]string)
	want.Routing = wantRouting(l.in, l.plan.node, want)
	l.applied.want = *want
	trackFile, speakerFile := trackFile(l.opts.RunDir), speakerTrackFile(l.opts.RunDir)
	// keepalived needs the track files, so the sentinel is told first. A
	// predecessor's announcements must not be interrupted: the first word is
	// the whole one, and the gate holds back what is not served or not held.
	first := remote.Want{Routing: want.Routing, Gate: l.gate(), TrackFile: trackFile, SpeakerTrackFile: speakerFile}
	if l.applied.told {
		first.Routing = l.applied.routed.Routing
	}
	told, err := l.tell(ctx, first)
	errs.router = errors.Join(errs.router, err)
	note("sentinel", told)

	want.VRRP = watched(want.VRRP, l.opts.RunDir)
	changed, err := l.election.Set(ctx, want.VRRP)
	errs.election = err
	note("keepalived", changed)
	if len(want.VRRP.Virtual) > 0 { // they have just come into the kernel
		l.observe()
		want.Silent = make(map[string]string)
		want.Routing = wantRouting(l.in, l.plan.node, want)
	}

	if len(want.Anycast) > 0 || l.applied.carries { // a node without any asks the kernel once
		changed, err = l.addresses.Set(ctx, want.Anycast)
		errs.addresses = err
		note("anycast addresses", changed)
		l.applied.carries = len(want.Anycast) > 0 || err != nil
	}

	last := first
	last.Routing = want.Routing
	announced, err := l.tell(ctx, last)
	errs.router = errors.Join(errs.router, err)
	note("announced", announced)
	return errs
}

// guardOnly tells the sentinel which HAProxy lives, and no new prefix.
func (l *loop) guardOnly(ctx context.Context) error {
	if !l.applied.told {
		return nil
	}
	keep := l.applied.routed
	keep.Gate = l.gate()
	_, err := l.tell(ctx, keep)
	return err
}

func (l *loop) gate() remote.Gate {
	s := l.proxy.Status()
	if !s.Running {
		return remote.Gate{}
	}
	return remote.Gate{PID: s.PID, StartTime: s.StartTime, Socket: s.StatsSocket}
}

// tell hands the sentinel its wanted state unless it has it already.
func (l *loop) tell(ctx context.Context, want remote.Want) (bool, error) {
	if l.applied.told && reflect.DeepEqual(want, l.applied.routed) {
		return false, nil
	}
	changed, err := l.router.Set(ctx, want)
	if err != nil {
		return false, fmt.Errorf("tell the sentinel: %w", err)
	}
	l.applied.routed, l.applied.told = want, true
	return changed, nil
}

// without is what remains of old when everything that want does not have is
// withdrawn, and whether that is less than old.
func without(old, want routing.Config) (routing.Config, bool) {
	kept := old
	kept.Prefixes = common(old.Prefixes, want.Prefixes)
	less := len(kept.Prefixes) < len(old.Prefixes)
	if old.OSPF != nil {
		ospf := *old.OSPF
		ospf.Prefixes = nil
		if want.OSPF != nil {
			ospf.Prefixes = common(old.OSPF.Prefixes, want.OSPF.Prefixes)
		}
		kept.OSPF, less = &ospf, less || len(ospf.Prefixes) < len(old.OSPF.Prefixes)
	}
	return kept, less
}

// common are those of old that want has, too.
func common(old, want []routing.Prefix) []routing.Prefix {
	wanted := make(map[netip.Prefix]bool, len(want))
	for _, p := range want {
		wanted[p.Prefix] = true
	}
	return slices.DeleteFunc(slices.Clone(old), func(p routing.Prefix) bool { return !wanted[p.Prefix] })
}

// describe is what HAProxy did, for the log.
func describe(c haproxy.Change) string {
	if c.Cause == "" {
		return "haproxy " + string(c.Kind)
	}
	return fmt.Sprintf("haproxy %s (%s)", c.Kind, c.Cause)
}

// withoutFrontends is want less the named frontends, and less the peers where
// their socket is named.
func withoutFrontends(want haproxy.Config, names map[string]bool) haproxy.Config {
	if names[haproxy.PeersName] { // tables stay on this node then
		want.Peers = haproxy.Peers{}
	}
	want.Frontends = slices.DeleteFunc(slices.Clone(want.Frontends), func(f haproxy.Frontend) bool { return names[f.Name] })
	return want
}
