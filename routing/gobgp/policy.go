package gobgp

import (
	"context"
	"fmt"

	api "github.com/osrg/gobgp/v3/api"
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

// prepareNextHops gives each IPv4 session its IPv6 next hop. GoBGP would fill
// in the session's IPv4 address in mapped form, which routers refuse.
func (s *Speaker) prepareNextHops(ctx context.Context, added []session) error {
	for _, n := range added {
		if !n.nextHop6.IsValid() {
			continue
		}
		if err := s.addNextHop(ctx, n); err != nil {
			return fmt.Errorf("set IPv6 next hop for %s: %w", n.Address, err)
		}
	}
	var used []string
	for _, n := range append(sortedSessions(s.have.sessions), added...) {
		if n.nextHop6.IsValid() {
			used = append(used, nextHopPolicy(n))
		}
	}
	return s.assign(ctx, api.PolicyDirection_EXPORT, used...)
}

// addNextHop defines the policy of one session anew. A name holds the next
// hop, so a policy once defined never changes and needs no removal while used.
func (s *Speaker) addNextHop(ctx context.Context, n session) error {
	name := nextHopPolicy(n)
	known := false
	err := s.server.ListPolicy(ctx, &api.ListPolicyRequest{Name: name}, func(*api.Policy) { known = true })
	if err != nil || known {
		return err
	}
	peer := n.Address.String()
	err = s.server.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: &api.DefinedSet{
		DefinedType: api.DefinedType_NEIGHBOR, Name: name, List: []string{peer + "/32"},
	}})
	if err != nil {
		return err
	}
	return s.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: &api.Policy{Name: name, Statements: []*api.Statement{{
		Name: name,
		Conditions: &api.Conditions{
			RouteType:   api.Conditions_ROUTE_TYPE_LOCAL,
			NeighborSet: &api.MatchSet{Type: api.MatchSet_ANY, Name: name},
			AfiSafiIn:   []*api.Family{family6},
		},
		Actions: &api.Actions{
			RouteAction: api.RouteAction_ACCEPT,
			Nexthop:     &api.NexthopAction{Address: n.nextHop6.String()},
		},
	}}}})
}

func nextHopPolicy(n session) string {
	return fmt.Sprintf("next-hop %s via %s", n.Address, n.nextHop6)
}
