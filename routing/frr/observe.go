package frr

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/vipilot/vipilot/routing"
)

// lookEvery is how often the daemons are asked how their neighbors are: FRR
// has no events on its vty.
const lookEvery = 500 * time.Millisecond

// observation is what the daemons tell.
type observation struct {
	peers     map[string]routing.PeerState // of BGP by FRR, by name
	neighbors map[string]routing.NeighborState
	bfd       map[netip.Addr]string // up, init, down
}

// observe looks until ctx ends, and pokes after a change. A daemon that does
// not answer is hung up on, and met anew by the next Set.
func (s *Speaker) observe(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		if len(s.daemons) > 0 {
			seen := s.look(ctx)
			if !reflect.DeepEqual(seen, s.seen) || !s.alive() {
				s.poke()
			}
			s.seen = seen
			s.hear()
		}
		s.mu.Unlock()
	}
}

func (s *Speaker) look(ctx context.Context) observation {
	seen := observation{neighbors: make(map[string]routing.NeighborState), bfd: make(map[netip.Addr]string)}
	var sessions []bfdSession
	s.ask(ctx, "bfdd", "show bfd peers json", &sessions)
	for _, one := range sessions {
		a, err := netip.ParseAddr(one.Peer)
		if a = a.WithZone(""); err == nil && seen.bfd[a] != "up" { // of two to one router, one is up
			seen.bfd[a] = one.Status
		}
	}
	if s.want.ViaFRR {
		var peers map[string]bgpPeer
		s.ask(ctx, "bgpd", "show bgp neighbors json", &peers)
		seen.peers = s.peerStates(peers, seen.bfd)
	}
	var two struct{ Neighbors map[string][]ospfNeighbor }
	s.ask(ctx, "ospfd", "show ip ospf neighbor json", &two)
	for id, list := range two.Neighbors {
		for _, n := range list {
			link, _, _ := strings.Cut(n.Interface, ":")
			seen.neighbors[id+" "+link] = routing.NeighborState{
				Interface: link, Version: 2, State: ospfState(cmp.Or(n.State, n.OldState)), BFD: s.ospfBFD(seen.bfd, cmp.Or(n.Address, n.OldAddress)),
			}
		}
	}
	var three struct{ Neighbors []ospf6Neighbor }
	s.ask(ctx, "ospf6d", "show ipv6 ospf6 neighbor json", &three)
	for _, n := range three.Neighbors {
		seen.neighbors[n.ID+" "+n.Interface+" v3"] = routing.NeighborState{Interface: n.Interface, Version: 3, State: ospfState(n.State)}
	}
	return seen
}

type (
	bfdSession struct{ Peer, Status string }
	bgpPeer    struct {
		State       string `json:"bgpState"`
		Established int    `json:"connectionsEstablished"`
		Families    map[string]struct {
			Sent int `json:"sentPrefixCounter"`
		} `json:"addressFamilyInfo"`
		Reset  string `json:"lastResetDueTo"`
		Reason string `json:"lastNotificationReason"`
		Local  string `json:"hostLocal"`
	}
	ospfNeighbor struct {
		State      string `json:"nbrState"`
		Address    string `json:"ifaceAddress"`
		Interface  string `json:"ifaceName"`
		OldState   string `json:"state"`   // FRR 8
		OldAddress string `json:"address"` // FRR 8
	}
	ospf6Neighbor struct {
		ID        string `json:"neighborId"`
		State     string `json:"state"`
		Interface string `json:"interfaceName"`
	}
)

// ask fills in answer; a daemon that we do not talk to leaves it empty.
func (s *Speaker) ask(ctx context.Context, name, question string, answer any) {
	d := s.daemons[name]
	if d == nil || d.vty == nil || d.ended() {
		return
	}
	said, err := d.vty.run(ctx, question)
	if err != nil {
		s.log.Warn("daemon does not answer", "daemon", name, "err", err)
		d.hangUp()
		s.settled = false
		return
	}
	if err := json.Unmarshal([]byte(said), answer); err != nil && strings.TrimSpace(said) != "" {
		s.log.Debug("unexpected answer", "daemon", name, "question", question, "err", err)
	}
}

func (s *Speaker) peerStates(peers map[string]bgpPeer, bfd map[netip.Addr]string) map[string]routing.PeerState {
	states := make(map[string]routing.PeerState, len(s.want.Peers))
	for _, p := range s.want.Peers {
		seen, ok := peers[p.Address.String()]
		state := routing.PeerState{State: strings.ToLower(seen.State)}
		if !ok {
			state.State = "idle"
		}
		if p.BFD.On() {
			state.BFD = bfdState(bfd, p.Address)
		}
		for _, f := range seen.Families {
			state.PrefixesAnnounced += f.Sent
		}
		if state.State != "established" {
			state.PrefixesAnnounced, state.Error = 0, seen.why(state.State)
		}
		states[p.Name] = state
	}
	return states
}

// why a session is not up, as far as bgpd can know.
func (p bgpPeer) why(state string) string {
	switch {
	case strings.Contains(p.Reason, "Bad Peer AS"):
		return p.Reason + ": the ASNs configured here and there differ"
	case p.Reason != "":
		return "the session was closed: " + p.Reason
	case state == "opensent" || state == "openconfirm":
		return "connected, but the router does not answer: check its ttl_security, or its load"
	case strings.Contains(p.Reset, "BFD"):
		return "BFD found the router gone"
	case p.Established > 0 && p.Reset != "":
		return p.Reset
	}
	return "no answer: the router is away, or password_file or ttl_security differ (both look alike from here)"
}

func ospfState(text string) string {
	state, _, _ := strings.Cut(text, "/")
	return strings.ToLower(state)
}

func (s *Speaker) ospfBFD(bfd map[netip.Addr]string, address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || s.want.OSPF == nil || !s.want.OSPF.BFD.On() {
		return ""
	}
	return bfdState(bfd, a)
}

func bfdState(bfd map[netip.Addr]string, a netip.Addr) string {
	if state := bfd[a]; state != "" {
		return state
	}
	return "down"
}

// Peers tells how FRR's BGP sessions are, by name; nil when BGP is not FRR's.
func (s *Speaker) Peers() map[string]routing.PeerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.seen.peers)
}

// BFD tells how the router's BFD session is: up, init or down; "" where none
// is asked for.
func (s *Speaker) BFD(p routing.Peer) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.BFD.On() {
		return ""
	}
	return bfdState(s.seen.bfd, p.Address)
}

// Neighbors tells how the OSPF neighbors are, by router ID and interface.
func (s *Speaker) Neighbors() map[string]routing.NeighborState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.seen.neighbors)
}

// Daemons tells which daemons are used, by name, and what is wrong with them.
func (s *Speaker) Daemons() map[string]routing.DaemonState {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make(map[string]routing.DaemonState, len(s.daemons))
	for name, d := range s.daemons {
		var state routing.DaemonState
		switch {
		case d.vty != nil && !d.ended():
			state.PID = d.vty.pid
		case d.process != nil && !d.ended():
			state.PID = d.process.PID
		}
		if d.err != nil {
			state.Error = fmt.Sprint(d.err)
		}
		states[name] = state
	}
	return states
}
