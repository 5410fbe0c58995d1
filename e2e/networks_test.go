package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// wired is one way in which Docker can wire a container, and what becomes of it.
type wired struct {
	name      string // of the container, its service and its site
	container lab.Container
	also      []string // networks it is connected to besides
	within    string   // the endpoint's address is in this prefix
	port      string   // … and has this port; "" = one that the engine chose
	reason    string   // or it is rejected
}

const (
	anyPort = ""
	app1    = "10.77.0.11/32"
	onLAN   = "10.77.0.128/28" // what macvlan containers get
	routed  = "10.77.65.0/24"
	sixes   = "2001:db8:66::/64"
	weave   = "10.77.68.0/24"
	managed = "10.77.69.0/24"

	weavePlugin = "weaveworks/net-plugin:latest_release" // what Weave's managed plugin calls itself
)

var wirings = []wired{
	{"bridge", lab.Container{Publish: 8080}, nil, app1, anyPort, ""},
	{"unpublished", lab.Container{}, nil, "", "", "port_not_published"},
	{"one-address", lab.Container{Publish: 8080, HostIP: "10.77.0.11"}, nil, app1, anyPort, ""},
	{"loopback", lab.Container{Publish: 8080, HostIP: "127.0.0.1"}, nil, "", "", "published_on_loopback"},
	{"own-bridge", lab.Container{Publish: 8080, Network: "plain"}, nil, app1, anyPort, ""},
	{"routed", lab.Container{Network: "routed"}, nil, routed, "8080", ""},
	{"host", lab.Container{Network: "host", Env: []string{"PORT=8081"}}, nil, app1, "8081", ""},
	{"none", lab.Container{Network: "none"}, nil, "", "", "network_none"},
	{"macvlan", lab.Container{Network: "wire"}, nil, onLAN, "8080", ""},
	{"hidden", lab.Container{Network: "hidden"}, nil, "", "", "network_not_direct"},
	{"two", lab.Container{Network: "plain"}, []string{"routed"}, routed, "8080", ""}, // direct before published
	{"both-direct", lab.Container{Network: "routed"}, []string{"wire"}, "", "", "ambiguous_network"},
	{"chosen", lab.Container{Network: "routed", Labels: map[string]string{"vipilot.network": "wire"}}, []string{"wire"}, onLAN, "8080", ""},
	{"dual", lab.Container{Network: "dual"}, nil, "10.77.66.0/24", "8080", ""},
	{"weave", lab.Container{Network: "weave"}, nil, weave, "8080", ""},
	{"weave-plugin", lab.Container{Network: "managed"}, nil, managed, "8080", ""},
	{"weave-and-bridge", lab.Container{Network: "plain"}, []string{"weave"}, weave, "8080", ""},
}

// services of every wiring, selected by a label.
func wiredServices() string {
	var b strings.Builder
	b.WriteString("networks: {routed: {direct: true}, dual: {direct: true}, hidden: {direct: false}}\nservices:\n")
	for _, w := range wirings {
		port := "8080"
		if w.name == "host" {
			port = "8081"
		}
		fmt.Fprintf(&b, "  %s: {vip: public, http: {hosts: [%s.example.net]}, backend: {containers: {labels: {net: %s}}, port: %s}}\n", w.name, w.name, w.name, port)
	}
	return b.String()
}

// network makes a Docker network on app1 for the length of the test.
func (f *fleet) network(n lab.Network) {
	f.t.Helper()
	f.must(f.App1.AddNetwork(f.ctx, n))
	f.t.Cleanup(func() {
		if err := f.App1.RemoveNetwork(context.WithoutCancel(f.ctx), n.Name); err != nil {
			f.t.Error(err)
		}
	})
}

// drivenNetwork makes a network on app1, on the wire and with a driver that is
// a plugin as Weave's are; the nodes reach it as one that has joined does.
func (f *fleet) drivenNetwork(n lab.Network) {
	f.t.Helper()
	remove, err := f.App1.AddNetworkDriver(n.Driver)
	f.must(err)
	f.t.Cleanup(remove)
	f.network(n)
	for _, node := range f.Nodes() {
		_, err := node.Run(f.ctx, "ip", "route", "add", n.Subnets[0], "dev", "eth0")
		f.must(err)
	}
}

