package frr

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/vipilot/vipilot/routing"
)

// FuzzAnswers gives any text for what FRR's daemons say of their peers.
func FuzzAnswers(f *testing.F) {
	f.Add(`{"10.77.0.1":{"bgpState":"Established","connectionsEstablished":1,"addressFamilyInfo":{"ipv4Unicast":{"sentPrefixCounter":2}}}}`)
	f.Add(`{"10.77.0.1":{"bgpState":"Idle","lastResetDueTo":"BFD down received","lastNotificationReason":"OPEN Message Error/Bad Peer AS"},"x":null}`)
	f.Add(`{"10.77.0.1":null}`)
	s := &Speaker{want: routing.Config{Peers: []routing.Peer{{Name: "edge", Address: netip.MustParseAddr("10.77.0.1"), BFD: routing.BFD{Interval: 1}}}}}
	f.Fuzz(func(t *testing.T, text string) {
		var peers map[string]bgpPeer
		if json.Unmarshal([]byte(text), &peers) != nil {
			return
		}
		edge, ok := s.peerStates(peers, nil)["edge"]
		if !ok || edge.State != "established" && (edge.PrefixesAnnounced != 0 || edge.Error == "") {
			t.Errorf("edge is %+v", edge)
		}
	})
}
