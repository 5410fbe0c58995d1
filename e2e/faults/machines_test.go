package faults

import (
	"context"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

// ofMachines are faults of nodes, hosts and the network between them.
func ofMachines() []fault {
	return []fault{
		{
			name: "node loses power", about: "the master vanishes at once; → it boots", bound: deadNode, back: backAgain,
			strike: func(s *scene) {
				s.must(s.PowerOff(s.ctx, s.LB1))
				s.await("the other has all", s.movedTo(s.LB2))
			},
			heal: func(s *scene) {
				s.must(s.PowerOn(s.ctx, s.LB1))
				s.must(s.LB1.StartVipilot(s.ctx, "--on-exit", "leave"))
				s.whole()
			},
		},
		{
			name: "uplink down", about: "the master's cable is pulled; → plugged in", bound: deadNode, back: backAgain,
			strike: func(s *scene) {
				s.must(s.Cut(s.ctx, s.LB1.Host))
				s.await("the other has all", s.movedTo(s.LB2))
			},
			heal: func(s *scene) { s.must(s.Join(s.ctx, s.LB1.Host)); s.whole() },
		},
		{
			name: "nodes parted", about: "the nodes do not hear each other any more, the router hears both; → they do", bound: most(200, time.Second, 300*time.Millisecond),
			strike: func(s *scene) { s.part("-A"); s.rest(3 * time.Second) },
			heal:   func(s *scene) { s.part("-D"); s.whole() },
		},
		{
			name: "engines unreachable", about: "no node reaches any engine for ten seconds; the containers serve on", bound: nothing, steady: true,
			strike: func(s *scene) {
				s.engines("-A")
				for _, n := range s.Nodes() {
					for _, host := range []string{"app1", "app2"} {
						s.awaitStatus(n, "host stale", lab.HostIs(host, "unreachable"))
					}
				}
			},
			heal: func(s *scene) {
				s.engines("-D")
				for _, n := range s.Nodes() {
					for _, host := range []string{"app1", "app2"} {
						s.awaitStatus(n, "host back", lab.HostIs(host, "connected"))
					}
				}
			},
		},
		{
			name: "engine frozen", about: "one engine answers nothing and tells no event any more (SIGSTOP); → it goes on", bound: nothing, steady: true,
			strike: func(s *scene) {
				s.freeze(s.App2)
				s.awaitStatus(s.LB1, "host stale", lab.HostIs("app2", "unreachable"))
			},
			heal: func(s *scene) { s.thaw(s.App2) },
		},
	}
}

// deadNode is the bound where a node does not say that it dies: the election
// or BFD finds out, or else the hold time of three seconds.
func deadNode(m mode) measure {
	if !m.guarded() {
		return measure{Lost: 2500, Gap: 5 * time.Second, Dark: 3500 * time.Millisecond}
	}
	return measure{Lost: 300, Gap: 500 * time.Millisecond, Dark: 500 * time.Millisecond}
}

// backAgain is the bound for a node that takes its VIP back from a living one:
// kept connections end there.
func backAgain(mode) measure {
	return measure{Lost: 300, Gap: 500 * time.Millisecond, Dark: 500 * time.Millisecond}
}

// movedTo says whether one node alone has the VIP, for the router or, without
// routes, for a client.
func (s *scene) movedTo(n *lab.Node) func() error {
	return func() error {
		if s.mode.protocol != "" {
			return s.routed(n)
		}
		return s.ask()
	}
}

// part has each node drop, or take again, what the other sends.
func (s *scene) part(how string) {
	s.t.Helper()
	for n, other := range map[*lab.Node]*lab.Node{s.LB1: s.LB2, s.LB2: s.LB1} {
		_, err := n.Run(s.ctx, "iptables", "-w", how, "INPUT", "-s", other.Address, "-j", "DROP")
		s.must(err)
	}
	if how == "-A" {
		s.t.Cleanup(func() { // so that a test that ends here leaves no wall
			for _, n := range s.Nodes() {
				_, _ = n.Run(context.Background(), "iptables", "-w", "-F", "INPUT")
			}
		})
	}
}

// engines has each node drop, or send again, what goes to an engine.
func (s *scene) engines(how string) {
	s.t.Helper()
	for _, n := range s.Nodes() {
		_, err := n.Run(s.ctx, "iptables", "-w", how, "OUTPUT", "-p", "tcp", "--dport", "2376", "-j", "DROP")
		s.must(err)
	}
}

// freeze stops an engine's process; at the end of the test it goes on in any case.
func (s *scene) freeze(app *lab.App) {
	s.t.Helper()
	s.t.Cleanup(func() { _ = app.SignalEngine(syscall.SIGCONT) })
	s.must(app.SignalEngine(syscall.SIGSTOP))
}
