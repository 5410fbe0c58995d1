package gobgp

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	api "github.com/osrg/gobgp/v3/api"

	"github.com/vipilot/vipilot/routing"
)

// GoBGP keeps one import and one export policy for all peers. Both let only
// our own paths through: nothing is learned, nothing of others is passed on.
const ownPaths = "own"

func (s *Speaker) setPolicies(ctx context.Context) error {
	own := &api.Policy{Name: ownPaths, Statements: []*api.Statement{{
		Name:       ownPaths,
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ACCEPT},
	}}}
	if err := s.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: own}); err != nil {
		return fmt.Errorf("add policy: %w", err)
	}
	if err := s.assign(ctx, api.PolicyDirection_IMPORT); err != nil {
		return err
	}
	return s.assign(ctx, api.PolicyDirection_EXPORT)
}

// assign sets the policies of one direction: those named, then our own paths.
func (s *Speaker) assign(ctx context.Context, direction api.PolicyDirection, before ...string) error {
	var policies []*api.Policy
	for _, name := range append(before, ownPaths) {
		policies = append(policies, &api.Policy{Name: name})
	}
	err := s.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
		Name: "global", Direction: direction, Policies: policies, DefaultAction: api.RouteAction_REJECT,
	}})
	if err != nil {
		return fmt.Errorf("set policy: %w", err)
	}
	return nil
}

// export is what is done to paths on their way to one peer. GoBGP would fill in
// an IPv4 session's address in mapped form as the next hop of IPv6 prefixes,
// which routers refuse: nextHop6 replaces it.
type export struct {
	routing.Export
	peer     netip.Addr
	own      uint32 // our ASN
	nextHop6 netip.Addr
}

func (e export) empty() bool { return e.IsZero() && !e.nextHop6.IsValid() }

func (e export) same(other export) bool { return e.name() == other.name() }

// name holds everything, so a policy once defined never changes.
func (e export) name() string {
	return fmt.Sprintf("to %s via %s med %d prepend %d preference %d communities %v",
		e.peer, e.nextHop6, e.MED, e.Prepend, e.LocalPreference, e.Communities)
}

// setExports puts other policies before our own paths'. Sessions stay; peers
// whose policy changed get their paths once more.
func (s *Speaker) setExports(ctx context.Context, exports map[netip.Addr]export) error {
	var used []string
	for _, address := range slices.SortedFunc(maps.Keys(exports), netip.Addr.Compare) {
		if err := s.define(ctx, exports[address]); err != nil {
			return fmt.Errorf("set policy for %s: %w", address, err)
		}
		used = append(used, exports[address].name())
	}
	if err := s.assign(ctx, api.PolicyDirection_EXPORT, used...); err != nil {
		return err
	}
	old := s.have.exports
	s.have.exports = exports
	for address := range s.have.sessions {
		if old[address].same(exports[address]) {
			continue
		}
		err := s.server.ResetPeer(ctx, &api.ResetPeerRequest{
			Address: address.String(), Soft: true, Direction: api.ResetPeerRequest_OUT,
		})
		if err != nil {
			return fmt.Errorf("announce anew to %s: %w", address, err)
		}
	}
	return nil
}

// define makes the policy of e, unless it is there.
func (s *Speaker) define(ctx context.Context, e export) error {
	known := false
	err := s.server.ListPolicy(ctx, &api.ListPolicyRequest{Name: e.name()}, func(*api.Policy) { known = true })
	if err != nil || known {
		return err
	}
	err = s.server.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: &api.DefinedSet{
		DefinedType: api.DefinedType_NEIGHBOR, Name: e.name(),
		List: []string{netip.PrefixFrom(e.peer, e.peer.BitLen()).String()},
	}})
	if err != nil {
		return err
	}
	policy := &api.Policy{Name: e.name()}
	if e.nextHop6.IsValid() {
		statement := e.statement(" IPv6", family6)
		statement.Actions.Nexthop = &api.NexthopAction{Address: e.nextHop6.String()}
		policy.Statements = append(policy.Statements, statement)
	}
	if !e.IsZero() {
		policy.Statements = append(policy.Statements, e.statement(""))
	}
	return s.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: policy})
}

// statement accepts our own paths to the peer, with what is added to them.
func (e export) statement(suffix string, families ...*api.Family) *api.Statement {
	actions := &api.Actions{RouteAction: api.RouteAction_ACCEPT}
	if e.MED > 0 {
		actions.Med = &api.MedAction{Type: api.MedAction_MOD, Value: int64(e.MED)}
	}
	if e.Prepend > 0 {
		actions.AsPrepend = &api.AsPrependAction{Asn: e.own, Repeat: uint32(e.Prepend)}
	}
	if e.LocalPreference > 0 {
		actions.LocalPref = &api.LocalPrefAction{Value: e.LocalPreference}
	}
	var standard, large []string
	for _, text := range e.Communities {
		if c, err := routing.ParseCommunity(text); err == nil && c.Large {
			large = append(large, text)
		} else {
			standard = append(standard, text)
		}
	}
	if len(standard) > 0 {
		actions.Community = &api.CommunityAction{Type: api.CommunityAction_ADD, Communities: standard}
	}
	if len(large) > 0 {
		actions.LargeCommunity = &api.CommunityAction{Type: api.CommunityAction_ADD, Communities: large}
	}
	return &api.Statement{
		Name: e.name() + suffix,
		Conditions: &api.Conditions{
			RouteType:   api.Conditions_ROUTE_TYPE_LOCAL,
			NeighborSet: &api.MatchSet{Type: api.MatchSet_ANY, Name: e.name()},
			AfiSafiIn:   families,
		},
		Actions: actions,
	}
}
