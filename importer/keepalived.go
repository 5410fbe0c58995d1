package importer

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// instance is a vrrp_instance of one node.
type instance struct {
	name, iface, place string
	node               string
	id, priority       int
	addresses          []netip.Addr
	advert             time.Duration
	noPreempt          bool
	garp               *mapping
	preemptDelay       time.Duration
	source             netip.Addr
	peers              []netip.Addr
	password           string
	group              string
}

// keepalived turns the files of the nodes, in the order of the nodes, into VIPs.
func (r *Repository) keepalived(files []Source) error {
	var found []*instance
	for i, file := range files {
		if i >= len(r.nodes) {
			return fmt.Errorf("%s: %d files but %d nodes; name a --node NAME=ADDRESS for each --keepalived", file.Name, len(files), len(r.nodes))
		}
		blocks, err := parseKeepalived(file)
		if err != nil {
			return err
		}
		k := keepalivedFile{r, file.Name, r.nodes[i].Name}
		mine := k.instances(blocks)
		k.groups(blocks, mine)
		found = append(found, mine...)
	}
	r.peers(found)
	r.electedVIPs(found)
	return nil
}

type keepalivedFile struct {
	*Repository
	file, node string
}

func (k keepalivedFile) at(b *block) string { return fmt.Sprintf("%s:%d", k.file, b.at) }

// elsewhere is why a block of keepalived.conf has no place in the new repository.
var elsewhere = map[string]string{
	"global_defs":          "vipilot writes its own; mail and script users are not carried over",
	"vrrp_script":          "the sentinel watches HAProxy, without a script",
	"vrrp_track_process":   "the sentinel watches HAProxy",
	"vrrp_track_file":      "the sentinel watches HAProxy",
	"virtual_server":       "is IPVS; describe it as a tcp service with backend.servers",
	"virtual_server_group": "is IPVS",
	"static_ipaddress":     "addresses of the machine stay with the machine's own configuration",
	"static_routes":        "routes of the machine stay with the machine's own configuration",
	"include":              "other files are not read; import them one by one, or paste them in",
}

func (k keepalivedFile) instances(blocks []*block) []*instance {
	var found []*instance
	for _, b := range blocks {
		switch b.name() {
		case "vrrp_instance":
			if n := k.instance(b); n != nil {
				found = append(found, n)
			}
		case "vrrp_sync_group":
		default:
			why, ok := elsewhere[b.name()]
			if !ok {
				why = "has no counterpart"
			}
			k.remark(k.at(b), b.text(), why)
		}
	}
	return found
}

// groups notes which instances move together.
func (k keepalivedFile) groups(blocks []*block, found []*instance) {
	for _, b := range blocks {
		if b.name() != "vrrp_sync_group" {
			continue
		}
		for _, in := range b.in {
			if in.name() != "group" {
				k.remark(k.at(in), in.text(), "scripts and mails of a group are not carried over; watch /v1/events")
				continue
			}
			for _, member := range in.in {
				for _, n := range found {
					if n.name == member.name() {
						n.group = b.arg(1)
					}
				}
			}
		}
	}
}

// announcement takes a line on gratuitous ARP.
func (n *instance) announcement(b *block) error {
	if n.garp == nil {
		n.garp = newMapping()
	}
	key := strings.TrimPrefix(b.name(), "garp_master_")
	if key == "repeat" {
		times, err := strconv.Atoi(b.arg(1))
		n.garp.set(key, times)
		return err
	}
	pause, err := keepalivedSeconds(b.arg(1))
	n.garp.set(key, pause)
	return err
}

func (k keepalivedFile) instance(b *block) *instance {
	n := &instance{name: b.arg(1), node: k.node, place: k.at(b), priority: 100, advert: time.Second}
	for _, line := range b.in {
		if why := k.setting(n, line); why != "" {
			k.remark(k.at(line), line.text(), why)
		}
	}
	if len(n.addresses) == 0 {
		k.remark(n.place, b.text(), "has no addresses; left out")
		return nil
	}
	return n
}

// setting takes one line of an instance; otherwise it says why not.
func (k keepalivedFile) setting(n *instance, b *block) (why string) {
	var err error
	switch b.name() {
	case "state": // the preference follows from the priorities
	case "interface":
		n.iface = b.arg(1)
	case "virtual_router_id":
		n.id, err = strconv.Atoi(b.arg(1))
	case "priority":
		n.priority, err = strconv.Atoi(b.arg(1))
	case "advert_int":
		n.advert, err = keepalivedSeconds(b.arg(1))
	case "preempt_delay":
		n.preemptDelay, err = keepalivedSeconds(b.arg(1))
	case "nopreempt":
		n.noPreempt = true
	case "preempt", "version", "dont_track_primary":
	case "garp_master_delay", "garp_master_refresh", "garp_master_repeat":
		err = n.announcement(b)
	case "unicast_src_ip", "mcast_src_ip":
		n.source, err = netip.ParseAddr(b.arg(1))
	case "unicast_peer":
		for _, p := range b.in {
			if a, bad := netip.ParseAddr(p.name()); bad == nil {
				n.peers = append(n.peers, a)
			}
		}
	case "virtual_ipaddress", "virtual_ipaddress_excluded":
		k.addresses(n, b)
	case "authentication":
		return n.authenticate(b)
	case "track_script", "track_process", "track_file", "track_interface":
		return "the sentinel watches HAProxy, and the node gives its VIPs up when it dies; nothing else is watched"
	case "notify", "notify_master", "notify_backup", "notify_fault", "notify_stop", "smtp_alert":
		return "vipilot starts no scripts and sends no mail; follow GET /v1/events or the metrics"
	case "virtual_routes", "virtual_rules":
		return "routes and rules that come with a VIP are not managed"
	case "use_vmac":
		return "virtual MAC addresses are not used"
	default:
		return "has no counterpart"
	}
	if err != nil {
		return "cannot be read"
	}
	return ""
}

