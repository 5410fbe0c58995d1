package sentinel

import (
	"slices"
	"time"

	"github.com/vipilot/vipilot/routing"
)

const (
	deafAfter   = 2 * time.Second  // without any router, from then on the node is deaf
	trustAfter  = 5 * time.Second  // with a router again, from then on it is not
	maxLosses   = 3                // so many times the last router was lost
	lossesCount = 20 * time.Second // within this time: it flaps, the node is deaf

	// letGoFor is time enough for keepalived to see a fault and give the VIPs up;
	// whoever takes them over does so in its own time.
	letGoFor = 300 * time.Millisecond

	peerIsUp     = "established"
	neighborIsUp = "full"
	bfdIsUp      = "up"
	bfdIsDown    = "down"
)

// hearing tells whether a node has a router to announce to. One that has none
// should not attract the VIPs that it cannot announce: neither one that lost its
// routers, nor one that has booted and does not have them yet. A session that
// flaps must not move VIPs with every turn, so the way back takes longer, but
// for the very first session.
type hearing struct {
	deaf  bool
	heard bool // a router was there before
	// until is how long an heir believes what the sentinel before it heard.
	until time.Time
	since time.Time // when the present facts became different from deaf; zero = they are not

	losses [maxLosses]time.Time // the latest, the oldest first
	letGo  time.Time            // until then the VIPs are to be given up, and not only left to whoever preempts
}

// facts are what there is to hear with.
type facts struct {
	needed bool // routers are to be told of something, now or later
	router bool // a peer or an OSPF neighbor is there
	cut    bool // BFD has lost a peer, or FRR has ended, which leaves no doubt
	ended  bool // it is FRR that has ended: routers are well, and hear other nodes
}

// listen takes the facts of this moment.
func (h *hearing) listen(f facts, now time.Time) {
	switch {
	case !f.needed:
		h.deaf, h.since = false, time.Time{}
	case !f.router && now.Before(h.until):
	case !h.heard:
		h.deaf, h.heard, h.since = !f.router, f.router, time.Time{}
	case f.router == !h.deaf:
		h.since = time.Time{}
	case !f.router && f.cut:
		h.deaf, h.since = true, time.Time{}
		if f.ended {
			h.letGo = now.Add(letGoFor)
		}
	case h.since.IsZero():
		h.since = now
		if !f.router && h.flaps(now) {
			h.deaf, h.since = true, time.Time{}
		}
	case h.late(now):
		h.deaf, h.since = !f.router, time.Time{}
	}
}

// flaps counts the loss of the last router.
func (h *hearing) flaps(now time.Time) bool {
	copy(h.losses[:], h.losses[1:])
	h.losses[maxLosses-1] = now
	return now.Sub(h.losses[0]) < lossesCount
}

// heir goes on with what another sentinel heard, until its own sessions stand.
func heir(restart time.Duration, now time.Time) hearing {
	return hearing{heard: true, until: now.Add(max(restart, succession))}
}

// track is what keepalived is to be told of this moment.
func (h *hearing) track(now time.Time) string {
	switch {
	case !h.deaf:
		return trackGood
	case now.Before(h.letGo):
		return trackFault
	}
	h.letGo = time.Time{}
	return trackBad
}

// due reports whether it is time to listen again though nothing happened.
func (h *hearing) due(now time.Time) bool {
	return h.late(now) || !h.letGo.IsZero() && !now.Before(h.letGo)
}

// late reports whether the facts have been different for long enough.
func (h *hearing) late(now time.Time) bool {
	after := deafAfter
	if h.deaf {
		after = trustAfter
	}
	return !h.since.IsZero() && now.Sub(h.since) >= after
}

// facts of this moment.
func (w *watchdog) facts() facts {
	peers := w.peers()
	for name, p := range peers {
		if p.BFD == bfdIsUp {
			w.bfd[name] = true
		}
	}
	neighbors := w.frr.Neighbors()
	bgp, ospf := w.frr.Mute()
	if ospf { // whoever hears one of its two daemons does not hear of all VIPs
		neighbors = nil
	}
	f := factsOf(w.want.Routing, peers, neighbors, w.bfd)
	if w.frr.Failing() { // it is about to end all sessions
		f.router, f.cut, f.ended = false, true, true
	}
	if bgp || ospf {
		f.cut, f.ended = true, true
	}
	return f
}

// factsOf what is known of peers and neighbors. Only the protocol counts that
// prefixes are announced by, or both while there are none. A session that
// stands does not count while BFD, where it was ever up (guarded), says that
// the way to the peer is gone: GoBGP would notice with the hold time only.
func factsOf(want routing.Config, peers map[string]routing.PeerState, neighbors map[string]routing.NeighborState, guarded map[string]bool) facts {
	f := facts{needed: len(want.Peers) > 0 || want.OSPF != nil}
	byBGP, byOSPF := len(want.Prefixes) > 0, want.OSPF != nil && len(want.OSPF.Prefixes) > 0
	if byBGP || !byOSPF {
		for name, p := range peers {
			cut := guarded[name] && p.BFD == bfdIsDown
			f.cut = f.cut || cut
			f.router = f.router || p.State == peerIsUp && !cut
		}
	}
	if byOSPF || !byBGP {
		for _, n := range neighbors {
			f.router = f.router || n.State == neighborIsUp && tellable(n, want.OSPF)
		}
	}
	return f
}

// tellable reports whether a neighbor is told of any prefix, now or later:
// OSPFv2 has those of IPv4, OSPFv3 those of IPv6.
func tellable(n routing.NeighborState, want *routing.OSPF) bool {
	if want == nil || len(want.Prefixes) == 0 {
		return true
	}
	return slices.ContainsFunc(want.Prefixes, func(p routing.Prefix) bool { return p.Prefix.Addr().Is4() == (n.Version == 2) })
}

// writeSpeakerTrack tells keepalived of a node that nobody hears.
func (w *watchdog) writeSpeakerTrack() {
	was, now := w.hearing.deaf, time.Now()
	w.hearing.listen(w.facts(), now)
	if w.hearing.deaf != was {
		w.log.Warn("routers", "heard", !w.hearing.deaf)
	}
	value := w.hearing.track(now)
	if value == w.speakerTrack {
		return
	}
	err := writeTrack(w.want.SpeakerTrackFile, value)
	if err == nil {
		w.speakerTrack = value
	}
	w.note(&w.faults.speakerTrack, err)
}
