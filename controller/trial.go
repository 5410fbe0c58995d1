package controller

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vipilot/vipilot/config"
)

// trialFile is in the state directory while a revision is on probation: a
// controller that dies meanwhile must not leave a bad one in force for good.
const trialFile = "trial.json"

// rememberedTrial is a probation, with the revision to go back to.
type rememberedTrial struct {
	rememberedConfig
	Of    string              `json:"of"`    // the revision that is watched
	Ready map[string][]string `json:"ready"` // by service: the servers that were ready
}

// tryOut puts a revision on probation, or with nil ends the one that is.
func (l *loop) tryOut(revision string, p *probation) {
	l.rollout.trial = p
	if err := l.memory.keepTrial(revision, p); err != nil {
		l.log.Error("remember the revision that is watched", "err", err)
	}
}

// keepTrial remembers a probation; nil forgets it.
func (m *memory) keepTrial(revision string, p *probation) error {
	if p == nil {
		if err := os.Remove(filepath.Join(m.dir, trialFile)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	ready := make(map[string][]string, len(p.ready))
	for service, servers := range p.ready {
		ready[service] = slices.Sorted(maps.Keys(servers))
	}
	return m.write(trialFile, rememberedTrial{rememberedConfig{stateVersion, p.old.Revision, p.old.Files}, revision, ready})
}

// loadTrial gives the probation of the configuration in force, nil when it is
// on none. It begins anew: nobody watched meanwhile.
func (l *loop) loadTrial(inForce *config.Config) (*probation, error) {
	var r rememberedTrial
	if err := l.memory.read(trialFile, &r); err != nil || r.Version == 0 || r.Of != inForce.Revision {
		return nil, err
	}
	old, err := l.ours(config.LoadOver(r.Files, nil))
	if err != nil {
		return nil, err
	}
	old.Revision = r.Revision
	p := &probation{old: old, until: time.Now().Add(inForce.Guard.Settle), empty: make(map[string]time.Time), ready: make(map[string]map[string]bool)}
	for service, servers := range r.Ready {
		p.ready[service] = make(map[string]bool)
		for _, server := range servers {
			p.ready[service][server] = true
		}
	}
	return p, nil
}
