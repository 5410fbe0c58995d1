package controller

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/vipilot/vipilot/routing/handover"
)

// TestPassOnForWhom: connections are passed on for a node that carries the VIP
// as well, to an address on the wire, by a node that stays.
func TestPassOnForWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := testLoop(t, newNode(t), load(t, anycasting))
		move := func(address, via string) handover.Request {
			return handover.Request{Moves: []handover.Move{{Address: netip.MustParseAddr(address), Via: netip.MustParseAddr(via)}}, Milliseconds: 1000}
		}
		lb2 := netip.MustParseAddr("10.77.0.22")
		if err := l.PassOn(lb2, move("203.0.113.10", "10.77.0.22")); err == nil {
			t.Error("taken without a configuration")
		}
		defer start(t, l)()
		synctest.Wait()
		for _, c := range []struct {
			from    string
			request handover.Request
			want    string
		}{
			{"10.77.0.99", move("203.0.113.10", "10.77.0.22"), "no other node's address"},
			{"10.77.0.21", move("203.0.113.10", "10.77.0.22"), "no other node's address"}, // itself
			{"10.77.0.22", move("198.18.0.1", "10.77.0.22"), "no address of a VIP"},
			{"10.77.0.22", move("203.0.113.10", "198.18.0.1"), "on no network"},
		} {
			if err := l.PassOn(netip.MustParseAddr(c.from), c.request); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("from %s, %+v: %v, want %s", c.from, c.request, err, c.want)
			}
		}
		offered(t, l, load(t, strings.Replace(anycasting, "lb1: {", "lb1: {state: drain, ", 1)))
		if err := l.PassOn(lb2, move("203.0.113.10", "10.77.0.22")); err == nil || !strings.Contains(err.Error(), "drained itself") {
			t.Errorf("while drained: %v", err)
		}
	})
}
