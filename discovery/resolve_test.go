package discovery

import (
	"net/netip"
	"strings"
	"testing"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func on(name, driver, address string) Attachment {
	a := Attachment{Name: name, Driver: driver}
	switch addr, err := netip.ParseAddr(address); {
	case err != nil:
	case addr.Is4():
		a.IPv4, a.Subnet = addr, netip.PrefixFrom(addr, 16).Masked()
	default:
		a.IPv6 = addr
	}
	return a
}

// change is one step away from the container or the wish of the base case.
type change func(*Container, *Want)

func label(k, v string) change { return func(c *Container, _ *Want) { c.Labels[k] = v } }
func state(s State) change     { return func(c *Container, _ *Want) { c.State = s } }
func health(h Health) change   { return func(c *Container, _ *Want) { c.Health = h } }
func local(_ *Container, w *Want) {
	w.Local, w.HostAddress = true, netip.Addr{}
}
func networks(a ...Attachment) change { return func(c *Container, _ *Want) { c.Networks = a } }
func direct(name string, yes bool) change {
	return func(_ *Container, w *Want) { w.Direct[name] = yes }
}
func publish(rows ...Published) change { return func(c *Container, _ *Want) { c.Published = rows } }
func row(host string, port uint16) Published {
	p := Published{Port: 8080, HostPort: port}
	if host != "" {
		p.HostIP = ip(host)
	}
	return p
}
func expose(ports ...uint16) change       { return func(c *Container, _ *Want) { c.Exposed = ports } }
func port(p uint16) change                { return func(_ *Container, w *Want) { w.Port = p } }
func network(n string) change             { return func(_ *Container, w *Want) { w.Network = n } }
func hostMode(c *Container, _ *Want)      { c.HostMode, c.Networks = true, nil }
func noNetwork(c *Container, _ *Want)     { c.NoNetwork, c.Networks = true, nil }
func drained(_ *Container, w *Want)       { w.HostDrained = true }
func noHostAddress(_ *Container, w *Want) { w.HostAddress = netip.Addr{} }

func TestResolve(t *testing.T) {
	web := on("web", "bridge", "172.18.0.2")
	db := on("db", "bridge", "172.19.0.2")
	lan := on("lan", "macvlan", "10.77.9.2")
	mesh := on("mesh", "overlay", "10.0.1.2")
	const a, l = "vipilot.", "127.0.0.1"
	for _, tc := range []struct {
		name   string
		change []change
		want   string // address, or reason and words of the detail
	}{
		{"published everywhere", []change{publish(row("0.0.0.0", 32768), row("::", 32768))}, "10.77.0.11:32768"},
		{"published on ::", []change{publish(row("::", 32769))}, "10.77.0.11:32769"},
		{"published without host ip", []change{publish(row("", 32770))}, "10.77.0.11:32770"},
		{"families differ", []change{publish(row("::", 100), row("0.0.0.0", 200))}, "10.77.0.11:200"},
		{"several host ports", []change{publish(row("0.0.0.0", 81), row("0.0.0.0", 80))}, "10.77.0.11:80"},
		{"everywhere over one address", []change{publish(row("10.77.5.5", 80), row("0.0.0.0", 81))}, "10.77.0.11:81"},
		{"one address", []change{publish(row("10.77.5.5", 80), row(l, 79))}, "10.77.5.5:80"},
		{"one IPv6 address", []change{publish(row("2001:db8::5", 80))}, "[2001:db8::5]:80"},
		{"loopback", []change{publish(row(l, 80))}, "published_on_loopback 127.0.0.1 -p 8080"},
		{"other port published", []change{publish(Published{Port: 9090, HostPort: 80})}, "port_not_published 8080/tcp -p 8080 networks.web.direct 172.18.0.0/16"},
		{"unpublished", nil, "port_not_published"},
		{"unpublished, routed", []change{direct("web", true)}, "172.18.0.2:8080"},
		{"host address unknown", []change{noHostAddress, publish(row("", 80))}, "port_not_published hosts.app1.address"},
		{"published, declared direct", []change{direct("web", true), publish(row("", 80))}, "172.18.0.2:8080"},

		{"local, unpublished", []change{local}, "172.18.0.2:8080"},
		{"local, published", []change{local, publish(row("", 80))}, "172.18.0.2:8080"},
		{"local, not direct, loopback", []change{local, direct("web", false), publish(row(l, 80))}, "127.0.0.1:80"},
		{"local, not direct, everywhere", []change{local, direct("web", false), publish(row("", 80))}, "127.0.0.1:80"},
		{"local, host mode", []change{local, hostMode}, "127.0.0.1:8080"},

		{"host mode", []change{hostMode}, "10.77.0.11:8080"},
		{"host mode, network asked", []change{hostMode, network("web")}, "10.77.0.11:8080"},
		{"none", []change{noNetwork}, "network_none network mode none"},
		{"no network of its own", []change{networks()}, "network_none sharing"},
		{"macvlan", []change{networks(lan)}, "10.77.9.2:8080"},
		{"ipvlan", []change{networks(on("l2", "ipvlan", "10.77.9.3"))}, "10.77.9.3:8080"},
		{"macvlan, v6 only", []change{networks(on("lan", "macvlan", "2001:db8::7"))}, "[2001:db8::7]:8080"},
		{"macvlan, no address", []change{networks(on("lan", "macvlan", ""))}, "network_not_direct no address"},
		{"macvlan, direct: false", []change{networks(lan), direct("lan", false)}, "network_not_direct direct: false"},
		{"macvlan, direct: false, bridge", []change{networks(lan, web), direct("lan", false), publish(row("", 80))}, "10.77.0.11:80"},
		{"weave", []change{networks(on("w", "weave", "10.32.0.1"))}, "10.32.0.1:8080"},
		{"weavemesh", []change{networks(on("w", "weavemesh", "10.32.0.1"))}, "10.32.0.1:8080"},
		{"weave plugin", []change{networks(on("w", "weaveworks/net-plugin:2.8", "10.32.0.1"))}, "10.32.0.1:8080"},
		{"overlay", []change{networks(mesh)}, "network_not_direct networks.mesh.direct"},
		{"overlay, published", []change{networks(mesh), publish(row("", 80))}, "10.77.0.11:80"},
		{"overlay, direct", []change{networks(mesh), direct("mesh", true)}, "10.0.1.2:8080"},
		{"unknown driver", []change{networks(on("x", "calico", "10.1.1.1"))}, "network_not_direct"},

		{"direct before published", []change{networks(lan, web), publish(row("", 80))}, "10.77.9.2:8080"},
		{"two bridges, published", []change{networks(db, web), publish(row("", 80))}, "10.77.0.11:80"},
		{"two direct", []change{networks(db, lan, web), direct("db", true)}, `ambiguous_network "db", "lan"`},
		{"two direct, service's network", []change{networks(db, lan), direct("db", true), network("lan")}, "10.77.9.2:8080"},
		{"label before service's network", []change{networks(db, lan), direct("db", true), network("lan"), label(a+"network", "db")}, "172.19.0.2:8080"},
		{"chosen network needs publishing", []change{networks(lan, web), network("web"), publish(row("", 80))}, "10.77.0.11:80"},
		{"service's network missing", []change{network("lan")}, `network_not_direct "lan" docker network connect`},
		{"label's network missing", []change{label(a+"network", "lan")}, `invalid_label "lan" "web"`},
		{"local, two bridges", []change{local, networks(db, web)}, "ambiguous_network"},
		{"local, two bridges, one excluded", []change{local, networks(db, web), direct("db", false)}, "172.18.0.2:8080"},

		{"no port", []change{expose(), direct("web", true)}, "ambiguous_port no TCP port"},
		{"two ports", []change{expose(80, 81), direct("web", true)}, "ambiguous_port 2 TCP ports"},
		{"two ports, label", []change{expose(80, 81), label(a+"port", "81"), direct("web", true)}, "172.18.0.2:81"},
		{"service's port over label", []change{port(9000), label(a+"port", "81"), direct("web", true)}, "172.18.0.2:9000"},

		{"disabled", []change{label(a+"enable", "false"), label(a+"port", "x"), state(Stopped)}, "disabled_by_label"},
		{"enabled", []change{label(a+"enable", "true"), direct("web", true)}, "172.18.0.2:8080"},
		{"enable invalid", []change{label(a+"enable", "yes")}, `invalid_label vipilot.enable="yes"`},
		{"port 0", []change{label(a+"port", "0")}, "invalid_label"},
		{"port too high", []change{label(a+"port", "65536")}, "invalid_label"},
		{"port signed", []change{label(a+"port", "+80")}, "invalid_label"},
		{"network invalid", []change{label(a+"network", "x\n bind")}, `invalid_label "x\n bind"`},
		{"network too long is cut", []change{label(a+"network", "/"+strings.Repeat("x", 99))}, "invalid_label"},
		{"weight invalid", []change{label(a+"weight", "257")}, "invalid_label"},
		{"weight", []change{label(a+"weight", "0"), direct("web", true)}, "172.18.0.2:8080 weight 0"},

		{"invalid label before not running", []change{label(a+"port", "x"), state(Stopped)}, "invalid_label"},
		{"stopped", []change{state(Stopped), health(Unhealthy)}, "not_running"},
		{"unknown state", []change{state("")}, "not_running"},
		{"paused", []change{state(Paused), health(Unhealthy)}, "paused"},
		{"unhealthy", []change{health(Unhealthy)}, "unhealthy"},
		{"starting", []change{health(Starting)}, "starting"},
		{"unknown health", []change{health("?")}, "starting"},
		{"healthy", []change{health(Healthy), direct("web", true)}, "172.18.0.2:8080"},
		{"stopping", []change{state(Stopping), direct("web", true), health(Unhealthy)}, "172.18.0.2:8080 drain stopping"},
		{"stopping on a drained host", []change{state(Stopping), direct("web", true), drained}, "172.18.0.2:8080 drain stopping"},
		{"drained", []change{direct("web", true), drained}, "172.18.0.2:8080 drain host_drained"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := Container{ID: "id", Name: "web-1", State: Running, Labels: map[string]string{}, Networks: []Attachment{web}, Exposed: []uint16{8080}}
			w := Want{Host: "app1", HostAddress: ip("10.77.0.11"), Direct: map[string]bool{}}
			for _, f := range tc.change {
				f(&c, &w)
			}
			check(t, c, w, tc.want)
		})
	}
}

