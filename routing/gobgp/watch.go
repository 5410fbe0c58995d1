package gobgp

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/vipilot/vipilot/routing"
)

// peerEvent follows one session. GoBGP waits 5 s in idle after a session that
// ended or an open that failed, and has no setting for it; a peer added anew
// does not wait, so that is what is done.
func (s *Speaker) peerEvent(ctx context.Context, p *api.Peer) {
	address, err := netip.ParseAddr(p.GetConf().GetNeighborAddress())
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ours := s.have.sessions[address]
	if !ours || ctx.Err() != nil {
		return
	}
	defer s.poke()
	switch p.GetState().GetSessionState() {
	case api.PeerState_ESTABLISHED:
		s.faults.clear(address)
		s.reached[address] = true
		s.log.Info("peer established", "peer", s.have.names[address], "address", address)
	case api.PeerState_OPENSENT, api.PeerState_OPENCONFIRM:
		if _, ok := s.reached[address]; !ok {
			s.reached[address] = false
		}
	case api.PeerState_IDLE:
		was, reached := s.reached[address]
		if !reached {
			return
		}
		if s.faults.of(address) == "" {
			s.faults.set(address, "the router closed the connection: check that it knows this node's address and ASN")
		}
		why := s.faults.of(address)
		if was {
			s.log.Warn("peer lost", "peer", s.have.names[address], "address", address, "err", why)
		}
		if err := s.drop(ctx, address); err != nil {
			s.log.Error("peer not restarted", "peer", address, "err", err)
			return
		}
		s.faults.set(address, why)
		if err := s.add(ctx, n, false); err != nil {
			s.log.Error("peer not restarted", "peer", address, "err", err)
		}
	}
}

// Announced is what the speaker was given and has not withdrawn, sorted.
func (s *Speaker) Announced() []netip.Prefix {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.have.prefixes), netip.Prefix.Compare)
}

// Peers tells how each session is, by the peer's name.
func (s *Speaker) Peers() map[string]routing.PeerState {
	s.mu.Lock()
	defer s.mu.Unlock()
	peers := map[string]routing.PeerState{}
	if s.have.asn == 0 {
		return peers
	}
	request := &api.ListPeerRequest{EnableAdvertised: true}
	_ = s.server.ListPeer(context.Background(), request, func(p *api.Peer) {
		address, err := netip.ParseAddr(p.GetState().GetNeighborAddress())
		if _, ours := s.have.sessions[address]; err == nil && ours {
			peers[s.have.names[address]] = s.peerState(address, p)
		}
	})
	return peers
}

func (s *Speaker) peerState(address netip.Addr, p *api.Peer) routing.PeerState {
	session := p.GetState().GetSessionState()
	st := routing.PeerState{State: strings.ToLower(session.String())}
	switch session {
	case api.PeerState_ESTABLISHED:
		for _, f := range p.GetAfiSafis() {
			st.PrefixesAnnounced += int(f.GetState().GetAdvertised())
		}
		st.KeepsRoutes = slices.ContainsFunc(p.GetState().GetRemoteCap(), func(c *anypb.Any) bool {
			return c.MessageIs(new(api.GracefulRestartCapability))
		})
		return st
	case api.PeerState_OPENSENT, api.PeerState_OPENCONFIRM:
		st.Error = "connected, but the router does not answer: check its ttl_security, or its load"
	}
	if text := s.faults.of(address); text != "" {
		st.Error = text
	}
	return st
}
