package frr

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/render"
	"github.com/vipilot/vipilot/routing"
)

// document is what the template fills in. Nothing in it is free text: every
// word is a number, an address, a name made here, or was checked.
type document struct {
	Attach   bool
	Profiles []profile
	Guards   []guard
	OSPF     *ospf
	BGP      *bgp
}

// profile is a set of BFD timers; Interval is in milliseconds.
type profile struct {
	Name       string
	Interval   int64
	Multiplier uint8
}

// guard is a BFD session beside a BGP session that is not FRR's.
type guard struct {
	Address  netip.Addr
	Source   string
	Multihop bool
	LeastTTL uint8 // of several hops
	Profile  string
}

type ospf struct {
	RouterID, Area    netip.Addr
	Network, Password string
	Hello, Dead       int64 // seconds
	Guarded           bool
	Interfaces        []ospfInterface
	Prefixes          []entry
}

type ospfInterface struct{ Name, Address string }

// AnnouncesIPv6 reports whether an IPv6 prefix may be announced. Where none
// may, redistribution is switched off as a whole: ospf6d (8.4) acts on a
// changed prefix-list only after five seconds.
func (o ospf) AnnouncesIPv6() bool {
	return slices.ContainsFunc(o.Prefixes, func(e entry) bool { return e.Version == 6 })
}

// entry is a line of a prefix-list.
type entry struct {
	Word    string // ip or ipv6
	Version int    // 4 or 6
	Prefix  netip.Prefix
}

type bgp struct {
	ASN      uint32
	RouterID netip.Addr
	Prefixes []entry
	Maps     []routeMap
	Peers    []peer
	Families []family
}

type routeMap struct {
	Name  string
	Seq   int
	Lines []string
}

type peer struct {
	Address          netip.Addr
	ASN              uint32
	Password, Source string
	TTLSecurity      bool
	Multihop         uint8
	Keepalive, Hold  int64
	Profile, Out     string
}

type family struct {
	Word     string
	Networks []network
}

type network struct {
	Prefix netip.Prefix
	Map    string
}

// Render gives the frr.conf that announces exactly the prefixes of c. c is
// checked first.
func Render(c routing.Config) ([]byte, error) {
	if err := validate(c); err != nil {
		return nil, fmt.Errorf("render frr.conf: %w", err)
	}
	d := document{Attach: c.FRR.Attach}
	if c.ASN != 0 {
		d.guardPeers(c)
		if c.ViaFRR {
			d.BGP = newBGP(c)
		}
	}
	if c.OSPF != nil {
		d.OSPF = newOSPF(*c.OSPF)
		if b := c.OSPF.BFD; b.On() {
			d.Profiles = append(d.Profiles, newProfile("vipilot-ospf", b))
		}
	}
	return render.Execute("frr.conf.tmpl", d)
}

// validate adds to the Config's own rules those of FRR's words.
func validate(c routing.Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	for _, p := range c.Peers {
		if c.ViaFRR && strings.ContainsFunc(p.Password, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("peer %q: password: FRR takes only printable characters without spaces", p.Name)
		}
	}
	return nil
}

// guardPeers asks for BFD: FRR's own sessions name a profile, those of another
// speaker get a BFD session beside them.
func (d *document) guardPeers(c routing.Config) {
	for _, p := range c.Peers {
		if !p.BFD.On() {
			continue
		}
		d.Profiles = append(d.Profiles, newProfile(profileName(p), p.BFD))
		if !c.ViaFRR {
			g := guard{Address: p.Address, Multihop: p.Multihop > 0, Profile: profileName(p)}
			if p.LocalAddress.IsValid() {
				g.Source = p.LocalAddress.String()
			}
			if g.Multihop {
				g.LeastTTL = 255 - p.Multihop
			}
			d.Guards = append(d.Guards, g)
			// With ttl_security a router that is FRR asks for the BFD of several
			// hops (RFC 5883), others for that of one (RFC 5881). Both are offered.
			if p.TTLSecurity && g.Source != "" {
				g.Multihop, g.LeastTTL = true, 254
				d.Guards = append(d.Guards, g)
			}
		}
	}
}

func profileName(p routing.Peer) string { return "vipilot-" + p.Address.String() }

func newProfile(name string, b routing.BFD) profile {
	return profile{Name: name, Interval: int64(b.Interval / time.Millisecond), Multiplier: b.Multiplier}
}

