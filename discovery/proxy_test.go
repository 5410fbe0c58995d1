package discovery

import (
	"net/netip"
	"testing"
)

var tier = netip.MustParseAddrPort("10.77.0.11:7080")

// The host's proxy is the last way, for what publishes nothing.
func TestThroughProxy(t *testing.T) {
	web, db := on("web", "bridge", "172.18.0.2"), on("db", "bridge", "172.19.0.2")
	lan, mesh := on("lan", "macvlan", "10.77.9.2"), on("mesh", "overlay", "10.0.1.2")
	for _, tc := range []struct {
		name    string
		change  []change
		address string
		via     bool
		reason  Reason
	}{
		{"a bridge", []change{networks(web)}, "172.18.0.2:8080", true, ""},
		{"IPv6 only", []change{networks(on("web", "bridge", "2001:db8::2"))}, "[2001:db8::2]:8080", true, ""},
		{"published", []change{networks(web), publish(row("0.0.0.0", 32768))}, "10.77.0.11:32768", false, ""},
		{"published on loopback stays private", []change{networks(web), publish(row("127.0.0.1", 8080))}, "", false, PublishedOnLoopback},
		{"another port is published", []change{networks(web), port(9090), publish(row("0.0.0.0", 32768))}, "172.18.0.2:9090", true, ""},
		{"direct comes first", []change{networks(web, lan)}, "10.77.9.2:8080", false, ""},
		{"this node's own engine", []change{networks(web), local}, "172.18.0.2:8080", false, ""},
		{"two bridges", []change{networks(web, db)}, "", false, AmbiguousNetwork},
		{"two bridges and a label", []change{networks(web, db), label("vipilot.network", "db")}, "172.19.0.2:8080", true, ""},
		{"two bridges and the service's network", []change{networks(web, db), network("web")}, "172.18.0.2:8080", true, ""},
		{"a network it is not on", []change{networks(web), network("db")}, "", false, NetworkNotDirect},
		{"an overlay beside the bridge", []change{networks(mesh, web)}, "172.18.0.2:8080", true, ""},
		{"an overlay alone", []change{networks(mesh)}, "", false, NetworkNotDirect},
		{"host network", []change{hostMode}, "10.77.0.11:8080", false, ""},
		{"no network", []change{noNetwork}, "", false, NetworkNone},
		{"no port", []change{networks(web), expose()}, "", false, AmbiguousPort},
		{"no address yet", []change{networks(on("web", "bridge", ""))}, "", false, PortNotPublished},
		{"drained", []change{networks(web), drained}, "172.18.0.2:8080", true, ""},
		{"disabled", []change{networks(web), label("vipilot.enable", "false")}, "", false, DisabledByLabel},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Container{ID: "1", Name: "web-1", State: Running, Exposed: []uint16{8080}, Labels: map[string]string{}}
			want := Want{Host: "app1", HostAddress: ip("10.77.0.11"), Direct: map[string]bool{}, Proxy: tier}
			for _, do := range tc.change {
				do(&c, &want)
			}
			endpoint, refusal := Resolve(c, want)
			var reason Reason
			address := ""
			if refusal != nil {
				reason = refusal.Reason
			} else {
				address = endpoint.Address.String()
			}
			if reason != tc.reason || address != tc.address || endpoint.Via.IsValid() != tc.via {
				t.Errorf("got %q %q via %v, want %q %q via %v", reason, address, endpoint.Via, tc.reason, tc.address, tc.via)
			}
			used := 0
			for _, one := range Candidates(c, want) {
				if one.Used {
					used++
				}
			}
			if wanted := min(1, len(tc.address)); refusal == nil && used != wanted {
				t.Errorf("%d candidates in use, want %d", used, wanted)
			}
		})
	}
}
