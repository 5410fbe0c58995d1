// Package importer turns what runs somewhere already into a vipilot repository:
// the labels of Traefik, the variables of nginx-proxy, or an haproxy.cfg with
// the keepalived.conf beside it. It reads text and gives text: the files of a
// configuration in which a comment says where each thing comes from, and a
// remark for everything that was not carried over, with its place and the reason.
//
// It never guesses in favour of less protection: where a rule kept clients out
// and cannot be carried over, the service is written with `allow:` of this
// machine alone, for a person to open it. It does not check what it writes;
// its caller loads the files with package config and drops ([Repository.Drop]) the services
// that are refused.
//
//	repo, err := importer.HAProxy(cfg, keepalived, importer.Options{Nodes: …})
//	for _, r := range repo.Left() { fmt.Println(r) }
package importer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// Remark is something that was not carried over, or not just as it was.
type Remark struct {
	Place  string // file:line, or container and label
	What   string // as it stands there, shortened
	Reason string
}

// String is one line: place: what: reason.
func (r Remark) String() string {
	if r.What == "" {
		return r.Place + ": " + r.Reason
	}
	return r.Place + ": " + r.What + ": " + r.Reason
}

// Source is a named text.
type Source struct {
	Name string
	Text []byte
}

// Node is a load-balancer node of the new repository.
type Node struct {
	Name    string
	Address netip.Addr
}

// Options say what the old configuration does not.
type Options struct {
	Nodes      []Node            // at least one
	VIPs       []netip.Addr      // where clients come in; empty = the first node's address. Not asked where VRRP says it
	Docker     string            // URL of the engine the containers run on, for hosts:
	DockerTLS  TLSFiles          // with which it is asked over tcp, for hosts: too
	EntryPoint map[string]uint16 // Traefik's entry points that its own arguments do not tell
}

// Repository is a configuration that has been put together and can be written.
type Repository struct {
	origin   string
	nodes    []node
	hosts    []host
	vips     []*vip
	services []*service
	files    map[string][]byte // that the YAML names
	left     []Remark
	said     map[Remark]bool
}

type node struct {
	Node
	iface, from string
}

type host struct {
	name, docker string
	tls          TLSFiles
	from         string
}

// TLSFiles are those of a client, as hosts.<name>.tls names them: relative to
// the repository, or absolute. The zero value is no TLS.
type TLSFiles struct{ CA, Cert, Key string }

func (f TLSFiles) node() *mapping {
	return newMapping().maybe("ca_file", f.CA).maybe("cert_file", f.Cert).maybe("key_file", f.Key)
}

// Left is all that was not carried over, in the order of the source.
func (r *Repository) Left() []Remark { return slices.Clone(r.left) }

// Services counts the services.
func (r *Repository) Services() int { return len(r.services) }

// Drop leaves a service out, and says why. False means there is none of that name.
func (r *Repository) Drop(name, why string) bool {
	i := slices.IndexFunc(r.services, func(s *service) bool { return s.name == name })
	if i < 0 {
		return false
	}
	s := r.services[i]
	r.left = append(r.left, Remark{cmp.Or(strings.Join(s.from, ", "), r.origin), "service " + name, "left out: " + printable(why)})
	r.services = slices.Delete(r.services, i, i+1)
	for file := range s.files {
		if !slices.ContainsFunc(r.services, func(o *service) bool { _, used := o.files[file]; return used }) {
			delete(r.files, file)
		}
	}
	return true
}

func (r *Repository) remark(place, what, reason string) {
	one := Remark{printable(place), printable(what), printable(reason)}
	if !r.said[one] { // a backend that two frontends use is read twice
		r.said[one] = true
		r.left = append(r.left, one)
	}
}

// add gives a service its final name, which no other has, and keeps its files.
func (r *Repository) add(s *service) {
	s.name = named(s.name)
	name := s.name
	for n := 2; slices.ContainsFunc(r.services, func(o *service) bool { return o.name == s.name }); n++ {
		s.name = fmt.Sprintf("%s-%d", name, n)
	}
	for file, data := range s.files {
		r.files[file] = data
	}
	r.services = append(r.services, s)
}

// newRepository has the nodes, and the VIP that somebody else places.
func newRepository(origin string, o Options) (*Repository, error) {
	if len(o.Nodes) == 0 {
		return nil, fmt.Errorf("import %s: no node is named", origin)
	}
	r := &Repository{origin: origin, files: make(map[string][]byte), said: make(map[Remark]bool)}
	for _, n := range o.Nodes {
		r.nodes = append(r.nodes, node{Node: n})
	}
	return r, nil
}

// staticVIP is the VIP where nothing but the options says where clients come in.
func (r *Repository) staticVIP(o Options) *vip {
	addresses := o.VIPs
	if len(addresses) == 0 {
		addresses = []netip.Addr{o.Nodes[0].Address}
	}
	v := &vip{name: "public", addresses: addresses, from: "addresses of the machine, or of whatever forwards to it"}
	r.vips = append(r.vips, v)
	return v
}

// named makes a name of text: what is not possible in one becomes a hyphen.
func named(text string) string {
	name := strings.Map(func(c rune) rune {
		if c < unicode.MaxASCII && (unicode.IsLetter(c) || unicode.IsDigit(c) || c == '.' || c == '_') {
			return c
		}
		return '-'
	}, text)
	name = strings.Trim(name, "-._")
	if name == "" {
		name = "unnamed"
	}
	return name[:min(len(name), 50)]
}

// printable is text that may stand in a comment or a remark: one short line.
func printable(text string) string {
	text = strings.Map(func(c rune) rune {
		if c == '\n' || c == '\t' {
			return ' '
		}
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, text)
	if r := []rune(text); len(r) > 160 {
		text = string(r[:160]) + "…"
	}
	return strings.TrimSpace(text)
}
