package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/vipilot/vipilot/e2e/lab"
)

// path is how the router was told of a prefix by one peer.
type path struct {
	MED int
	AS  string
}

// paths are those in the router's BGP table, by peer.
func (f *fleet) paths(prefix string) (map[string]path, error) {
	out, err := f.Router.Run(f.ctx, "vtysh", "-d", "bgpd", "-c", "show bgp ipv4 unicast "+prefix+" json")
	if err != nil {
		return nil, err
	}
	var table struct {
		Paths []struct {
			AS   struct{ String string } `json:"aspath"`
			MED  int                     `json:"metric"`
			Peer struct {
				ID string `json:"peerId"`
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &table); err != nil {
		return nil, fmt.Errorf("read the router's paths: %w", err)
	}
	found := make(map[string]path)
	for _, p := range table.Paths {
		found[p.Peer.ID] = path{p.MED, p.AS.String}
	}
	return found, nil
}

// awaitPaths waits until the router was told exactly this.
func (f *fleet) awaitPaths(what, prefix string, want map[string]path) {
	f.t.Helper()
	f.await(what, func() error {
		got, err := f.paths(prefix)
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("the router has the paths %v, want %v", got, want)
		}
		return err
	})
}

// A VRRP backup stands by in the router's table with a MED or a longer AS path,
// and an anycast VIP with last: keep has a route although nobody serves it.
func TestStandbyAndLastPath(t *testing.T) {
	const kept = `  kept:
    vip: any
    http: {hosts: [kept.example.net], port: 80}
    backend: {containers: {labels: {app: kept}}, port: 8080}
`
	f := start(t, todoService+kept)
	declare := func(backup, last string) {
		f.redeclare(todoService+kept, "when: serving", "when: serving, backup: "+backup,
			"vips:\n", "vips:\n  any: {addresses: [203.0.113.53], ha: anycast, announce: {protocols: [bgp], last: "+last+"}}\n")
	}
	f.todo(f.App1, "web-1")
	for i, step := range []struct {
		backup, last string
		standby      path
	}{
		{"med", "keep", path{100, "65010"}},
		{"prepend", "withdraw", path{0, "65010 65010 65010 65010"}},
	} {
		declare(step.backup, step.last)
		if i == 0 {
			f.boot()
		}
		f.awaitPaths("backup: "+step.backup, lab.VIP+"/32", map[string]path{f.LB1.Address: {0, "65010"}, f.LB2.Address: step.standby})
		f.awaitMaster(f.LB1)
		hops := []string{f.LB1.Address, f.LB2.Address}
		if step.last == "withdraw" {
			hops = nil
		}
		f.await("last: "+step.last, func() error { return f.routed("203.0.113.53/32", hops...) })
	}
	report := f.ready(f.LB1)
	f.LB1.KillController()
	f.must(f.LB1.Signal(f.ctx, "KILL", report.Components.HAProxy.PID))
	t.Logf("HAProxy of the master killed, its controller dead: the standby path is used after %s", f.awaitMaster(f.LB2))
	f.awaitPaths("the holder's path", lab.VIP+"/32", map[string]path{f.LB2.Address: {0, "65010"}})
}