// Every way in which an engine wires containers: either the client's request
// arrives at the right container, or the status says why it cannot.
func TestNetworks(t *testing.T) {
	f := start(t, wiredServices())
	f.network(lab.Network{Name: "plain"})
	f.network(lab.Network{Name: "routed", Subnets: []string{routed}})
	f.network(lab.Network{Name: "dual", Subnets: []string{"10.77.66.0/24", sixes}})
	f.network(lab.Network{Name: "wire", Driver: "macvlan", Subnets: []string{"10.77.0.0/24"}, Range: onLAN, Options: map[string]string{"parent": "eth0"}})
	f.spareLink(f.App1, "spare0")
	f.network(lab.Network{Name: "hidden", Driver: "macvlan", Subnets: []string{"10.77.67.0/24"}, Options: map[string]string{"parent": "spare0"}})
	f.route(f.App1, routed, "10.77.66.0/24")
	f.drivenNetwork(lab.Network{Name: "weave", Driver: "weave", Subnets: []string{weave}})
	f.drivenNetwork(lab.Network{Name: "managed", Driver: weavePlugin, Subnets: []string{managed}})
	ids := make(map[string]string)
	for _, w := range wirings {
		c := w.container
		c.Name, c.Labels = w.name, map[string]string{"net": w.name}
		for k, v := range w.container.Labels {
			c.Labels[k] = v
		}
		id, err := f.App1.Create(f.ctx, c)
		f.must(err)
		for _, n := range w.also {
			f.must(f.App1.Connect(f.ctx, n, id))
		}
		f.must(f.App1.Start(f.ctx, id))
		ids[w.name] = id[:12]
	}
	f.boot()
	f.awaitMaster(f.LB1)
	report := f.awaitStatus(f.LB1, "a verdict on every container", func(r status.Report) error {
		var errs []error
		for _, w := range wirings {
			errs = append(errs, w.check(r.Services[w.name]))
		}
		return errors.Join(errs...)
	})
	for _, w := range wirings {
		if w.reason == "" {
			var a answer
			f.await("a client's request for "+w.name, func() (err error) {
				a, err = f.get(lab.VIP, w.name+".example.net", "/")
				return err
			})
			if w.name != "host" && a.Container != ids[w.name] {
				t.Errorf("%s: a client's request arrives at %q, want %q (endpoints %+v)", w.name, a.Container, ids[w.name], report.Services[w.name].Endpoints)
			}
			continue
		}
		if _, err := f.get(lab.VIP, w.name+".example.net", "/"); err == nil {
			t.Errorf("%s: a request arrives, want none because %s", w.name, w.reason)
		}
		if a := f.ask(f.LB1, "app1/"+w.name); !strings.HasPrefix(a.Reason, w.reason+": ") || a.Next == "" {
			t.Errorf("%s: explained by %q → %q, want %s", w.name, a.Reason, a.Next, w.reason)
		}
	}
}

// check compares what the status says of a wiring with what is wanted.
func (w wired) check(s status.Service) error {
	switch {
	case w.reason != "":
		if len(s.Rejected) != 1 || s.Rejected[0].Reason != w.reason || len(s.Endpoints) > 0 {
			return fmt.Errorf("%s: rejected %+v, endpoints %+v, want %s", w.name, s.Rejected, s.Endpoints, w.reason)
		}
		return nil
	case len(s.Endpoints) != 1 || s.Endpoints[0].State != "ready":
		return fmt.Errorf("%s: endpoints %+v, rejected %+v", w.name, s.Endpoints, s.Rejected)
	}
	at, err := netip.ParseAddrPort(s.Endpoints[0].Address)
	if err != nil || !netip.MustParsePrefix(w.within).Contains(at.Addr()) || w.port != anyPort && !strings.HasSuffix(s.Endpoints[0].Address, ":"+w.port) {
		return fmt.Errorf("%s: is reached at %s, want within %s, port %q", w.name, s.Endpoints[0].Address, w.within, w.port)
	}
	return nil
}

