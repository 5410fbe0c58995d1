package gobgp

import (
	"fmt"
	"net/netip"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/vipilot/vipilot/routing"
)

var (
	family4 = &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
	family6 = &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}
)

// newPath is a prefix with the attributes that p asks for. Its next hop is
// unspecified, so each session fills in its own local address; an explicit one
// would go unchanged to every peer.
func newPath(asn uint32, p routing.Prefix) (*api.Path, error) {
	nlri := &api.IPAddressPrefix{Prefix: p.Prefix.Addr().String(), PrefixLen: uint32(p.Prefix.Bits())}
	attributes := []proto.Message{&api.OriginAttribute{Origin: 0}} // IGP
	if p.Prepend > 0 {
		numbers := make([]uint32, p.Prepend)
		for i := range numbers {
			numbers[i] = asn
		}
		attributes = append(attributes, &api.AsPathAttribute{
			Segments: []*api.AsSegment{{Type: api.AsSegment_AS_SEQUENCE, Numbers: numbers}},
		})
	}
	family := family4
	if p.Prefix.Addr().Is4() {
		attributes = append(attributes, &api.NextHopAttribute{NextHop: "0.0.0.0"})
	} else {
		family = family6
		packed, err := anypb.New(nlri)
		if err != nil {
			return nil, err
		}
		attributes = append(attributes, &api.MpReachNLRIAttribute{
			Family: family, NextHops: []string{"::"}, Nlris: []*anypb.Any{packed},
		})
	}
	if p.MED != nil {
		attributes = append(attributes, &api.MultiExitDiscAttribute{Med: *p.MED})
	}
	if p.LocalPreference > 0 { // GoBGP keeps it from eBGP peers
		attributes = append(attributes, &api.LocalPrefAttribute{LocalPref: p.LocalPreference})
	}
	communities, err := communityAttributes(p.Communities)
	if err != nil {
		return nil, err
	}
	return pack(family, nlri, append(attributes, communities...))
}

func communityAttributes(texts []string) (attributes []proto.Message, err error) {
	var standard api.CommunitiesAttribute
	var large api.LargeCommunitiesAttribute
	for _, text := range texts {
		c, err := routing.ParseCommunity(text)
		if err != nil {
			return nil, err
		}
		if c.Large {
			large.Communities = append(large.Communities, &api.LargeCommunity{GlobalAdmin: c.A, LocalData1: c.B, LocalData2: c.C})
		} else {
			standard.Communities = append(standard.Communities, c.A<<16|c.B)
		}
	}
	if len(standard.Communities) > 0 {
		attributes = append(attributes, &standard)
	}
	if len(large.Communities) > 0 {
		attributes = append(attributes, &large)
	}
	return attributes, nil
}

func pack(family *api.Family, nlri proto.Message, attributes []proto.Message) (*api.Path, error) {
	packed, err := anypb.New(nlri)
	if err != nil {
		return nil, fmt.Errorf("pack prefix: %w", err)
	}
	p := &api.Path{Family: family, Nlri: packed}
	for _, a := range attributes {
		packed, err := anypb.New(a)
		if err != nil {
			return nil, fmt.Errorf("pack attribute: %w", err)
		}
		p.Pattrs = append(p.Pattrs, packed)
	}
	return p, nil
}

func addRequest(asn uint32, p routing.Prefix) (*api.AddPathRequest, error) {
	made, err := newPath(asn, p)
	if err != nil {
		return nil, err
	}
	return &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: made}, nil
}

func deleteRequest(prefix netip.Prefix) *api.DeletePathRequest {
	made, err := newPath(0, routing.Prefix{Prefix: prefix})
	if err != nil {
		return nil // refused by the server; cannot happen with these types
	}
	return &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Family: made.Family, Path: made}
}
