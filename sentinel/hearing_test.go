package sentinel

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing"
)

// TestHearing: slow to judge, slower to trust, and quick at the beginning.
func TestHearing(t *testing.T) {
	var h hearing
	now := time.Unix(0, 0)
	for _, step := range []struct {
		what           string
		after          time.Duration
		needed, router bool
		deaf           bool
	}{
		{"nothing to announce", 0, false, false, false},
		{"no router yet", time.Minute, true, false, true},
		{"still none", deafAfter, true, false, true},
		{"the first one is believed at once", time.Second, true, true, false},
		{"it goes", time.Second, true, false, false},
		{"and comes in time", deafAfter - time.Millisecond, true, true, false},
		{"it goes again", time.Second, true, false, false},
		{"for long", deafAfter, true, false, true},
		{"it flaps: there", time.Second, true, true, true},
		{"it flaps: away", trustAfter - time.Millisecond, true, false, true},
		{"it flaps: there", time.Second, true, true, true},
		{"it stays", trustAfter, true, true, false},
		{"and stays", time.Hour, true, true, false},
		{"it goes for good", time.Second, true, false, false},
		{"for long", deafAfter, true, false, true},
		{"it is back", time.Second, true, true, true},
		{"and trusted", trustAfter, true, true, false},
		{"it flaps again: away", lossesCount, true, false, false},
		{"there", time.Second, true, true, false},
		{"away", time.Second, true, false, false},
		{"there", time.Second, true, true, false},
		{"away, once too often", time.Second, true, false, true},
		{"nothing to announce any more", time.Second, false, false, false},
	} {
		now = now.Add(step.after)
		h.listen(facts{needed: step.needed, router: step.router}, now)
		if h.deaf != step.deaf {
			t.Fatalf("%s: deaf %v", step.what, h.deaf)
		}
	}
	h = hearing{heard: true}
	if h.listen(facts{needed: true, cut: true}, now); !h.deaf {
		t.Error("BFD is not believed at once")
	}
	if h.track(now) != trackBad {
		t.Error("the VIPs are given up, though other nodes may have lost the router as well")
	}
}

// TestHearingLetsGo: where it is the node's own FRR that has ended, VIPs are
// given up for a moment, and once.
func TestHearingLetsGo(t *testing.T) {
	h, now := hearing{heard: true}, time.Unix(0, 0)
	for _, step := range []struct {
		what  string
		after time.Duration
		facts facts
		track string
	}{
		{"routers hear the node", 0, facts{needed: true, router: true}, trackGood},
		{"FRR ends", time.Second, facts{needed: true, cut: true, ended: true}, trackFault},
		{"and starts", letGoFor - time.Millisecond, facts{needed: true, cut: true, ended: true}, trackFault},
		{"others have the VIPs", time.Millisecond, facts{needed: true, cut: true, ended: true}, trackBad},
		{"a session stands again", time.Second, facts{needed: true, router: true}, trackBad},
		{"not for long enough", trustAfter - time.Millisecond, facts{needed: true, router: true}, trackBad},
		{"it is trusted", time.Millisecond, facts{needed: true, router: true}, trackGood},
		{"FRR ends, and another speaker is heard", time.Second, facts{needed: true, router: true, cut: true, ended: true}, trackGood},
	} {
		now = now.Add(step.after)
		if due := h.due(now); due != (step.track == trackBad && !h.letGo.IsZero() || step.what == "it is trusted") {
			t.Errorf("%s: due %v", step.what, due)
		}
		h.listen(step.facts, now)
		if got := h.track(now); got != step.track {
			t.Errorf("%s: track file %q, want %q", step.what, got, step.track)
		}
	}
}

// TestFacts: a router counts that is told of the VIPs, by the protocol they are
// announced by.
func TestFacts(t *testing.T) {
	up, down := map[string]routing.PeerState{"edge": {State: peerIsUp}}, map[string]routing.PeerState{"edge": {State: "active"}}
	lost := map[string]routing.PeerState{"edge": {State: peerIsUp, BFD: bfdIsDown}}
	full := map[string]routing.NeighborState{"10.77.0.1 eth0": {Version: 2, State: neighborIsUp}}
	other := map[string]routing.NeighborState{"10.77.0.1 eth0 v3": {Version: 3, State: neighborIsUp}}
	some := []routing.Prefix{{Prefix: netip.MustParsePrefix("203.0.113.10/32")}}
	both := func(bgp, ospf []routing.Prefix) routing.Config {
		return routing.Config{Peers: make([]routing.Peer, 1), Prefixes: bgp, OSPF: &routing.OSPF{Prefixes: ospf}}
	}
	guarded := map[string]bool{"edge": true}
	for _, c := range []struct {
		what      string
		want      routing.Config
		peers     map[string]routing.PeerState
		neighbors map[string]routing.NeighborState
		guarded   map[string]bool
		facts     facts
	}{
		{"nobody to tell", routing.Config{}, nil, nil, nil, facts{}},
		{"nothing to tell yet, a peer", both(nil, nil), up, nil, nil, facts{needed: true, router: true}},
		{"nothing to tell yet, a neighbor", both(nil, nil), down, full, nil, facts{needed: true, router: true}},
		{"by BGP, and only OSPF hears", both(some, nil), down, full, nil, facts{needed: true}},
		{"by OSPF, and only BGP hears", both(nil, some), up, nil, nil, facts{needed: true}},
		{"by both, and BGP hears", both(some, some), up, nil, nil, facts{needed: true, router: true}},
		{"by both, and OSPF hears", both(some, some), down, full, nil, facts{needed: true, router: true}},
		{"by OSPF, and only OSPFv3 hears", both(nil, some), down, other, nil, facts{needed: true}},
		{"nothing to tell yet, a neighbor of OSPFv3", both(nil, nil), down, other, nil, facts{needed: true, router: true}},
		{"BFD was never up", both(some, nil), lost, nil, nil, facts{needed: true, router: true}},
		{"BFD has lost the peer", both(some, nil), lost, nil, guarded, facts{needed: true, cut: true}},
		{"BFD has lost a peer that is told nothing", both(nil, some), lost, full, guarded, facts{needed: true, router: true}},
	} {
		if got := factsOf(c.want, c.peers, c.neighbors, c.guarded); got != c.facts {
			t.Errorf("%s: %+v, want %+v", c.what, got, c.facts)
		}
	}
}