// spareLink gives a host an interface that leads nowhere, for the length of the
// test.
func (f *fleet) spareLink(app *lab.App, name string) {
	f.t.Helper()
	_, err := app.Run(f.ctx, "ip", "link", "add", name, "up", "type", "bridge")
	f.must(err)
	f.t.Cleanup(func() {
		if _, err := app.Run(context.WithoutCancel(f.ctx), "ip", "link", "del", name); err != nil {
			f.t.Error(err)
		}
	})
}

// route has the nodes send bridges of an application host there, and the host
// let them in, as a routed bridge needs.
func (f *fleet) route(app *lab.App, subnets ...string) {
	f.t.Helper()
	for _, subnet := range subnets {
		for _, n := range f.Nodes() {
			_, err := n.Run(f.ctx, "ip", "route", "add", subnet, "via", app.Address)
			f.must(err)
		}
		rule := []string{"DOCKER-USER", "-d", subnet, "-j", "ACCEPT"}
		_, err := app.Run(f.ctx, "iptables", append([]string{"-w", "-I"}, rule...)...)
		f.must(err)
		f.t.Cleanup(func() {
			if _, err := app.Run(context.WithoutCancel(f.ctx), "iptables", append([]string{"-w", "-D"}, rule...)...); err != nil {
				f.t.Error(err)
			}
		})
	}
}

// Nothing but IPv6 from the client to the application's host, for published
// ports and for a container whose network is its host's.
func TestOnlyIPv6(t *testing.T) {
	f := start(t, `services:
  published: {vip: six, http: {hosts: [published.example.net]}, backend: {containers: {labels: {net: published}}, port: 8080}}
  host: {vip: six, http: {hosts: [host.example.net]}, backend: {containers: {labels: {net: host}}, port: 8082}}
`)
	fleet := f.FleetConfig()
	fleet["fleet.yaml"] = strings.NewReplacer(
		"docker: tcp://10.77.0.11:2376\n", "docker: tcp://10.77.0.11:2376\n    address: \"2001:db8:77::11\"\n",
		"  public:\n    addresses: [203.0.113.10]\n", "  six:\n    addresses: [\"2001:db8::10\"]\n",
	).Replace(fleet["fleet.yaml"])
	fleet["fleet.yaml"] = strings.Replace(fleet["fleet.yaml"], "    announce: {protocols: [bgp], when: serving}\n", "", 1)
	f.must(f.UpdateConfig(fleet))
	f.launch(f.App1, lab.Container{Name: "published", Labels: map[string]string{"net": "published"}, Publish: 8080})
	f.launch(f.App1, lab.Container{Name: "host", Labels: map[string]string{"net": "host"}, Network: "host", Env: []string{"PORT=8082"}})
	f.boot()
	_, err := f.Router.Run(f.ctx, "ip", "-6", "route", "replace", lab.VIP6+"/128", "dev", "eth0")
	f.must(err)
	t.Cleanup(func() { // who announces it by BGP must not profit from it
		if _, err := f.Router.Run(context.WithoutCancel(f.ctx), "ip", "-6", "route", "del", lab.VIP6+"/128", "dev", "eth0"); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"published", "host"} {
		f.await("an answer over IPv6: "+name, func() error {
			_, err := f.get("["+lab.VIP6+"]", name+".example.net", "/")
			return err
		})
	}
	f.awaitStatus(f.LB1, "IPv6 endpoints", func(r status.Report) error {
		for name, s := range r.Services {
			if len(s.Endpoints) != 1 || !strings.HasPrefix(s.Endpoints[0].Address, "[2001:db8:77::11]:") {
				return fmt.Errorf("%s: %+v", name, s)
			}
		}
		return nil
	})
}
