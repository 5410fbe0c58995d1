package cli

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/config"
)

// TestImportRoutes: routes that say no, that look at the beginning of a host or
// the end of a path, and pages for operators. What has a key is carried over,
// and each of the others is named with its line and what to do.
func TestImportRoutes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "fleet")
	code, _, said := runImport(t, "haproxy", "--haproxy", "../importer/testdata/routes.cfg", "--node", "lb1=10.77.0.21", "-o", dir)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, said)
	}
	cfg, err := config.Load(config.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, s := range cfg.Services {
		got[s.Name] = fmt.Sprint(s.HTTP.Hosts, s.HTTP.Paths, s.HTTP.Deny)
	}
	want := map[string]string{
		"api":    "[a.example.net] [/api] []",
		"app":    "[a.example.net] [/] []", // less /api, which goes to api
		"lan":    "[b.example.net] [/] [10.0.0.0/8 192.168.0.0/16]",
		"shop":   "[shop.example.net] [/] []",
		"guests": "[] [/] [10.0.0.0/8 192.168.0.0/16]",
	}
	if !maps.Equal(got, want) {
		t.Errorf("services %v, want %v", got, want)
	}
	var vips []string
	for _, v := range cfg.VIPs {
		vips = append(vips, fmt.Sprint(v.Addresses))
	}
	if !slices.Equal(vips, []string{"[203.0.113.10]"}) {
		t.Errorf("addresses that only operators were served at became VIPs: %v", vips)
	}
	for _, line := range []string{
		"18: stats uri /haproxy: vipilot has a page of its own on --listen; requests for this path go where the other rules send them",
		"19: stats auth admin:***: vipilot has a page",
		"20: http-request use-service prometheus-exporter if { path /metrics }: vipilot has metrics of its own, at /metrics of --listen",
		"23: use_backend files if static: looks at the path by end, and a route of vipilot at how it begins (http.paths)",
		"25: use_backend app if c !{ path_beg /admin }: says no, and a route cannot: give what it leaves out a service with a longer path",
		"26: use_backend files if www: takes every host that begins so: name the hosts",
		"27: use_backend shop if shop: taken as the name shop.example.net",
		"29: use_backend guests unless a b: says unless of more than one condition",
		"30: use_backend guests if { hdr_reg(host) ^old }: looks at host names by reg: name the hosts",
		"32: listen stats: is for operators alone; vipilot has a page at / and metrics at /metrics",
		"38: frontend metrics: is for operators alone",
	} {
		if !strings.Contains(said, "routes.cfg:"+line) {
			t.Errorf("not said: %s", line)
		}
	}
	if left := strings.Count(said, "routes.cfg:"); left != 11 || strings.Contains(said, "…") || strings.Contains(said, "topsecret") {
		t.Errorf("%d things left, want 11, none of them cut off and no password:\n%s", left, said)
	}
}
