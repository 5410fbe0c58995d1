package sentinel

import (
	"encoding/json"
	"syscall"
	"testing"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// told is the one path that the router has to the VIP: its MED and its AS path.
func (b *bench) told() (med int, path string) {
	var table struct {
		Paths []struct {
			AS  struct{ String string } `json:"aspath"`
			MED int                     `json:"metric"`
		}
	}
	_ = json.Unmarshal([]byte(b.Ask("show bgp ipv4 unicast "+vip+"/32 json")), &table)
	if len(table.Paths) != 1 {
		return -1, ""
	}
	return table.Paths[0].MED, table.Paths[0].AS.String
}

// TestE2EStandby: a node that does not hold the address stands by in the
// router's table, as long as its HAProxy lives; who holds it is preferred.
func TestE2EStandby(t *testing.T) {
	b := newBench(t)
	if b == nil {
		return
	}
	want := b.want()
	holder, standby := uint32(0), uint32(100)
	declare := func(med *uint32, by routing.Standby) {
		t.Helper()
		want.Routing.Prefixes[1].MED, want.Routing.Prefixes[1].Standby = med, &by
		b.set(want)
	}
	is := func(what string, med int, path string) {
		t.Helper()
		took := b.Eventually(what, func() bool { m, p := b.told(); return m == med && p == path })
		t.Logf("%s after %s", what, took)
	}
	declare(&holder, routing.Standby{MED: &standby})
	is("a backup by MED", 100, "65010")
	routingtest.Run(t, "ip addr add "+vip+"/32 dev eth0")
	is("the master by MED", 0, "65010")
	declare(nil, routing.Standby{Prepend: 3})
	is("the master by AS path", 0, "65010")
	routingtest.Run(t, "ip addr del "+vip+"/32 dev eth0")
	is("a backup by AS path", 0, "65010 65010 65010 65010")
	routingtest.Kill(t, b.gate.PID, syscall.SIGKILL)
	is("HAProxy dead, no path", -1, "")
}
