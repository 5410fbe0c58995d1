package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/template"
	"time"
)

const (
	zebra = "/usr/lib/frr/zebra"
	bgpd  = "/usr/lib/frr/bgpd"
)

// Router is the upstream router: FRR's zebra and bgpd, which take every prefix
// from both nodes and share the load between equal ones.
type Router struct {
	*Host
	running map[string]*Daemon // its routing daemons, by name
	guarded bool               // bgpd watches the nodes by BFD
}

// Route is one prefix in the router's kernel that it learned over BGP.
type Route struct {
	Prefix   netip.Prefix
	NextHops []netip.Addr // sorted
}

// Session is a BGP session as the router sees it.
type Session struct {
	State       string // Established when it is up
	Established int    // how often it came up since the router started
	Up          time.Duration
	LastReset   string // why it went down last, in FRR's words
}

var bgpdConf = template.Must(template.New("bgpd.conf").Parse(`hostname router
router bgp {{.ASN}}
 bgp router-id {{.Address}}
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp bestpath as-path multipath-relax
 timers bgp 3 9
{{- range .Peers}}
 neighbor {{.}} remote-as {{$.PeerASN}}
 neighbor {{.}} advertisement-interval 0
{{- if $.Password}}
 neighbor {{.}} password {{$.Password}}
{{- end}}
{{- if $.TTLSecurity}}
 neighbor {{.}} ttl-security hops 1
{{- end}}
{{- end}}
 address-family ipv4 unicast
  maximum-paths 4
 exit-address-family
 address-family ipv6 unicast
  maximum-paths 4
{{- range .Peers}}
  neighbor {{.}} activate
{{- end}}
 exit-address-family
`))

func (r *Router) start(ctx context.Context, opts Options) error {
	conf := new(strings.Builder)
	err := bgpdConf.Execute(conf, map[string]any{
		"ASN": RouterASN, "Address": RouterAddress, "PeerASN": NodeASN, "Password": opts.BGPPassword,
		"TTLSecurity": opts.TTLSecurity,
		"Peers":       []string{"10.77.0.21", "10.77.0.22", "2001:db8:77::21", "2001:db8:77::22"},
	})
	if err != nil {
		return fmt.Errorf("write bgpd.conf: %w", err)
	}
	script := `set -e
cat > /etc/frr/bgpd.conf; echo hostname router > /etc/frr/zebra.conf; touch /etc/frr/vtysh.conf
mkdir -p /run/frr; chown -R frr:frr /etc/frr /run/frr`
	if _, err := r.run(ctx, strings.NewReader(conf.String()), "sh", "-c", script); err != nil {
		return err
	}
	for _, name := range []string{"zebra", "bgpd"} {
		if err := r.StartDaemon(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Routes are the prefixes that the router's kernel has from BGP.
func (r *Router) Routes(ctx context.Context) ([]Route, error) {
	var routes []Route
	for _, family := range []string{"-4", "-6"} {
		out, err := r.Run(ctx, "ip", family, "-j", "route", "show", "proto", "bgp")
		if err != nil {
			return nil, err
		}
		found, err := parseRoutes([]byte(out))
		if err != nil {
			return nil, fmt.Errorf("read the router's routes: %w", err)
		}
		routes = append(routes, found...)
	}
	return routes, nil
}

// NextHops are where the router sends packets for a prefix; empty = no route.
func (r *Router) NextHops(ctx context.Context, prefix string) ([]netip.Addr, error) {
	want, err := netip.ParsePrefix(prefix)
	if err != nil {
		return nil, err
	}
	routes, err := r.Routes(ctx)
	for _, route := range routes {
		if route.Prefix == want {
			return route.NextHops, err
		}
	}
	return nil, err
}

// isEmpty waits until the router has no route that it learned over BGP: one of
// a scenario before would pass for the next one's.
func (r *Router) isEmpty(ctx context.Context) error {
	return Poll(ctx, Patience, func(ctx context.Context) error {
		routes, err := r.Routes(ctx)
		if err == nil && len(routes) > 0 {
			err = fmt.Errorf("the router still has %v, and no node is on", routes)
		}
		return err
	})
}

func parseRoutes(data []byte) ([]Route, error) {
	type hop struct{ Gateway netip.Addr }
	var raw []struct {
		Dst      string
		Gateway  netip.Addr
		NextHops []hop
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	var routes []Route
	for _, r := range raw {
		prefix, err := netip.ParsePrefix(r.Dst)
		if err != nil {
			addr, err := netip.ParseAddr(r.Dst) // a host route is printed without its length
			if err != nil {
				return nil, err
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		route := Route{Prefix: prefix}
		for _, h := range append(r.NextHops, hop{r.Gateway}) {
			if h.Gateway.IsValid() {
				route.NextHops = append(route.NextHops, h.Gateway)
			}
		}
		slices.SortFunc(route.NextHops, netip.Addr.Compare)
		routes = append(routes, route)
	}
	return routes, nil
}

// Session is the router's BGP session with the peer of that address.
func (r *Router) Session(ctx context.Context, peer string) (Session, error) {
	out, err := r.Run(ctx, "vtysh", "-d", "bgpd", "-c", "show bgp neighbors "+peer+" json")
	if err != nil {
		return Session{}, err
	}
	var raw map[string]struct {
		State       string `json:"bgpState"`
		Established int    `json:"connectionsEstablished"`
		Up          int64  `json:"bgpTimerUpMsec"`
		LastReset   string `json:"lastResetDueTo"`
		Reason      string `json:"lastNotificationReason"`
	}
	if err := json.Unmarshal([]byte(out), &raw); err != nil {
		return Session{}, fmt.Errorf("read the router's session with %s: %w", peer, err)
	}
	s := raw[peer]
	return Session{State: s.State, Established: s.Established, Up: time.Duration(s.Up) * time.Millisecond, LastReset: strings.TrimSpace(s.LastReset + " " + s.Reason)}, nil
}
