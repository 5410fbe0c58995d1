package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
)

const review = `version: 1
nodes: {lb1: {address: 10.77.0.21, interface: eth0}}
hosts: {app1: {docker: "tcp://10.77.0.11:2375"}}
vips: {public: {addresses: [203.0.113.10], announce: {protocols: [bgp]}}}
routing: {bgp: {asn: 65010, peers: {edge: {address: 10.77.0.1, asn: 65000}}}}
services:
  review:
    vip: public
    http: {hosts: ["*.preview.example.net", "*.pr.test"], host_label: preview}
    backend: {containers: {labels: {app: shop}}, port: 8080}
  fixed: {vip: public, http: {hosts: [main.preview.example.net]}}
`

// app is a running container of the review app with this value of its label.
func app(n int, value string) discovery.Container {
	c := web(n, "app", "shop")
	c.Labels["preview"] = value
	return c
}

func reviewed(t testing.TB, containers ...discovery.Container) Input {
	return Input{Node: "lb1", Config: load(t, review), Answered: make(map[string]*Answers),
		Hosts: map[string]discovery.Snapshot{"app1": snapshot("app1", containers...)}}
}

func routesOf(f haproxy.Frontend) string {
	var all []string
	for _, r := range f.Routes {
		all = append(all, r.Host+">"+r.Backend)
	}
	return strings.Join(all, " ")
}

func TestEveryValueOfTheLabelHasServersOfItsOwn(t *testing.T) {
	in := reviewed(t, app(1, "pr-12"), app(2, "pr-12"), app(3, "PR-7"))
	d := answerAll(t, &in)
	if got, want := routesOf(frontend(t, d, "public_80")), "main.preview.example.net>fixed pr-12.preview.example.net>review:pr-12 pr-7.preview.example.net>review:pr-7 pr-12.pr.test>review:pr-12 pr-7.pr.test>review:pr-7"; got != want {
		t.Errorf("routes %s\nwant   %s", got, want)
	}
	for name, want := range map[string]int{"review": 0, "review:pr-12": 2, "review:pr-7": 1} {
		if got := len(backend(t, d, name).Servers); got != want {
			t.Errorf("%s has %d servers, want %d", name, got, want)
		}
	}
	if _, err := haproxy.Render(d.HAProxy, haproxy.Paths{Dir: "/run/x"}); err != nil {
		t.Error(err)
	}
	if len(prefixes(d)) == 0 {
		t.Errorf("a VIP with review apps is silent: %v", d.Silent)
	}
}

func TestWhatAContainerMayNotBeCalled(t *testing.T) {
	for value, want := range map[string]string{
		"":          "is not one part of a host name",
		"a.b":       "is not one part of a host name",
		"-a":        "is not one part of a host name",
		"a b":       "is not one part of a host name",
		"a\nbind":   "is not one part of a host name",
		"*":         "is not one part of a host name",
		"main":      "is declared for service fixed",
		"Main":      "is declared for service fixed",
		"ok-1":      "",
		"none":      "is missing",
		"x" + "_y":  "is not one part of a host name",
		"xn--bcher": "",
	} {
		c := app(1, value)
		if value == "none" {
			delete(c.Labels, "preview")
		}
		d := desire(t, reviewed(t, c))
		rejected := d.Pools["review"].Rejected
		switch {
		case want == "" && len(rejected) == 0 && len(d.Pools["review"].Branches) == 1:
		case want != "" && len(rejected) == 1 && rejected[0].Reason == discovery.InvalidLabel && strings.Contains(rejected[0].Detail, want) && len(d.Pools["review"].Branches) == 0:
		default:
			t.Errorf("%q: rejected %+v, want %q", value, rejected, want)
		}
	}
}

// A branch lives as long as a container with its value exists: one that stops
// and starts reloads nothing, one that is removed takes it along.
func TestABranchThatFlapsReloadsNothing(t *testing.T) {
	in := reviewed(t, app(1, "pr-1"), app(2, "pr-2"))
	plan := new(planner)
	step := func(containers ...discovery.Container) Desired {
		in.Hosts = map[string]discovery.Snapshot{"app1": snapshot("app1", containers...)}
		d, err := plan.desire(in)
		if err != nil {
			t.Fatal(err)
		}
		if pure := desire(t, in); fmt.Sprint(len(pure.HAProxy.Backends), routesOf(frontend(t, pure, "public_80"))) != fmt.Sprint(len(d.HAProxy.Backends), routesOf(frontend(t, d, "public_80"))) {
			t.Error("with a memory the decision is another one")
		}
		return d
	}
	first := step(app(1, "pr-1"), app(2, "pr-2"))
	stopped := app(1, "pr-1")
	stopped.State = discovery.Stopped
	for what, want := range map[string]struct {
		d    Desired
		kind haproxy.ChangeKind
	}{
		"stopped": {step(stopped, app(2, "pr-2")), haproxy.None},
		"another": {step(app(3, "pr-1"), app(2, "pr-2")), haproxy.None},
		"removed": {step(app(2, "pr-2")), haproxy.Reload},
		"new":     {step(app(1, "pr-1"), app(2, "pr-2"), app(4, "pr-4")), haproxy.Reload},
	} {
		if kind, causes := haproxy.Compare(first.HAProxy, want.d.HAProxy); kind != want.kind {
			t.Errorf("%s: %s %v, want %s", what, kind, causes, want.kind)
		}
	}
}