func check(t *testing.T, c Container, w Want, want string) {
	t.Helper()
	words := strings.Fields(want)
	e, r := Resolve(c, w)
	if r != nil {
		if string(r.Reason) != words[0] || e != (Endpoint{}) || r.Name != "app1/web-1" || r.Detail == "" || len(r.Detail) > 250 || strings.ContainsAny(r.Detail, "\n\r") {
			t.Fatalf("got endpoint %+v, rejection %+v, want %s", e, *r, want)
		}
		if rest := strings.TrimPrefix(want, words[0]); !containsAll(r.Detail, rest) {
			t.Errorf("detail %q lacks some of %q", r.Detail, rest)
		}
		return
	}
	weight := map[bool]int{true: 0, false: 100}[strings.HasSuffix(want, "weight 0")]
	drain := strings.Contains(want, " drain ")
	reason := Reason("")
	if drain {
		reason = Reason(words[len(words)-1])
	}
	wanted := Endpoint{Name: "app1/web-1", Host: "app1", ID: "id", Weight: weight, Drain: drain, Reason: reason, Address: e.Address}
	if e.Address.String() != words[0] || e != wanted {
		t.Errorf("got %+v, want %s", e, want)
	}
}

// containsAll looks for each word; a detail is a sentence, not a format.
func containsAll(s, words string) bool {
	for w := range strings.FieldsSeq(words) {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

func TestSelector(t *testing.T) {
	c := Container{Name: "shop-web-1", Image: "nginx:1.27", Labels: map[string]string{
		"app": "todo", composeProject: "shop", composeService: "web", swarmService: "stack_web",
	}}
	with := func(image string) Container { c := c; c.Image = image; return c }
	for _, tc := range []struct {
		s    Selector
		c    Container
		want bool
	}{
		{Selector{}, c, false},
		{Selector{Labels: map[string]string{"app": "todo"}}, c, true},
		{Selector{Labels: map[string]string{"app": "todo", "tier": ""}}, c, false},
		{Selector{Labels: map[string]string{"app": "tod"}}, c, false},
		{Selector{Compose: "shop/web"}, c, true},
		{Selector{Compose: "shop/db"}, c, false},
		{Selector{Compose: "shop"}, c, false},
		{Selector{Compose: "/"}, Container{}, false},
		{Selector{Swarm: "stack_web"}, c, true},
		{Selector{Swarm: "web"}, c, false},
		{Selector{Name: "shop-web-*"}, c, true},
		{Selector{Name: "web"}, c, false},
		{Selector{Name: "["}, c, false},
		{Selector{Name: "shop-*", Compose: "shop/db"}, c, false},
		{Selector{Image: "nginx:1.*"}, c, true},
		{Selector{Image: "nginx"}, c, false},
		{Selector{Image: "library/nginx:1.27"}, c, true},
		{Selector{Image: "docker.io/library/nginx:1.27"}, c, true},
		{Selector{Image: "nginx"}, with("nginx"), true},
		{Selector{Image: "nginx:latest"}, with("nginx"), true},
		{Selector{Image: "nginx"}, with("docker.io/library/nginx:latest"), true},
		{Selector{Image: "nginx:1.27"}, with("docker.io/library/nginx:1.27@sha256:00"), true},
		{Selector{Image: "docker.io/acme/app:*"}, with("acme/app:3"), true},
		{Selector{Image: "registry.example.net:5000/acme/*:3"}, with("registry.example.net:5000/acme/app:3"), true},
		{Selector{Image: "acme/*"}, with("registry.example.net/acme/app:3"), false},
		{Selector{Image: "nginx"}, with("evil/nginx"), false},
	} {
		if got := tc.s.Matches(tc.c); got != tc.want {
			t.Errorf("%+v matches %s (%s): %v, want %v", tc.s, tc.c.Name, tc.c.Image, got, tc.want)
		}
	}
}

// FuzzResolve: whatever a container's labels say, there is an address or a
// reason, and no label puts a line break or an endless text into a detail.
func FuzzResolve(f *testing.F) {
	f.Add("true", "8080", "web", "100", uint16(0))
	f.Add("\x00", "-1", "a\nb", "٣", uint16(80))
	f.Fuzz(func(t *testing.T, enable, port, network, weight string, want uint16) {
		c := Container{Name: "c", State: Running, Networks: []Attachment{on("web", "macvlan", "10.77.1.1")}, Labels: map[string]string{
			"vipilot.enable": enable, "vipilot.port": port, "vipilot.network": network, "vipilot.weight": weight,
		}}
		e, r := Resolve(c, Want{Host: "h", Port: want})
		if r == nil && (!e.Address.IsValid() || e.Address.Port() == 0 || e.Weight < 0 || e.Weight > 256) {
			t.Errorf("endpoint %+v", e)
		}
		if r != nil && (r.Reason == "" || r.Detail == "" || len(r.Detail) > 600 || strings.ContainsAny(r.Detail, "\n\r\x00")) {
			t.Errorf("rejection %+v", *r)
		}
	})
}

// A service of UDP sees UDP ports alone, by the same rules.
func TestResolveUDP(t *testing.T) {
	base := Container{ID: strings.Repeat("a", 64), Name: "dns-1", State: Running, Networks: []Attachment{on("web", "bridge", "172.18.0.2")},
		Published: []Published{row("0.0.0.0", 1)}, Exposed: []uint16{8080}}
	udp := func(port uint16, rows ...Published) change {
		return func(c *Container, _ *Want) { c.UDP = &UDPPorts{Exposed: []uint16{port}, Published: rows} }
	}
	through := func(_ *Container, w *Want) { w.Proxy = netip.MustParseAddrPort("10.77.0.11:7080") }
	for _, tc := range []struct {
		name   string
		change []change
		want   string
	}{
		{"none", nil, "ambiguous_port no UDP port"},
		{"published", []change{udp(8080, row("0.0.0.0", 5353))}, "10.77.0.11:5353"},
		{"published on loopback", []change{udp(8080, row("127.0.0.1", 5353))}, "published_on_loopback 8080/udp -p 8080/udp"},
		{"of TCP only", []change{port(8080)}, "port_not_published 8080/udp (-p 8080/udp)"},
		{"no proxy reaches it", []change{udp(53), through}, "port_not_published 53/udp"},
		{"direct", []change{udp(53), direct("web", true)}, "172.18.0.2:53"},
		{"host mode", []change{udp(53), hostMode}, "10.77.0.11:53"},
		{"mesh", []change{udp(53), func(c *Container, _ *Want) {
			c.Task = &Task{Service: "dns", Mesh: []Published{{Port: 53, HostPort: 53}}}
		}}, "port_not_published mode=host,target=53,protocol=udp"},
	} {
		c, want := base, Want{Host: "app1", HostAddress: ip("10.77.0.11"), UDP: true, Direct: map[string]bool{}}
		for _, change := range tc.change {
			change(&c, &want)
		}
		e, refusal := Resolve(c, want)
		got := e.Address.String()
		if refusal != nil {
			got = string(refusal.Reason) + " " + refusal.Detail
		}
		for _, word := range strings.Fields(tc.want) {
			if !strings.Contains(got, word) {
				t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
			}
		}
		if refusal == nil {
			continue
		}
		for _, way := range Candidates(c, want) {
			if way.Used {
				t.Errorf("%s: refused, but %v is used", tc.name, way)
			}
		}
	}
}

// A range of ports is reached where every port is itself.
func TestResolveRange(t *testing.T) {
	base := Container{ID: strings.Repeat("a", 64), Name: "media-1", State: Running, Networks: []Attachment{on("web", "bridge", "172.18.0.2")}}
	same := func(from, to uint16, host string) change {
		return func(c *Container, _ *Want) {
			for p := from; p <= to; p++ {
				c.Published = append(c.Published, Published{Port: p, HostPort: p, HostIP: ip(host)})
			}
		}
	}
	for _, tc := range []struct {
		name   string
		change []change
		want   string
	}{
		{"unpublished", nil, "port_not_published 30000-30002/tcp (-p 30000-30002:30000-30002)"},
		{"host mode", []change{hostMode}, "10.77.0.11:30001"},
		{"direct", []change{direct("web", true)}, "172.18.0.2:30001"},
		{"one to one", []change{same(29999, 30002, "0.0.0.0")}, "10.77.0.11:30001"},
		{"a part", []change{same(30000, 30001, "0.0.0.0")}, "port_not_published"},
		{"on two addresses", []change{same(30000, 30001, "10.77.5.5"), same(30002, 30002, "10.77.5.6")}, "port_not_published"},
		{"elsewhere", []change{publish(Published{Port: 30001, HostPort: 1})}, "port_not_published"},
		{"no proxy", []change{func(_ *Container, w *Want) { w.Proxy = netip.MustParseAddrPort("10.77.0.11:7080") }}, "port_not_published"},
	} {
		c, want := base, Want{Host: "app1", HostAddress: ip("10.77.0.11"), Port: 30001, First: 30000, Last: 30002, Direct: map[string]bool{}}
		for _, change := range tc.change {
			change(&c, &want)
		}
		e, refusal := Resolve(c, want)
		got := e.Address.String()
		if refusal != nil {
			got = string(refusal.Reason) + " " + refusal.Detail
		}
		for _, word := range strings.Fields(tc.want) {
			if !strings.Contains(got, word) {
				t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
			}
		}
	}
}
