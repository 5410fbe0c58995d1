package frr

import (
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// TestE2EZebraDies: the other daemons are started anew, after others had time
// to take over, and what they had asked zebra for is there again.
func TestE2EZebraDies(t *testing.T) {
	l := routingtest.Enter(t)
	if l == nil {
		return
	}
	l.StartDaemons(routerOSPF(true))
	s := e2eSpeaker(t, runDir(t))
	want := wantOSPF("203.0.113.10/32")
	want.OSPF.BFD = routing.BFD{Interval: 100 * time.Millisecond, Multiplier: 3}
	keep(t, l, s, want)
	follow(t, s, func() routing.Config { return want })
	well := func() bool {
		n, ok := s.Neighbors()[routingtest.Router+" eth0"]
		return ok && n.State == "full" && n.BFD == "up"
	}
	t.Logf("neighbor full, BFD up after %s: %+v", l.Eventually("neighbor", well), s.Neighbors())
	routingtest.Run(t, "ip addr add 203.0.113.10/32 dev eth0")
	l.Eventually("route", func() bool { return l.HasRouteBy("ospf", "203.0.113.10") })

	old := s.Daemons()
	routingtest.Kill(t, old["zebra"].PID, syscall.SIGKILL)
	l.Eventually("it says so", s.Failing)
	l.Eventually("all are others", func() bool {
		for name, now := range s.Daemons() {
			if now.PID == 0 || now.PID == old[name].PID && name != "mgmtd" { // which nobody asks for anything
				return false
			}
		}
		return !s.Failing()
	})
	t.Logf("well again after %s", l.Eventually("neighbor and route", func() bool { return well() && l.HasRouteBy("ospf", "203.0.113.10") }))
}
