package importer

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Files are the files of the repository, by name: fleet.yaml with the machines
// and addresses, services.yaml, and what these refer to. Equal repositories
// give equal bytes.
func (r *Repository) Files() (map[string][]byte, error) {
	files := maps.Clone(r.files)
	var err error
	if files["fleet.yaml"], err = r.fleet().text("Imported from " + r.origin + ": the machines and the addresses. Read every line before it runs."); err != nil {
		return nil, err
	}
	services := newMapping()
	for _, s := range r.services {
		services.set(s.name, s.node(), s.comment()...)
	}
	files["services.yaml"], err = newMapping().set("services", services).text("Imported from " + r.origin + ": what clients reach.")
	return files, err
}

func (r *Repository) fleet() *mapping {
	top := newMapping().set("version", 1)
	nodes := newMapping()
	for _, n := range r.nodes {
		nodes.set(n.Name, newMapping().set("address", n.Address.String()).maybe("interface", n.iface).flow(), n.from)
	}
	top.set("nodes", nodes)
	hosts := newMapping()
	for _, h := range r.hosts {
		hosts.set(h.name, newMapping().set("docker", h.docker).maybe("tls", h.tls.node()).flow(), h.from)
	}
	top.maybe("hosts", hosts)
	vips := newMapping()
	for _, v := range r.vips {
		vips.set(v.name, v.node(), v.from)
	}
	top.set("vips", vips)
	if slices.ContainsFunc(r.services, func(s *service) bool { return s.tls.acme() }) {
		issuer := newMapping()
		if len(r.nodes) > 1 {
			issuer.set("storage", "/srv/acme", "a directory that all nodes share: make it, or name another")
		}
		top.set("acme", newMapping().set("letsencrypt", issuer, "to declare it is to agree to its terms of service; add email: for its letters"))
	}
	return top
}

func (v *vip) node() *mapping {
	var addresses []string
	for _, a := range v.addresses {
		addresses = append(addresses, a.String())
	}
	m := newMapping().set("addresses", addresses)
	if v.vrrp == nil {
		return m.set("ha", "static").maybe("nodes", v.nodes)
	}
	e := newMapping().maybe("id", v.vrrp.id).maybe("interface", v.vrrp.iface).maybe("advert_interval", v.vrrp.advert)
	if v.vrrp.noPreempt {
		e.set("preempt", false)
	}
	e.maybe("preempt_delay", v.vrrp.preemptDelay).maybe("unicast", v.vrrp.unicast).maybe("password_file", v.vrrp.password)
	if v.vrrp.garp != nil {
		e.set("garp", v.vrrp.garp.flow())
	}
	return m.set("ha", "vrrp").maybe("nodes", v.nodes).set("vrrp", e)
}

func (s *service) comment() []string {
	return append(slices.Concat([]string{"from " + strings.Join(s.from, ", ")}, s.notes), s.closed...)
}

// acme says whether certificates are to be obtained.
func (t *termination) acme() bool { return t != nil && t.file == "" && t.dir == "" }

func (s *service) node() *mapping {
	m := newMapping().set("vip", s.vip)
	if s.tcp {
		m.set("tcp", s.rule(newMapping().set("port", int(s.port)).maybe("sni", s.match.hosts)))
	} else {
		m.set("http", s.rule(s.http()))
	}
	if s.filters.redirectHost == "" {
		m.maybe("backend", s.backend.node())
	}
	return m
}

// rule adds which clients may come.
func (s *service) rule(m *mapping) *mapping {
	allow := s.match.sources
	if len(s.closed) > 0 {
		return m.set("allow", []string{"127.0.0.0/8"}, "CLOSED until you have read the comment above: then take this line away").maybe("deny", s.deny)
	}
	return m.maybe("allow", allow).maybe("deny", s.deny)
}

func (s *service) http() *mapping {
	f := s.filters
	m := newMapping().maybe("hosts", s.match.hosts).maybe("paths", s.match.paths).
		maybe("methods", s.match.methods).maybe("headers", s.match.headers)
	if s.port != 80 {
		m.maybe("port", int(s.port))
	}
	if t := s.tls; t != nil {
		e := newMapping()
		if t.port != 443 {
			e.set("port", int(t.port))
		}
		e.maybe("certificate_file", t.file).maybe("certificates_dir", t.dir)
		if t.acme() {
			e.set("acme", "letsencrypt")
		}
		m.set("tls", e.maybe("redirect", t.redirect).maybe("hsts", t.hsts))
	}
	if f.redirectHost != "" {
		m.set("redirect", newMapping().set("host", f.redirectHost).maybe("code", f.redirectCode))
	}
	m.maybe("rewrite", newMapping().maybe("strip_prefix", f.strip).maybe("add_prefix", f.prefix))
	rate := newMapping()
	if f.rateRequests > 0 {
		rate.set("requests", f.rateRequests).set("per", f.ratePer)
	}
	m.maybe("request", newMapping().maybe("set", f.reqSet).maybe("add", f.reqAdd).maybe("delete", f.reqDelete).
		maybe("max_size", f.maxSize).maybe("rate_limit", rate))
	m.maybe("response", newMapping().maybe("set", f.respSet).maybe("add", f.respAdd).maybe("delete", f.respDelete).maybe("compress", f.compress))
	m.maybe("trusted_proxies", f.trustedProxies)
	if f.usersFile != "" {
		m.set("basic_auth", newMapping().set("users_file", f.usersFile).maybe("realm", f.realm))
	}
	return m.maybe("maintenance", f.maintenance)
}

