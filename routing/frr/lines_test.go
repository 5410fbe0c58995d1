package frr

import (
	"slices"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/routing"
)

func linesOf(t *testing.T, c routing.Config) []directive {
	t.Helper()
	text, err := Render(c)
	if err != nil {
		t.Fatal(err)
	}
	return parse(text)
}

func show(list []directive) string {
	var lines []string
	for _, c := range list {
		lines = append(lines, strings.Join(append(slices.Clone(c.Context), c.Line), " > "))
	}
	return strings.Join(lines, "\n")
}

// TestEveryLineHasAnOwner: a line that no daemon gets would be lost.
func TestEveryLineHasAnOwner(t *testing.T) {
	for _, c := range linesOf(t, everything()) {
		if ownerOf(c) == "" && !c.isContainer() {
			t.Errorf("nobody gets %q", c.text())
		}
	}
}

func TestDiff(t *testing.T) {
	same := everything()
	for name, test := range map[string]struct {
		change func(*routing.Config)
		want   string
	}{
		"nothing": {func(*routing.Config) {}, ""},
		"a prefix goes": {func(c *routing.Config) { c.Prefixes = c.Prefixes[1:] }, `
router bgp 65010 > address-family ipv4 unicast > no network 203.0.113.10/32 route-map vipilot-bgp-3c32d166550db735
no ip prefix-list vipilot-bgp4 permit 203.0.113.10/32`},
		"an OSPF prefix goes": {func(c *routing.Config) { c.OSPF.Prefixes = c.OSPF.Prefixes[1:] }, `
no ip prefix-list vipilot-ospf4 permit 203.0.113.10/32`},
		"a password changes": {func(c *routing.Config) { c.Peers[1].Password = "other" }, `
router bgp 65010 > no neighbor 10.77.0.1`},
		"BFD gets slower": {func(c *routing.Config) { c.Peers[1].BFD.Multiplier = 9 }, `
bfd > profile vipilot-10.77.0.1 > detect-multiplier 9`},
		"BFD ends": {func(c *routing.Config) { c.Peers[1].BFD = routing.BFD{} }, `
router bgp 65010 > no neighbor 10.77.0.1 bfd profile vipilot-10.77.0.1
router bgp 65010 > no neighbor 10.77.0.1 bfd
bfd > no profile vipilot-10.77.0.1`},
		"another ASN": {func(c *routing.Config) { c.ASN, c.Peers = 65011, nil }, "no router bgp 65010\n"},
		"a peer goes": {func(c *routing.Config) { c.Peers = c.Peers[:2] }, `
router bgp 65010 > no neighbor 2001:db8:77::1`},
	} {
		next := everything()
		test.change(&next)
		got := show(diff(linesOf(t, same), linesOf(t, next)))
		if want := strings.TrimSpace(test.want); name == "a password changes" {
			if !strings.HasPrefix(got, want) || !strings.Contains(got, "neighbor 10.77.0.1 password other") || strings.Contains(got, "10.77.0.2 ") || strings.Contains(got, "network ") {
				t.Errorf("%s:\n%s", name, got)
			}
		} else if name == "another ASN" {
			if !strings.HasPrefix(got, want) || strings.Contains(got, "65010 >") || !strings.Contains(got, "router bgp 65011 > address-family ipv4 unicast > network 203.0.113.10/32") {
				t.Errorf("%s:\n%s", name, got)
			}
		} else if got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
		}
	}
}

// TestDiffAttributes: another attribute overwrites; nothing is withdrawn, no
// neighbor is touched.
func TestDiffAttributes(t *testing.T) {
	next := everything()
	med := uint32(9)
	next.Prefixes[0].MED, next.Peers[0].Export.MED = &med, 60
	got := show(diff(linesOf(t, everything()), linesOf(t, next)))
	if strings.Contains(got, "no network") || strings.Contains(got, "no neighbor") || !strings.Contains(got, "> network 203.0.113.10/32 route-map") ||
		!strings.Contains(got, "neighbor 10.77.0.2 route-map vipilot-to-") {
		t.Error(got)
	}
}

// TestDiffThereAndBack: from nothing everything is said, in order.
func TestDiffThereAndBack(t *testing.T) {
	all := linesOf(t, everything())
	if got := diff(nil, all); show(got) != show(all) {
		t.Errorf("from nothing:\n%s", show(got))
	}
	back := show(diff(all, nil))
	for _, want := range []string{"no neighbor 10.77.0.1", "no route-map vipilot-ospf4 permit 10", "> no network 203.0.113.10/32", "no ip ospf area 0.0.0.0 10.77.0.21"} {
		if !strings.Contains(back, want) {
			t.Errorf("to nothing, without %q:\n%s", want, back)
		}
	}
	if strings.Contains(back, "no router") || strings.Contains(back, "match ip") {
		t.Errorf("to nothing:\n%s", back)
	}
}
