package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
)

// rollout is how a valid revision comes into force: some wait for a person or
// for the canaries, and one that turns out to be bad is taken back.
// It belongs to the loop.
type rollout struct {
	waiting  *config.Config // valid, and not in force; nil = none
	why      string         // it waits
	approved string         // the revision that a person has let through
	bad      badRevision    // the one that was taken back last
	soak     *soak          // of waiting, when canaries are waited for
	trial    *probation     // of the revision in force, while it is watched
}

// badRevision was in force and was taken back; it is not tried again by itself.
type badRevision struct {
	Revision string `json:"revision"`
	Why      string `json:"why"`
}

// consider decides on a valid revision while another one is in force: "" when
// it may go into force, otherwise what it waits for.
func (r *rollout) consider(old, fresh *config.Config, node string) (why string, canaries bool) {
	if fresh.Revision == r.approved {
		return "", false
	}
	if fresh.Revision == r.bad.Revision {
		return r.bad.Why, false
	}
	if why := tooMuchRemoved(old, fresh); why != "" {
		return why, false
	}
	if names := canariesOf(fresh, node); len(names) > 0 && fresh.Guard.Soak > 0 {
		return "it waits for " + some(names) + ", the canary, to be well with it for " + fresh.Guard.Soak.String(), true
	}
	return "", false
}

// tooMuchRemoved says what a revision removes beyond the guard of the one in
// force, "" when it is not too much.
func tooMuchRemoved(old, fresh *config.Config) string {
	most := old.Guard.MaxRemoved
	for _, kind := range []struct {
		name     string
		had, has []string
	}{
		{"services", serviceNames(old), serviceNames(fresh)},
		{"VIPs", vipNames(old), vipNames(fresh)},
		{"peers", peerNames(old), peerNames(fresh)},
	} {
		gone := missing(kind.had, kind.has)
		if len(gone)*100 > most*len(kind.had) {
			return fmt.Sprintf("it removes %d of %d %s (%s), more than guard.max_removed: %d%%", len(gone), len(kind.had), kind.name, some(gone), most)
		}
	}
	return ""
}

// missing are the names of had that has does not have.
func missing(had, has []string) []string {
	known := make(map[string]bool, len(has))
	for _, name := range has {
		known[name] = true
	}
	var gone []string
	for _, name := range had {
		if !known[name] {
			gone = append(gone, name)
		}
	}
	return gone
}

func serviceNames(cfg *config.Config) (names []string) {
	for _, s := range cfg.Services {
		names = append(names, s.Name)
	}
	return names
}

func vipNames(cfg *config.Config) (names []string) {
	for _, v := range cfg.VIPs {
		names = append(names, v.Name)
	}
	return names
}

func peerNames(cfg *config.Config) (names []string) {
	if bgp := cfg.Routing.BGP; bgp != nil {
		for _, p := range bgp.Peers {
			names = append(names, p.Name)
		}
	}
	return names
}

// offer takes what the configuration source found. An invalid revision
// touches nothing; a valid one may have to wait, and is kept only when every
// component takes it and no service loses its endpoints by it.
func (l *loop) offer(ctx context.Context, cfg *config.Config, err error) {
	if err == nil {
		_, err = Desire(Input{Node: l.in.Node, Tier: l.in.Tier, Config: cfg})
	}
	if err != nil {
		l.refuse(cfg, err)
		return
	}
	l.newest.Store(cfg)
	select {
	case l.offers <- struct{}{}:
	default:
	}
	l.applied.refused, l.applied.refusal = "", nil
	l.fresh = nil
	if l.in.Config != nil && cfg.Revision == l.in.Config.Revision {
		l.rollout.forget()
		return
	}
	if l.rollout.waiting != nil && cfg.Revision == l.rollout.waiting.Revision && cfg.Revision != l.rollout.approved {
		return // it waits already
	}
	l.rollout.forget()
	if l.in.Config != nil {
		if why, canaries := l.rollout.consider(l.in.Config, cfg, l.in.Node); why != "" {
			l.hold(ctx, cfg, why, canaries)
			return
		}
	}
	l.put(ctx, cfg)
}

// forget drops the revision that waited.
func (r *rollout) forget() {
	if r.soak != nil {
		r.soak.end()
	}
	r.waiting, r.why, r.soak = nil, "", nil
}

// reason is what the revision that waits waits for.
func (r *rollout) reason() string {
	switch {
	case r.soak != nil:
		return status.Soaking
	case r.waiting.Revision == r.bad.Revision:
		return status.TakenBack
	}
	return status.Guarded
}

// hold lets a revision wait.
func (l *loop) hold(ctx context.Context, cfg *config.Config, why string, canaries bool) {
	l.rollout.waiting, l.rollout.why = cfg, why
	l.log.Warn("revision waits, the one in force stays", "revision", cfg.Revision, "why", why)
	if canaries {
		l.rollout.soak = l.startSoak(ctx, cfg)
	}
}

// takeFresh takes what the source had at the start when the last good revision
// is in force again, and reports whether it did: then another round is due.
// Where the last good one fails, err, there is nothing to go back to.
func (l *loop) takeFresh(ctx context.Context, err error) bool {
	cfg := l.fresh
	if cfg == nil {
		return false
	}
	l.fresh = nil
	l.put(ctx, cfg)
	if err != nil {
		l.trial = nil
		l.tryOut("", nil)
	}
	return true
}

// put brings a revision into force, on trial.
func (l *loop) put(ctx context.Context, cfg *config.Config) {
	for _, w := range cfg.Warnings {
		l.log.Warn("configuration", "warning", w.String())
	}
	l.trial = l.in.Config
	l.tryOut(cfg.Revision, l.startProbation(cfg))
	l.in.Config = cfg
	l.followHosts(ctx)
}

// approve lets the revision that waits through, also one that was taken back,
// and gives its whole name. It returns when the loop has taken it.
func (l *loop) approve(ctx context.Context, revision string) (approved string, err error) {
	done, name := make(chan error, 1), make(chan string, 1)
	l.send(ctx, event{cause: "approve " + revision, fold: func() {
		r := &l.rollout
		switch {
		case r.waiting == nil && l.in.Config != nil:
			done <- fmt.Errorf("no revision waits for approval; %s is in force", l.in.Config.Revision)
		case r.waiting == nil:
			done <- errors.New("no revision waits for approval")
		case len(revision) < shortestRevision:
			done <- fmt.Errorf("revision %q is too short to be sure: type at least %d characters of %s, which waits: %s", revision, shortestRevision, r.waiting.Revision, r.why)
		case !strings.HasPrefix(r.waiting.Revision, revision):
			done <- fmt.Errorf("revision %q does not wait for approval; %s does: %s", revision, r.waiting.Revision, r.why)
		default:
			l.log.Info("revision approved", "revision", r.waiting.Revision)
			r.approved = r.waiting.Revision
			name <- r.approved
			if r.bad.Revision == r.approved {
				r.bad = badRevision{}
				l.memory.keepBad(r.bad)
			}
			l.offer(ctx, r.waiting, nil)
			done <- nil
		}
	}})
	select {
	case err := <-done:
		if err != nil {
			return "", err
		}
		return <-name, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// shortestRevision is how much of a revision's name has to be typed.
const shortestRevision = 4
