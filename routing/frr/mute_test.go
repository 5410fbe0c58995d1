package frr

import (
	"testing"

	"github.com/vipilot/vipilot/routing"
)

// TestMute: the end of a daemon is believed at once, and until the next one is
// heard; it counts where something is announced by it.
func TestMute(t *testing.T) {
	two, three := routing.NeighborState{Version: 2, State: "full"}, routing.NeighborState{Version: 3, State: "full"}
	whole := observation{
		peers:     map[string]routing.PeerState{"edge": {State: "established"}},
		neighbors: map[string]routing.NeighborState{"10.77.0.1 eth0": two, "10.77.0.1 eth0 v3": three},
	}
	s := &Speaker{standing: make(map[string]bool), mute: make(map[string]bool), daemons: make(map[string]*daemon), seen: whole, want: wantBGP("203.0.113.10/32")}
	s.want.OSPF = &routing.OSPF{Prefixes: pfx("203.0.113.10/32")}
	for _, name := range order {
		s.daemons[name] = &daemon{name: name, vty: new(vty)}
	}
	s.hear()
	check := func(what string, bgp, ospf bool) {
		t.Helper()
		if b, o := s.Mute(); b != bgp || o != ospf {
			t.Errorf("%s: mute in BGP %v, in OSPF %v", what, b, o)
		}
	}
	for _, name := range []string{"zebra", "bfdd", "ospf6d"} {
		s.silenced(name)
		check(name+" ended", false, false)
	}
	s.silenced("ospfd")
	check("ospfd ended", false, true)
	if len(s.Neighbors()) != 0 {
		t.Errorf("neighbors left: %v", s.Neighbors())
	}
	s.silenced("bgpd")
	check("bgpd ended", true, true)
	if state := s.Peers()["edge"].State; state != "idle" {
		t.Errorf("the peer is %s", state)
	}
	s.hear()
	check("nobody is heard yet", true, true)
	s.seen = whole
	s.hear()
	check("all are heard", false, false)
	s.seen, s.daemons["bgpd"].vty = observation{}, nil // who looked was sooner than the news of its end
	s.hear()
	s.silenced("bgpd")
	check("bgpd ended and gave no answer", true, false)
	s.seen, s.daemons["bgpd"].vty = whole, new(vty)
	s.hear()
	check("all are heard again", false, false)
	s.seen = observation{}
	s.hear()
	s.silenced("bgpd")
	check("bgpd ended that had no session", false, false)
}
