package faults

import "time"

// crush is how long nodes may answer slowly when the router is there again and
// all clients come at once.
const crush = 4 * time.Second

// ofRouters are faults of the router, which no node can mend: what counts is
// that all is well again soon after it is.
func ofRouters() []fault {
	announced := func(m mode) bool { return m.protocol != "" }
	return []fault{
		{
			name: "router daemon killed", about: "kill -9 of the router's bgpd, ospfd or bird; it is started again half a second later", in: announced,
			bound: most(6000, 12*time.Second, crush),
			strike: func(s *scene) {
				s.Router.KillDaemon(s.mode.daemon())
				s.rest(500 * time.Millisecond)
				s.must(s.Router.StartDaemon(s.ctx, s.mode.daemon()))
				s.whole()
			},
		},
		{
			name: "router restarts", about: "all its routing daemons end and every learned route is gone; → all start again a second later", in: announced,
			bound: most(6000, 15*time.Second, crush),
			strike: func(s *scene) {
				restart, err := s.Router.Crash(s.ctx)
				s.must(err)
				s.rest(time.Second)
				s.must(restart(s.ctx))
				s.whole()
			},
		},
	}
}

// daemon is the router's end of the mode's protocol.
func (m mode) daemon() string {
	switch m.protocol {
	case "ospf":
		return "ospfd"
	case "bird":
		return "bird"
	}
	return "bgpd"
}
