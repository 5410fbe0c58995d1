package frr

import (
	"sync"
	"syscall"
	"time"
)

// handOver is how long other nodes have to take over what this one carries
// before the daemons that lost their zebra are ended. It is much shorter than
// the ten seconds after which these look for the next zebra.
const handOver = 2 * time.Second

// mayStart reports whether the daemon that another looks for at its start
// answers. One that does not find zebra looks again after ten seconds, and sees
// neither interfaces nor neighbors until then. A mgmtd that does not run is no
// reason to go without zebra.
func (s *Speaker) mayStart(name string) bool {
	switch name {
	case "mgmtd":
		return true
	case "zebra":
		m := s.daemons["mgmtd"]
		return m == nil || m.vty != nil || m.err != nil
	}
	z := s.daemons["zebra"]
	return z != nil && z.vty != nil && !z.ended()
}

// behindZebra: it announces, or watches a session.
func (d *daemon) behindZebra() bool { return d.name != "mgmtd" && d.name != "zebra" }

// widow notes that zebra has ended under daemons that go on. Without it they
// keep their sessions; with the next one, which they find ten seconds later,
// they lose BFD sessions and routes and do not ask for them again. FRR's own
// watchfrr starts all of them anew for that reason, and so do we.
func (s *Speaker) widow() {
	for _, d := range s.daemons {
		if d.behindZebra() && d.process != nil && !d.ended() {
			s.widowed = time.Now()
			time.AfterFunc(handOver, s.poke)
			return
		}
	}
}

// Failing reports that zebra has ended under the others, which do not see
// addresses come and go any more and are about to be started anew, which ends
// their sessions: whoever can take the node's place should do so first.
func (s *Speaker) Failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.widowed.IsZero()
}

// afterZebra ends the daemons that lost their zebra, once their time has come;
// they are started anew like any that has ended. It reports whether nothing of
// that is left to do.
func (s *Speaker) afterZebra() (settled bool) {
	if s.widowed.IsZero() {
		return true
	}
	if time.Since(s.widowed) < handOver {
		return false
	}
	s.widowed = time.Time{}
	var ends sync.WaitGroup
	for name, d := range s.daemons {
		if d.behindZebra() && d.process != nil && !d.ended() {
			s.log.Info("daemon stops, for zebra is another", "daemon", name, "pid", d.process.PID)
			ends.Go(func() { _ = d.process.Stop(syscall.SIGTERM, time.Second) }) // it has ended in any case
		}
	}
	ends.Wait()
	return true
}
