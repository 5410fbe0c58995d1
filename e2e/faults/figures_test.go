package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

// A change of the role is a BGP UPDATE on the wire within 20 ms, and HAProxy's
// death a withdrawal within 300 ms: not what the router makes of it, but what
// it is told. The controller is dead meanwhile: nobody needs it.
func TestWire(t *testing.T) {
	patience := time.Duration(1)
	if !everything() {
		patience = 10 // beside the other tests, on a busy machine
	}
	m := modes()[1]
	m.smallDisks = false // its track file is written from outside
	s := open(t, m)
	updates, err := s.Router.Updates(s.ctx)
	s.must(err)
	taken, err := s.LB2.AddressEvents(s.ctx, s.mode.address)
	s.must(err)
	haproxy := s.haproxy()
	s.LB1.KillController()
	s.LB2.KillController()

	deaf := func(value string) {
		s.must(os.WriteFile(filepath.Join(s.LB1.RunDir, "speaker.track"), []byte(value), 0o644))
	}
	var told []time.Duration
	for range 5 {
		s.forgetUpdates(updates)
		deaf("1\n")
		change := s.next(taken)
		told = append(told, s.after(updates, s.LB2, change.At))
		s.await("route to lb2", 10*time.Second, func() error { return s.routed(s.LB2) })
		deaf("0\n")
		s.await("route to lb1", 10*time.Second, func() error { return s.routed(s.LB1) })
		s.next(taken) // it has gone there
	}
	slices.Sort(told)
	t.Logf("role change to UPDATE on the wire: %v", told)
	if told[len(told)/2] > patience*20*time.Millisecond {
		t.Errorf("the median of %v is too long: 20 ms are wanted", told)
	}

	s.forgetUpdates(updates)
	killed := time.Now()
	s.end(s.LB1, haproxy)
	withdrawn := s.after(updates, s.LB1, killed)
	moved := s.next(taken).At.Sub(killed)
	t.Logf("HAProxy killed, no controller: withdrawn after %v, VIP moved after %v", withdrawn, moved)
	if withdrawn > patience*300*time.Millisecond || moved > patience*500*time.Millisecond {
		t.Error("that is too long: 300 ms and 500 ms are wanted")
	}
}

// forgetUpdates throws away what came before.
func (s *scene) forgetUpdates(updates <-chan lab.Update) {
	for len(updates) > 0 {
		<-updates
	}
}

// next is the next change of an address.
func (s *scene) next(events <-chan lab.AddressEvent) lab.AddressEvent {
	s.t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(20 * time.Second):
		s.t.Fatal("the address does not move")
	}
	return lab.AddressEvent{}
}

// after is how long after a moment a node's next UPDATE came.
func (s *scene) after(updates <-chan lab.Update, from *lab.Node, moment time.Time) time.Duration {
	s.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case u := <-updates:
			if u.From.String() == from.Address {
				return u.At.Sub(moment)
			}
		case <-deadline:
			s.t.Fatal(fmt.Errorf("%s sends no UPDATE", from.Name))
		}
	}
}
