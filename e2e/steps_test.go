package e2e

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// steps are the events of a node as they are told, with their times.
type steps struct {
	f    *fleet
	mu   sync.Mutex
	told []status.Event
}

var errNotTold = errors.New("not told yet")

// listen takes down what a node tells of stages, roles and prefixes until the
// test or its controller ends.
func (f *fleet) listen(n *lab.Node) *steps {
	s := &steps{f: f}
	ctx, cancel := context.WithCancel(f.ctx)
	f.t.Cleanup(cancel)
	go func() {
		for ctx.Err() == nil { // who is slow to listen is dropped, and may ask again for what is kept
			_ = n.Events(ctx, func(e status.Event) {
				s.mu.Lock()
				defer s.mu.Unlock()
				if slices.Contains([]string{"stage", "vip", "prefix"}, e.Kind) {
					s.told = append(s.told, e)
				}
			})
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return s
}

// at is when a node first told that something became what it says, since the
// given time; zero = it did not.
func (s *steps) at(since time.Time, kind, to string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.told {
		if e.Kind == kind && e.To == to && !e.Time.Before(since) {
			return e.Time
		}
	}
	return time.Time{}
}

// await is at, once it has been told.
func (s *steps) await(since time.Time, kind, to string) (told time.Time) {
	s.f.t.Helper()
	s.f.await("the event of "+kind+" "+to, func() error {
		if told = s.at(since, kind, to); told.IsZero() {
			return errNotTold
		}
		return nil
	})
	return told
}

// inOrder requires that stages were told in this order since the given time,
// and that the VIP and its prefix went once the node yielded, not before.
func (s *steps) inOrder(since time.Time, stages ...string) {
	s.f.t.Helper()
	var before time.Time
	for _, stage := range stages {
		now := s.await(since, "stage", stage)
		if now.Before(before) {
			s.f.t.Errorf("stage %s was told for %s, before the one that comes first", stage, now)
		}
		before = now
	}
	yielding := s.at(since, "stage", "yielding")
	for kind, to := range map[string]string{"vip": "backup", "prefix": "withdrawn"} {
		if went := s.await(since, kind, to); went.Before(yielding) {
			s.f.t.Errorf("%s %s at %s, want after %s", kind, to, went, yielding)
		}
	}
}
