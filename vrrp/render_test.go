package vrrp

import (
	"maps"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/internal/golden"
)

const testRunDir = "/run/vipilot/keepalived"

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, t := range texts {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

// public is the instance most tests start from.
func public() Instance {
	return Instance{
		Name: "public", VRID: 51, Interface: "eth0", Priority: 150,
		AdvertInterval: 200 * time.Millisecond, Preempt: true,
		Source:    netip.MustParseAddr("10.77.90.1"),
		Addresses: addrs("203.0.113.10", "2001:db8::10"),
	}
}

// with gives a public that is different.
func with(change func(*Instance)) Instance {
	i := public()
	change(&i)
	return i
}

func intra() Instance {
	return with(func(i *Instance) {
		i.Name, i.VRID, i.Addresses = "intra", 52, addrs("10.77.90.101")
	})
}

// goodConfigs are rendered, compared with testdata, and given to keepalived.
func goodConfigs() map[string]Config {
	good := map[string]Config{
		"none":  {Node: "lb1", TrackFile: "/run/vipilot/track"},
		"plain": {Node: "lb1.example.net", Instances: []Instance{public()}, TrackFile: "/run/vipilot/track", LifeFile: "/run/vipilot/sentinel.lock"},
		"announced": {Node: "lb1", TrackFile: "/run/vipilot/track", SpeakerFile: "/run/vipilot/speaker", Instances: []Instance{
			with(func(i *Instance) { i.Announced = true }),
			with(func(i *Instance) {
				i.Announced, i.Preempt = true, false
				i.Name, i.VRID, i.Addresses = "stays", 53, addrs("203.0.113.13")
			}),
			intra(),
		}},
		"two": {Node: "lb1", Instances: []Instance{public(), intra()}},
		"options": {Node: "lb1", TrackFile: "/run/vipilot/track", Instances: []Instance{
			with(func(i *Instance) { i.Preempt, i.AdvertInterval = false, 10*time.Millisecond }),
			with(func(i *Instance) {
				i.Name, i.VRID, i.PreemptDelay, i.AdvertInterval = "slow", 255, 5*time.Second, maxAdvert
				i.Addresses = addrs("203.0.113.11")
			}),
		}},
		"garp": {Node: "lb1", Instances: []Instance{
			public(),
			with(func(i *Instance) {
				i.Name, i.VRID, i.Addresses = "told", 54, addrs("203.0.113.14")
				i.GARP = GARP{Repeat: 3, Interval: 1500 * time.Microsecond}
			}),
			with(func(i *Instance) {
				i.Name, i.VRID, i.Addresses = "told-often", 55, addrs("203.0.113.15")
				i.GARP = GARP{Delay: 2 * time.Second, Repeat: 5, Refresh: 10 * time.Second, Interval: time.Millisecond}
			}),
		}},
		"unicast": {Node: "lb1", Instances: []Instance{
			with(func(i *Instance) { i.UnicastPeers = addrs("10.77.90.3", "10.77.90.2") }),
		}},
		"unicast6": {Node: "lb1", Instances: []Instance{with(func(i *Instance) {
			i.Source, i.UnicastPeers = netip.MustParseAddr("2001:db8:90::1"), addrs("2001:db8:90::2")
		})}},
		"multicast6": {Node: "lb1", Instances: []Instance{
			with(func(i *Instance) { i.Source = netip.MustParseAddr("2001:db8:90::1") }),
		}},
		"password": {Node: "lb1", Instances: []Instance{
			with(func(i *Instance) { i.Password, i.AdvertInterval = "a;/=+:.,", time.Second }),
			with(func(i *Instance) {
				i.Name, i.VRID, i.Password, i.AdvertInterval = "other", 52, "%^&*()?<", time.Second
				i.Addresses = addrs("203.0.113.11")
			}),
		}},
	}
	maps.Copy(good, virtualConfigs())
	return good
}

func TestRender(t *testing.T) {
	for name, want := range goodConfigs() {
		t.Run(name, func(t *testing.T) {
			got, err := Render(want, testRunDir)
			if err != nil {
				t.Fatal(err)
			}
			golden.Equal(t, filepath.Join("testdata", name+".conf"), got)
		})
	}
}

// The advertised part must not depend on the addresses, or two revisions of
// the configuration make two masters.
func TestAnchorIsConstant(t *testing.T) {
	one, other := public(), public()
	other.Addresses = addrs("203.0.113.77")
	if one.text().Anchor != other.text().Anchor {
		t.Errorf("anchors %q and %q differ", one.text().Anchor, other.text().Anchor)
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		instance Instance
		want     string
	}{
		"name with quote":     {with(func(i *Instance) { i.Name = `a" {` }), "not a name"},
		"name with new line":  {with(func(i *Instance) { i.Name = "a\nb" }), "not a name"},
		"name with variable":  {with(func(i *Instance) { i.Name = "$HOME" }), "not a name"},
		"hostile interface":   {with(func(i *Instance) { i.Interface = "eth0\n    priority 254" }), "not the name of a network interface"},
		"long interface":      {with(func(i *Instance) { i.Interface = "abcdefghijklmnop" }), "not the name of a network interface"},
		"VRID":                {with(func(i *Instance) { i.VRID = 0 }), "VRID 0"},
		"owner priority":      {with(func(i *Instance) { i.Priority = 255 }), "priority 255"},
		"no address":          {with(func(i *Instance) { i.Addresses = nil }), "no address"},
		"address with zone":   {with(func(i *Instance) { i.Addresses = addrs("fe80::1%eth0") }), "not an address a node can hold"},
		"loopback":            {with(func(i *Instance) { i.Addresses = addrs("127.0.0.1") }), "not an address a node can hold"},
		"advert too slow":     {with(func(i *Instance) { i.AdvertInterval = 41 * time.Second }), "advert_interval 41s"},
		"advert not in steps": {with(func(i *Instance) { i.AdvertInterval = 15 * time.Millisecond }), "advert_interval 15ms"},
		"preempt delay":       {with(func(i *Instance) { i.PreemptDelay = time.Hour }), "preempt_delay 1h0m0s"},
		"garp delay":          {with(func(i *Instance) { i.GARP = GARP{Delay: time.Millisecond, Repeat: 1} }), "garp delay 1ms"},
		"garp refresh":        {with(func(i *Instance) { i.GARP = GARP{Refresh: 25 * time.Hour, Repeat: 1} }), "garp refresh 25h"},
		"garp repeat":         {with(func(i *Instance) { i.GARP = GARP{Delay: time.Second} }), "garp repeat 0"},
		"garp interval":       {with(func(i *Instance) { i.GARP = GARP{Repeat: 1, Interval: time.Minute} }), "garp interval 1m"},
		"own peer":            {with(func(i *Instance) { i.UnicastPeers = addrs("10.77.90.1") }), "is this node itself"},
		"peer family":         {with(func(i *Instance) { i.UnicastPeers = addrs("2001:db8::2") }), "same family"},
		"unicast from where":  {with(func(i *Instance) { i.UnicastPeers, i.Source = addrs("10.77.90.2"), netip.Addr{} }), "needs the address"},
		"long password":       {with(func(i *Instance) { i.Password, i.AdvertInterval = "hunter2hunter2", time.Second }), "1 to 8 characters"},
		"hostile password":    {with(func(i *Instance) { i.Password, i.AdvertInterval = "hunter2\"", time.Second }), "1 to 8 characters"},
		"fast password":       {with(func(i *Instance) { i.Password = "hunter2" }), "set advert_interval to 1s"},
		"password over IPv6": {with(func(i *Instance) {
			i.Password, i.AdvertInterval, i.Source = "hunter2", time.Second, netip.MustParseAddr("2001:db8::1")
		}), "none over IPv6"},
		"VRID twice":    {with(func(i *Instance) { i.Name, i.Addresses = "x", addrs("203.0.113.9") }), `VRID 51 is also that of "public"`},
		"address twice": {with(func(i *Instance) { i.Name, i.VRID = "x", 9 }), `address 203.0.113.10 is also in "public"`},
		"name twice":    {with(func(i *Instance) { i.VRID, i.Addresses = 9, addrs("203.0.113.9") }), "declared twice"},
	} {
		t.Run(name, func(t *testing.T) {
			instances := []Instance{c.instance}
			if strings.HasSuffix(name, "twice") {
				instances = []Instance{public(), c.instance}
			}
			_, err := Render(Config{Node: "lb1", Instances: instances}, testRunDir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Render = %v, want %q in it", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
	for name, c := range map[string]Config{
		"node":       {Node: "lb1 {"},
		"track file": {Node: "lb1", TrackFile: `/run/"x`},
		"life file":  {Node: "lb1", LifeFile: "/run/x y"},
		"relative":   {Node: "lb1", TrackFile: `run/x`},
	} {
		if _, err := Render(c, testRunDir); err == nil {
			t.Errorf("%s: rendered", name)
		}
	}
	if _, err := Render(Config{Node: "lb1"}, "/run/a b"); err == nil {
		t.Error("rendered for a run directory with a space")
	}
}
