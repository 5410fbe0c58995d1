package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/routing"
)

// connectRetry is GoBGP's least: a refused or unanswered connection is tried
// again after 1 to 2 s.
const connectRetry = 1

func (s *Speaker) add(ctx context.Context, n session, restarting bool) error {
	if err := s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: n.api(restarting)}); err != nil {
		return fmt.Errorf("add peer %s: %w", n.Address, err)
	}
	s.have.sessions[n.Address] = n
	delete(s.reached, n.Address)
	return nil
}

func (s *Speaker) drop(ctx context.Context, address netip.Addr) error {
	if err := s.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: address.String()}); err != nil {
		return fmt.Errorf("remove peer %s: %w", address, err)
	}
	delete(s.have.sessions, address)
	delete(s.reached, address)
	s.faults.clear(address)
	return nil
}

// api is the session in GoBGP's words.
func (n session) api(restarting bool) *api.Peer {
	hold := n.HoldTime
	if hold == 0 {
		hold = routing.DefaultHoldTime
	}
	seconds := uint64(hold / time.Second)
	p := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: n.Address.String(), PeerAsn: n.ASN, AuthPassword: n.Password,
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			ConnectRetry: connectRetry, HoldTime: seconds, KeepaliveInterval: seconds / 3,
		}},
		Transport: &api.Transport{},
	}
	if n.LocalAddress.IsValid() {
		p.Transport.LocalAddress = n.LocalAddress.String()
	}
	if n.TTLSecurity {
		p.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if n.Multihop > 0 && n.ASN != n.own { // iBGP needs no leave
		p.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(n.Multihop)}
	}
	if n.restart > 0 {
		p.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(n.restart / time.Second),
			DeferralTime: 5, LocalRestarting: restarting,
		}
	}
	for _, family := range n.families() {
		p.AfiSafis = append(p.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: family, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: n.restart > 0}},
		})
	}
	return p
}

// families are those whose prefixes the session can carry with a next hop the
// router can use. IPv4 over IPv6 is RFC 8950.
func (n session) families() []*api.Family {
	if n.Address.Is4() && !n.nextHop6.IsValid() {
		return []*api.Family{family4}
	}
	return []*api.Family{family4, family6}
}

// resolve finds the IPv6 next hop for an IPv4 session: the one given, the one
// found before, or a lasting global address on the interface towards the peer.
func (s *Speaker) resolve(p routing.Peer, before netip.Addr) netip.Addr {
	switch {
	case !p.Address.Is4():
		return netip.Addr{}
	case p.LocalAddress6.IsValid():
		return p.LocalAddress6
	case before.IsValid():
		return before
	}
	routes, err := netlink.RouteGet(p.Address.AsSlice())
	if err != nil || len(routes) == 0 {
		return netip.Addr{}
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return netip.Addr{}
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return netip.Addr{}
	}
	const unfit = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED | unix.IFA_F_TEMPORARY
	for _, a := range addresses {
		address, ok := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		// A /128 is a VIP more often than a node's own address.
		if ok && address.IsGlobalUnicast() && bits < 128 && a.Flags&unfit == 0 {
			return address
		}
	}
	return netip.Addr{}
}
