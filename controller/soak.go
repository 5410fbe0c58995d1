package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
)

// How often canaries are asked, and how long one may take to answer.
const (
	canaryInterval = time.Second
	canaryTimeout  = 3 * time.Second
)

// canariesOf are the nodes that take a revision before this one; none for a
// canary itself.
func canariesOf(cfg *config.Config, node string) []string {
	var names []string
	for _, n := range cfg.Nodes {
		if !n.Canary {
			continue
		}
		if n.Name == node {
			return nil
		}
		names = append(names, n.Name)
	}
	return names
}

// soak is the time in which canaries run a revision that this node waits with.
// All but end belongs to the loop.
type soak struct {
	end     context.CancelFunc
	began   time.Time
	well    map[string]time.Time // by canary: well with the revision since
	trouble map[string]string    // by canary: why it is not
	late    bool                 // guard.wait is over
}

// startSoak asks the canaries until the revision is admitted or dropped.
func (l *loop) startSoak(ctx context.Context, cfg *config.Config) *soak {
	ctx, cancel := context.WithCancel(ctx)
	s := &soak{end: cancel, began: time.Now(), well: make(map[string]time.Time), trouble: make(map[string]string)}
	for _, name := range canariesOf(cfg, l.in.Node) {
		node, _ := cfg.Node(name)
		s.trouble[name] = "it has not been asked yet"
		go l.askCanary(ctx, cfg, s, node)
	}
	return s
}

// askCanary turns what one canary says into events.
func (l *loop) askCanary(ctx context.Context, cfg *config.Config, s *soak, node config.Node) {
	tick := time.NewTicker(canaryInterval)
	defer tick.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, canaryTimeout)
		report, err := l.askStatus(asking, node.Status)
		cancel()
		l.send(ctx, event{fold: func() {
			if l.rollout.soak == s {
				s.hear(node, canaryTrouble(cfg, report, err))
				l.judgeSoak(ctx, cfg, s)
			}
		}})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// canaryTrouble says why a canary is not well with a revision, "" when it is.
func canaryTrouble(cfg *config.Config, r *status.Report, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case r.Config.Pending != nil && *r.Config.Pending == cfg.Revision && r.Config.Error != nil:
		return "it does not take the revision: " + *r.Config.Error
	case r.Config.Revision != cfg.Revision:
		return "it runs revision " + r.Config.Revision
	case !r.Ready:
		return "it is not ready"
	}
	return ""
}

// hear notes how a canary is.
func (s *soak) hear(node config.Node, trouble string) {
	if trouble != "" {
		s.trouble[node.Name] = trouble
		delete(s.well, node.Name)
		return
	}
	delete(s.trouble, node.Name)
	if _, known := s.well[node.Name]; !known {
		s.well[node.Name] = time.Now()
	}
}

// judgeSoak admits the revision when every canary has been well with it for
// long enough, or when the time to wait for them is over and says so.
func (l *loop) judgeSoak(ctx context.Context, cfg *config.Config, s *soak) {
	now, guard := time.Now(), cfg.Guard
	soaked := len(s.trouble) == 0
	for _, since := range s.well {
		soaked = soaked && now.Sub(since) >= guard.Soak
	}
	s.late = now.Sub(s.began) >= guard.Wait
	switch {
	case soaked:
		l.log.Info("the canaries are well with the revision", "revision", cfg.Revision, "soak", guard.Soak)
	case s.late && guard.GoOn && len(s.trouble) > 0:
		l.log.Warn("going on without the canaries (guard.on_timeout: continue)", "revision", cfg.Revision, "why", s.tell(cfg))
	default:
		l.rollout.why = s.tell(cfg)
		return
	}
	l.rollout.forget()
	l.put(ctx, cfg)
}

// tell says what is still missing.
func (s *soak) tell(cfg *config.Config) string {
	for _, n := range cfg.Nodes {
		if trouble := s.trouble[n.Name]; trouble != "" {
			text := fmt.Sprintf("it waits for canary %s: %s", n.Name, trouble)
			if s.late && !cfg.Guard.GoOn {
				text += fmt.Sprintf("; guard.wait (%s) is over, let it through with vipilot approve %s", cfg.Guard.Wait, cfg.Revision)
			}
			return text
		}
	}
	return fmt.Sprintf("the canaries are well with it; it waits until they have been for %s", cfg.Guard.Soak)
}

// askStatus reads the status of another node.
func askStatus(ctx context.Context, url string) (*status.Report, error) {
	return status.NewClient(url).Report(ctx)
}