func (k keepalivedFile) addresses(n *instance, b *block) {
	for _, line := range b.in {
		text, _, _ := strings.Cut(line.name(), "/")
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" || a.IsUnspecified() {
			k.remark(k.at(line), line.text(), "is not an address")
			continue
		}
		for i := 1; i < len(line.words); i++ {
			if line.words[i] == "dev" && line.arg(i+1) != n.iface && line.arg(i+1) != "" {
				k.remark(k.at(line), line.text(), "all addresses of a VIP are on one interface")
			}
		}
		if len(n.addresses) < 64 && !slices.Contains(n.addresses, a) {
			n.addresses = append(n.addresses, a)
		}
	}
}

func (n *instance) authenticate(b *block) (why string) {
	kind := ""
	for _, line := range b.in {
		switch line.name() {
		case "auth_type":
			kind = line.arg(1)
		case "auth_pass":
			n.password = line.arg(1)
		}
	}
	if kind == "AH" {
		n.password = ""
		return "IPsec AH is not supported"
	}
	if n.password != "" && n.advert%time.Second != 0 {
		n.password = ""
		return "VRRP knows passwords only with adverts in whole seconds"
	}
	return ""
}

// keepalivedSeconds reads seconds, with a fraction, as VRRP can say them.
func keepalivedSeconds(text string) (time.Duration, error) {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(s) || s < 0 || s > 1e6 {
		return 0, fmt.Errorf("%q is not a time in seconds", printable(text))
	}
	return time.Duration(math.Round(s*100)) * 10 * time.Millisecond, nil
}

// peers takes the addresses of the nodes from what they speak VRRP with, and
// adds the nodes whose file is not here.
func (r *Repository) peers(found []*instance) {
	for _, n := range found {
		for i := range r.nodes {
			if r.nodes[i].Name != n.node {
				continue
			}
			if r.nodes[i].iface == "" {
				r.nodes[i].iface, r.nodes[i].from = n.iface, n.place
			}
			if n.source.IsValid() {
				r.nodes[i].Address = n.source
			}
		}
	}
	for _, n := range found {
		for _, p := range n.peers {
			if slices.ContainsFunc(r.nodes, func(o node) bool { return o.Address == p }) {
				continue
			}
			name := fmt.Sprintf("lb%d", len(r.nodes)+1)
			for i := 2; slices.ContainsFunc(r.nodes, func(o node) bool { return o.Name == name }); i++ {
				name = fmt.Sprintf("lb%d", len(r.nodes)+i)
			}
			r.nodes = append(r.nodes, node{Node{name, p}, n.iface, "unicast_peer in " + n.place + ": its own name is not known"})
		}
	}
}

// electedVIPs makes one VIP of the instances that are one router (RFC 9568:
// the same VRID on the same network), or that move together.
func (r *Repository) electedVIPs(found []*instance) {
	members := make(map[string][]*instance)
	var order []string
	for _, n := range found {
		key := fmt.Sprint(n.iface, n.id, n.addresses[0].Is6())
		if n.group != "" {
			key = "group " + n.group + " " + n.iface
		}
		if members[key] == nil {
			order = append(order, key)
		}
		members[key] = append(members[key], n)
	}
	for _, key := range order {
		r.electedVIP(members[key])
	}
}

func (r *Repository) electedVIP(members []*instance) {
	first := members[0]
	v := &vip{name: named(strings.ToLower(first.name)), from: "vrrp_instance " + first.name + " in " + first.place}
	v.vrrp = &vrrp{id: first.id, iface: first.iface, advert: first.advert, noPreempt: first.noPreempt, garp: first.garp, preemptDelay: first.preemptDelay, unicast: len(first.peers) > 0}
	if first.group != "" {
		v.name, v.from = named(strings.ToLower(first.group)), "vrrp_sync_group "+first.group+", "+v.from
	}
	for slices.ContainsFunc(r.vips, func(o *vip) bool { return o.name == v.name }) {
		v.name += "-" + strconv.Itoa(first.id)
	}
	slices.SortStableFunc(members, func(a, b *instance) int { return b.priority - a.priority })
	for _, n := range members {
		for _, a := range n.addresses {
			if !slices.Contains(v.addresses, a) {
				v.addresses = append(v.addresses, a)
			}
		}
		if !slices.Contains(v.nodes, n.node) {
			v.nodes = append(v.nodes, n.node)
		}
		if n.id != v.vrrp.id {
			r.remark(n.place, "virtual_router_id "+strconv.Itoa(n.id), fmt.Sprintf("moves together with the others as one VIP, whose VRID is %d", v.vrrp.id))
		}
	}
	for _, n := range r.nodes { // whose files are not here come after the best
		if !slices.Contains(v.nodes, n.Name) && len(first.peers) > 0 {
			v.nodes = append(v.nodes, n.Name)
		}
	}
	if first.password != "" {
		v.vrrp.password = "secrets/vrrp-" + v.name
		r.files[v.vrrp.password] = []byte(first.password + "\n")
	}
	r.vips = append(r.vips, v)
}
