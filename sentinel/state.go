package sentinel

import (
	"errors"
	"net/netip"
	"os"
	"slices"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/remote"
)

// state is what is told of this moment.
func (w *watchdog) state() remote.State {
	f := w.faults
	s := remote.State{
		PID: os.Getpid(), Build: w.build, HAProxyUp: w.down == nil,
		Peers: w.peers(), Neighbors: w.frr.Neighbors(), FRR: w.frr.Daemons(),
		Held: w.heldOfWanted(), Announced: w.announced(), Deaf: w.hearing.deaf, Stays: w.stays(),
	}
	down := w.down
	if w.want.Gate.PID == 0 {
		down = nil // as ordered
	}
	if err := errors.Join(down, f.addresses, f.guard, f.track, f.speakerTrack, f.save, f.speaker, f.frr); err != nil {
		s.Error = err.Error()
	}
	return s
}

// peers are those of the speaker that has the sessions, with what BFD says.
func (w *watchdog) peers() map[string]routing.PeerState {
	if w.want.Routing.ViaFRR {
		return w.frr.Peers()
	}
	peers := w.speaker.Peers()
	for _, p := range w.want.Routing.Peers {
		if state, ok := peers[p.Name]; ok {
			state.BFD = w.frr.BFD(p)
			peers[p.Name] = state
		}
	}
	return peers
}

// announced is the sum of all speakers. OSPF has of its prefixes those that
// are held.
func (w *watchdog) announced() []netip.Prefix {
	all := append([]netip.Prefix{}, w.speaker.Announced()...)
	all = append(all, w.frr.BGP()...)
	for _, p := range w.frr.OSPF() {
		if holds(w.held, p) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

func (w *watchdog) heldOfWanted() []netip.Addr {
	single, wider := make(map[netip.Addr]bool), []netip.Prefix(nil)
	take := func(prefixes []routing.Prefix) {
		for _, p := range prefixes {
			if p.Prefix.IsSingleIP() {
				single[p.Prefix.Addr()] = true
			} else {
				wider = append(wider, p.Prefix)
			}
		}
	}
	take(w.want.Routing.Prefixes)
	if w.want.Routing.OSPF != nil {
		take(w.want.Routing.OSPF.Prefixes)
	}
	held := []netip.Addr{}
	for a := range w.held {
		if single[a] || slices.ContainsFunc(wider, func(p netip.Prefix) bool { return p.Contains(a) }) {
			held = append(held, a)
		}
	}
	slices.SortFunc(held, netip.Addr.Compare)
	return held
}
