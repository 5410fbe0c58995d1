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
	trouble map[string]trouble   // by canary: why it is not
	heard   map[string]time.Time // by canary: last read, at first when the wait began
	late    bool                 // guard.wait is over
}

// trouble is why a canary is not well with a revision; the zero value: it is.
type trouble struct {
	why     string
	silent  bool // it cannot be read
	refuses bool // it said no to the revision
}

// startSoak asks the canaries until the revision is admitted or dropped.
func (l *loop) startSoak(ctx context.Context, cfg *config.Config) *soak {
	ctx, cancel := context.WithCancel(ctx)
	s := &soak{end: cancel, began: time.Now(), well: make(map[string]time.Time), trouble: make(map[string]trouble), heard: make(map[string]time.Time)}
	for _, name := range canariesOf(cfg, l.in.Node) {
		node, _ := cfg.Node(name)
		s.trouble[name], s.heard[name] = trouble{why: "it has not been asked yet", silent: true}, s.began
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

// canaryTrouble says why a canary is not well with a revision.
func canaryTrouble(cfg *config.Config, r *status.Report, err error) trouble {
	switch {
	case err != nil:
		return trouble{why: err.Error(), silent: true}
	case r.Config.Pending != nil && *r.Config.Pending == cfg.Revision && r.Config.Error != nil:
		return trouble{why: "it does not take the revision: " + *r.Config.Error, refuses: true}
	case r.Config.Revision != cfg.Revision:
		return trouble{why: "it runs revision " + r.Config.Revision}
	case !r.Ready:
		return trouble{why: "it is not ready"}
	}
	return trouble{}
}

// hear notes how a canary is. One that has said no and is silent since may be
// so because of the revision.
func (s *soak) hear(node config.Node, what trouble) {
	if what.silent && s.trouble[node.Name].refuses {
		return
	}
	if !what.silent {
		s.heard[node.Name] = time.Now()
	}
	if what.why != "" {
		s.trouble[node.Name] = what
		delete(s.well, node.Name)
		return
	}
	delete(s.trouble, node.Name)
	if _, known := s.well[node.Name]; !known {
		s.well[node.Name] = time.Now()
	}
}

// judgeSoak admits the revision when every canary has been well with it for
// long enough. Those that cannot be read are waited for no longer than
// guard.wait, where it says so; one that is not well is never passed over.
func (l *loop) judgeSoak(ctx context.Context, cfg *config.Config, s *soak) {
	now, guard := time.Now(), cfg.Guard
	soaked, lost := true, true // as far as they are well, and as they are not
	for _, since := range s.well {
		soaked = soaked && now.Sub(since) >= guard.Soak
	}
	for name, what := range s.trouble {
		lost = lost && what.silent && now.Sub(s.heard[name]) >= guard.Wait
	}
	s.late = now.Sub(s.began) >= guard.Wait
	switch {
	case soaked && len(s.trouble) == 0:
		l.log.Info("the canaries are well with the revision", "revision", cfg.Revision, "soak", guard.Soak)
	case soaked && lost && guard.GoOn:
		l.log.Warn("going on without the canaries (guard.on_timeout: continue)", "revision", cfg.Revision, "why", s.tell(cfg))
	default:
		l.rollout.why = s.tell(cfg)
		return
	}
	l.rollout.forget()
	l.put(ctx, cfg)
}

// tell says what is still missing, first of canaries that are not well.
func (s *soak) tell(cfg *config.Config) string {
	for _, silent := range []bool{false, true} {
		for _, n := range cfg.Nodes {
			what := s.trouble[n.Name]
			if what.why == "" || what.silent != silent {
				continue
			}
			text := fmt.Sprintf("it waits for canary %s: %s", n.Name, what.why)
			if s.late && !(cfg.Guard.GoOn && silent) {
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