func (b backend) node() *mapping {
	m := newMapping()
	if c := b.containers; c != nil {
		m.set("containers", newMapping().maybe("compose", c.compose).maybe("swarm", c.swarm).maybe("name", c.name).flow())
	}
	if len(b.servers) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, s := range b.servers {
			e := newMapping().set("address", s.address).maybe("backup", s.backup).maybe("weight", s.weight).flow()
			e.node.LineComment = comment(s.from)
			list.Content = append(list.Content, e.node)
		}
		m.add("servers", list)
	}
	m.maybe("port", int(b.port)).maybe("network", b.network).maybe("balance", b.balance)
	m.maybe("sticky", newMapping().maybe("cookie", b.cookie).maybe("source", b.source))
	m.maybe("check", newMapping().maybe("path", b.check.path).maybe("interval", b.check.interval).maybe("rise", b.check.rise).maybe("fall", b.check.fall))
	m.maybe("maxconn", b.maxconn)
	if b.retries != nil {
		m.set("retries", *b.retries)
	}
	m.maybe("proxy_protocol", b.proxy)
	if b.h2 {
		m.set("protocol", "h2")
	}
	if t := b.tls; t != nil {
		e := newMapping().maybe("ca_file", t.ca).maybe("server_name", t.name)
		if t.insecure {
			e.set("verify", false)
		}
		if e.empty() {
			m.set("tls", true)
		} else {
			m.set("tls", e)
		}
	}
	times := newMapping()
	for _, name := range slices.Sorted(maps.Keys(b.timeouts)) {
		times.maybe(name, b.timeouts[name])
	}
	return m.maybe("slow_start", b.slowStart).maybe("timeouts", times)
}

// mapping is a YAML mapping that keeps its order and its comments.
type mapping struct{ node *yaml.Node }

func newMapping() *mapping { return &mapping{&yaml.Node{Kind: yaml.MappingNode}} }

func (m *mapping) empty() bool { return len(m.node.Content) == 0 }

// flow writes the mapping in one line.
func (m *mapping) flow() *mapping { m.node.Style = yaml.FlowStyle; return m }

// set adds a key. Values are scalars, lists and maps of them, or mappings.
func (m *mapping) set(key string, value any, comments ...string) *mapping {
	n := new(yaml.Node)
	switch v := value.(type) {
	case *mapping:
		n = v.node
	case time.Duration:
		n.SetString(spelled(v))
	case string:
		n.SetString(v)
	default:
		if err := n.Encode(v); err != nil { // scalars, lists and maps of strings have no such error
			n.SetString(fmt.Sprint(v))
		}
		n.Style = yaml.FlowStyle
	}
	return m.add(key, n, comments...)
}

func (m *mapping) add(key string, n *yaml.Node, comments ...string) *mapping {
	k := &yaml.Node{HeadComment: comment(comments...)}
	k.SetString(key)
	m.node.Content = append(m.node.Content, k, n)
	return m
}

// spelled is a duration as a person writes it: 30m, not 30m0s.
func spelled(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// maybe is set, unless there is nothing to say.
func (m *mapping) maybe(key string, value any) *mapping {
	switch v := value.(type) {
	case string:
		if v == "" {
			return m
		}
	case int:
		if v == 0 {
			return m
		}
	case bool:
		if !v {
			return m
		}
	case time.Duration:
		if v == 0 {
			return m
		}
	case []string:
		if len(v) == 0 {
			return m
		}
	case map[string]string:
		if len(v) == 0 {
			return m
		}
	case *mapping:
		if v.empty() {
			return m
		}
	}
	return m.set(key, value)
}

// text is the mapping as a document.
func (m *mapping) text(head string) ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# %s\n", printable(head))
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(m.node); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out.Bytes(), e.Close()
}

// comment joins lines, none of which can end the comment.
func comment(lines ...string) string {
	var out []string
	for _, l := range lines {
		if l = printable(l); l != "" {
			out = append(out, "# "+l)
		}
	}
	return strings.Join(out, "\n")
}
