package faults

import (
	"fmt"
	"slices"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

// faults are the rows of the matrix, in the order in which they happen.
func faults() []fault {
	return slices.Concat(ofProcesses(), ofEverythingElse(), ofMachines(), ofRouters(), ofClocks())
}

// nothing may be lost. A router that changes a route takes a moment from
// hearing of it to using it (FRR 8.4 some 60 ms), in which new connections wait.
func nothing(mode) measure { return measure{Gap: 300 * time.Millisecond, Dark: 300 * time.Millisecond} }

// most is the same bound in every mode.
func most(lost int, gap, dark time.Duration) func(mode) measure {
	return func(mode) measure { return measure{Lost: lost, Gap: gap, Dark: dark} }
}

// ofProcesses are the ends of vipilot's own processes and of those it drives.
func ofProcesses() []fault {
	return []fault{
		{
			name: "controller killed", about: "kill -9; a second later the next one starts", bound: nothing, steady: true,
			strike: func(s *scene) { s.LB1.KillController(); s.rest(time.Second) },
			heal:   func(s *scene) { s.startController(s.LB1) },
		},
		{
			name: "controller upgraded", about: "SIGTERM with --on-exit leave, then the next one", bound: nothing, steady: true,
			strike: func(s *scene) { s.must(s.LB1.StopController()); s.startController(s.LB1) },
		},
		{
			name: "both controllers restarted", about: "kill -9 of both at once, and both started again", bound: nothing, steady: true,
			strike: func(s *scene) {
				for _, n := range s.Nodes() {
					n.KillController()
				}
				s.rest(time.Second)
			},
			heal: func(s *scene) {
				for _, n := range s.Nodes() {
					s.startController(n)
				}
			},
		},
		{
			name: "sentinel killed", about: "kill -9 of the process that holds the BGP sessions; the controller starts another",
			bound: most(300, 2*time.Second, 500*time.Millisecond),
			strike: func(s *scene) {
				old := s.status(s.LB1).Components.Speaker.PID
				s.end(s.LB1, old)
				s.awaitStatus(s.LB1, "another sentinel", lab.AnotherSentinel(old))
				s.whole()
			},
		},
		{
			name: "HAProxy worker killed", about: "kill -9; the master ends with it, and the controller starts HAProxy again",
			bound:  most(300, 500*time.Millisecond, 300*time.Millisecond),
			strike: func(s *scene) { s.endHAProxy(s.find(s.LB1, "-P", fmt.Sprint(s.haproxy()))) },
		},
		{
			name: "HAProxy master killed", about: "kill -9; the controller ends what is left and starts HAProxy again",
			bound:  most(300, 500*time.Millisecond, 300*time.Millisecond),
			strike: func(s *scene) { s.endHAProxy(s.haproxy()) },
		},
		{
			name: "keepalived killed", about: "kill -9 of both its processes; the controller starts it again",
			in: func(m mode) bool { return !m.anycast }, bound: most(300, 2*time.Second, 300*time.Millisecond),
			strike: func(s *scene) {
				old := s.status(s.LB1).Components.Keepalived.PID
				child := s.find(s.LB1, "-P", fmt.Sprint(old))
				s.end(s.LB1, old)
				s.end(s.LB1, child)
				s.awaitStatus(s.LB1, "another keepalived", lab.AnotherKeepalived(old))
				s.whole()
			},
		},
		{
			name: "ospfd killed", about: "kill -9 on the master; the other node takes over, and the sentinel starts it again",
			in:    func(m mode) bool { return m.protocol == "ospf" },
			bound: most(300, time.Second, 500*time.Millisecond), strike: daemonKilled("ospfd"),
		},
		{
			name: "bgpd killed", about: "kill -9 on the master, where FRR speaks BGP; the other node takes over, and the sentinel starts it again",
			in:    func(m mode) bool { return m.protocol == "bgp" && m.frr },
			bound: most(300, time.Second, 500*time.Millisecond), strike: daemonKilled("bgpd"),
		},
		{
			name: "zebra killed", about: "kill -9 on the master, where FRR speaks; the other node takes over, and the sentinel starts all of FRR again",
			in:    func(m mode) bool { return m.frr },
			bound: most(300, 500*time.Millisecond, 500*time.Millisecond),
			strike: func(s *scene) {
				s.end(s.LB1, s.find(s.LB1, "-x", "zebra"))
				s.rest(12 * time.Second) // only after ten do the others look for the next one
				s.whole()
			},
		},
		{
			name: "node drained", about: "`vipilot drain node` on the master, and --undo",
			bound: nothing,
			strike: func(s *scene) {
				_, err := s.LB1.Vipilot(s.ctx, "drain", "node", "--wait", "--timeout", "90s")
				s.must(err)
			},
			heal: func(s *scene) {
				_, err := s.LB1.Vipilot(s.ctx, "drain", "--undo")
				s.must(err)
				s.whole()
			},
		},
	}
}

// haproxy is the process number of the master node's HAProxy.
func (s *scene) haproxy() int { return s.status(s.LB1).Components.HAProxy.PID }

// endHAProxy kills a process of HAProxy and waits for the next HAProxy, in service.
func (s *scene) endHAProxy(pid int) {
	s.t.Helper()
	old := s.haproxy()
	s.end(s.LB1, pid)
	s.awaitStatus(s.LB1, "another HAProxy", lab.AnotherHAProxy(old))
	s.whole()
}

func (s *scene) startController(n *lab.Node) {
	s.t.Helper()
	s.must(n.StartVipilot(s.ctx, "--on-exit", "leave"))
	s.awaitStatus(n, "everything applied", lab.Applied)
}

// daemonKilled ends one of FRR's daemons on the master.
func daemonKilled(name string) func(*scene) {
	return func(s *scene) {
		old := s.find(s.LB1, "-x", name)
		s.end(s.LB1, old)
		s.await("another "+name, func() error {
			out, err := s.LB1.Run(s.ctx, "pgrep", "-n", "-x", name)
			if err == nil && out == fmt.Sprintln(old) {
				return fmt.Errorf("it is still %d", old)
			}
			return err
		})
		s.whole()
	}
}
