package faults

import (
	"slices"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

// ofClocks are jumps of the wall clock, on a master that has one of its own.
func ofClocks() []fault {
	return []fault{{
		name: "clock jumps", about: "the master's wall clock is set an hour ahead, then two hours back, and then an engine freezes for a while; → the clock is right again. " +
			"All of the node's programs run on a clock of their own",
		apart: true, in: func(m mode) bool { return m.protocol != "" && m.protocol != "bird" && m.only == nil }, steady: true,
		bound: most(50, 300*time.Millisecond, 300*time.Millisecond), // HAProxy 2.6 times by the wall clock, and may give up what is under way
		strike: func(s *scene) {
			s.allOnOwnClock()
			sessions := s.sessions()
			s.must(s.LB1.SetClock(time.Hour))
			s.rest(4 * time.Second)
			s.must(s.LB1.SetClock(-time.Hour))
			s.rest(4 * time.Second)
			s.freeze(s.App2) // who waits by the wall clock finds out in an hour
			s.awaitStatus(s.LB1, "host stale", lab.HostIs("app2", "unreachable"))
			s.thaw(s.App2)
			if now := s.sessions(); now != sessions {
				s.t.Errorf("the router had %+v and has %+v", sessions, now)
			}
		},
		heal: func(s *scene) { s.must(s.LB1.SetClock(0)); s.rest(4 * time.Second); s.whole() },
	}}
}

// allOnOwnClock ends the test where a daemon of the master would not notice
// what is done to its clock.
func (s *scene) allOnOwnClock() {
	s.t.Helper()
	yes, no, err := s.LB1.OnOwnClock(s.ctx)
	s.must(err)
	s.t.Logf("on its own clock: %v; on the machine's: %v", yes, no)
	wanted := []string{"vipilot", "haproxy"}
	if !s.mode.anycast {
		wanted = append(wanted, "keepalived")
	}
	if s.mode.frr {
		wanted = append(wanted, "zebra", s.mode.daemon())
	}
	for _, name := range wanted {
		if !slices.Contains(yes, name) {
			s.t.Fatalf("%s does not read the node's own clock", name)
		}
	}
	if len(no) > 0 {
		s.t.Fatalf("%v do not read the node's own clock", no)
	}
}

// sessions is how often the router's BGP session with the master came up.
func (s *scene) sessions() (came int) {
	s.t.Helper()
	if s.mode.daemon() != "bgpd" {
		return 0
	}
	session, err := s.Router.Session(s.ctx, s.LB1.Address)
	s.must(err)
	return session.Established
}

// thaw lets a frozen engine go on and waits until it is heard.
func (s *scene) thaw(app *lab.App) {
	s.t.Helper()
	s.must(app.SignalEngine(syscall.SIGCONT))
	s.awaitStatus(s.LB1, "host back", lab.HostIs(app.Name, "connected"))
}