func newOSPF(o routing.OSPF) *ospf {
	out := &ospf{
		RouterID: o.RouterID, Area: o.Area, Network: "point-to-point", Password: o.Password,
		Hello: int64(o.HelloInterval / time.Second), Dead: int64(o.DeadInterval / time.Second), Guarded: o.BFD.On(),
		Prefixes: entries(o.Prefixes),
	}
	if o.Broadcast {
		out.Network = "broadcast"
	}
	for _, i := range o.Interfaces {
		one := ospfInterface{Name: i.Name}
		if i.Address.IsValid() {
			one.Address = i.Address.String()
		}
		out.Interfaces = append(out.Interfaces, one)
	}
	return out
}

func entries(prefixes []routing.Prefix) []entry {
	var list []entry
	for _, p := range prefixes {
		e := entry{Word: "ip", Version: 4, Prefix: p.Prefix}
		if p.Prefix.Addr().Is6() {
			e.Word, e.Version = "ipv6", 6
		}
		list = append(list, e)
	}
	return list
}

func newBGP(c routing.Config) *bgp {
	b := &bgp{ASN: c.ASN, RouterID: c.RouterID, Prefixes: entries(c.Prefixes), Families: []family{{Word: "ipv4"}, {Word: "ipv6"}}}
	for _, p := range c.Prefixes {
		f := &b.Families[0]
		if p.Prefix.Addr().Is6() {
			f = &b.Families[1]
		}
		f.Networks = append(f.Networks, network{p.Prefix, b.mapFor("vipilot-bgp-", attributes(c.ASN, p))})
	}
	for _, p := range c.Peers {
		b.Peers = append(b.Peers, b.newPeer(p))
	}
	return b
}

func (b *bgp) newPeer(p routing.Peer) peer {
	hold := p.HoldTime
	if hold == 0 {
		hold = routing.DefaultHoldTime
	}
	out := peer{
		Address: p.Address, ASN: p.ASN, Password: p.Password, TTLSecurity: p.TTLSecurity,
		Keepalive: int64(hold / time.Second / 3), Hold: int64(hold / time.Second),
	}
	if p.ASN != b.ASN {
		out.Multihop = p.Multihop
	}
	if p.LocalAddress.IsValid() {
		out.Source = p.LocalAddress.String()
	}
	if p.BFD.On() {
		out.Profile = profileName(p)
	}
	set := exported(b.ASN, p.Export)
	out.Out = b.mapFor("vipilot-to-", append([]string{"match ip address prefix-list vipilot-bgp4"}, set...),
		append([]string{"match ipv6 address prefix-list vipilot-bgp6"}, set...))
	return out
}

// mapFor names the route-map with these lines by what it says: a map never
// changes, so that a change of attributes is the change of one name.
func (b *bgp) mapFor(prefix string, entries ...[]string) string {
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%q", entries)
	name := fmt.Sprintf("%s%x", prefix, hash.Sum64())
	if slices.ContainsFunc(b.Maps, func(m routeMap) bool { return m.Name == name }) {
		return name
	}
	for i, lines := range entries {
		b.Maps = append(b.Maps, routeMap{Name: name, Seq: 10 * (i + 1), Lines: lines})
	}
	return name
}

// attributes are what a prefix has at every peer.
func attributes(asn uint32, p routing.Prefix) []string {
	lines := exported(asn, routing.Export{Prepend: p.Prepend, LocalPreference: p.LocalPreference, Communities: p.Communities})
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], " additive")
	}
	if p.MED != nil {
		lines = append(lines, fmt.Sprintf("set metric %d", *p.MED))
	}
	return lines
}

// exported are the words for what is added on the way to a peer.
func exported(asn uint32, e routing.Export) []string {
	var lines, standard, large []string
	if e.MED > 0 {
		lines = append(lines, fmt.Sprintf("set metric +%d", e.MED))
	}
	if e.Prepend > 0 {
		lines = append(lines, "set as-path prepend"+strings.Repeat(fmt.Sprintf(" %d", asn), int(e.Prepend)))
	}
	if e.LocalPreference > 0 {
		lines = append(lines, fmt.Sprintf("set local-preference %d", e.LocalPreference))
	}
	for _, text := range e.Communities {
		switch c, err := routing.ParseCommunity(text); {
		case err != nil: // cannot be: c was checked
		case c.Large:
			large = append(large, fmt.Sprintf("%d:%d:%d", c.A, c.B, c.C))
		default:
			standard = append(standard, fmt.Sprintf("%d:%d", c.A, c.B))
		}
	}
	if len(standard) > 0 {
		lines = append(lines, "set community "+strings.Join(standard, " ")+" additive")
	}
	if len(large) > 0 {
		lines = append(lines, "set large-community "+strings.Join(large, " ")+" additive")
	}
	return lines
}
