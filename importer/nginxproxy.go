package importer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// NginxProxy makes a repository of containers that carry the variables of
// nginx-proxy and of its acme-companion.
func NginxProxy(containers []Container, o Options) (*Repository, error) {
	r, err := newRepository("nginx-proxy's variables", o)
	if err != nil {
		return nil, err
	}
	r.engine(o)
	n := nginxProxy{r, r.staticVIP(o)}
	for _, c := range sorted(containers) {
		n.container(c)
	}
	return r, nil
}

type nginxProxy struct {
	*Repository
	vip *vip
}

// virtual is one path of a virtual host.
type virtual struct{ host, path, port, dest string }

func (n *nginxProxy) container(c Container) {
	place := "container " + c.Name
	virtuals := n.virtuals(c, place)
	if len(virtuals) == 0 {
		return
	}
	sel := c.selector()
	b := backend{containers: &sel}
	switch proto := c.Env["VIRTUAL_PROTO"]; proto {
	case "", "http":
	case "https":
		b.tls = &backendTLS{insecure: true} // nginx does not look at the certificate either
	case "grpc":
		b.h2 = true
	default:
		n.remark(place, "VIRTUAL_PROTO="+proto, "vipilot speaks HTTP to its servers; left out")
		return
	}
	if strings.EqualFold(c.Env["LOADBALANCE"], "ip_hash;") || strings.Contains(c.Labels["com.github.nginx-proxy.nginx-proxy.loadbalance"], "ip_hash") {
		b.balance = "source"
	}
	n.notCarried(c, place)
	// What shares TLS, path, port and destination is one service.
	groups := make(map[string][]virtual)
	for _, v := range virtuals {
		key := fmt.Sprint(n.secure(c, v.host), v.path, v.port, v.dest)
		groups[key] = append(groups[key], v)
	}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		n.service(c, place, groups[key], b)
	}
}

// virtuals reads VIRTUAL_HOST_MULTIPORTS, else VIRTUAL_HOST and what goes with it.
func (n *nginxProxy) virtuals(c Container, place string) (list []virtual) {
	if text := c.Env["VIRTUAL_HOST_MULTIPORTS"]; text != "" {
		var hosts map[string]map[string]struct{ Port, Dest string }
		if err := yaml.Unmarshal([]byte(text), &hosts); err != nil {
			n.remark(place, "VIRTUAL_HOST_MULTIPORTS", "cannot be read: "+printable(err.Error()))
			return nil
		}
		for _, host := range slices.Sorted(maps.Keys(hosts)) {
			if len(hosts[host]) == 0 {
				list = append(list, virtual{host: host})
			}
			for _, path := range slices.Sorted(maps.Keys(hosts[host])) {
				v := hosts[host][path]
				list = append(list, virtual{host, path, v.Port, v.Dest})
			}
		}
	} else {
		for _, host := range words(c.Env["VIRTUAL_HOST"]) {
			list = append(list, virtual{host, c.Env["VIRTUAL_PATH"], c.Env["VIRTUAL_PORT"], c.Env["VIRTUAL_DEST"]})
		}
	}
	return slices.DeleteFunc(list, func(v virtual) bool {
		why := ""
		switch {
		case strings.HasPrefix(v.host, "~"):
			why = "is a pattern; name the hosts, or a wildcard such as *.example.net"
		case strings.HasSuffix(v.host, ".*"):
			why = "has its wildcard behind; vipilot's stand in front"
		case strings.ContainsAny(v.path, "~^$ "):
			n.remark(place, "VIRTUAL_PATH="+v.path, "is a pattern; vipilot's paths are prefixes")
			return true
		}
		if why != "" {
			n.remark(place, "VIRTUAL_HOST="+v.host, why)
		}
		return why != ""
	})
}

// secure says whether the host has a certificate of its own.
func (n *nginxProxy) secure(c Container, host string) bool {
	return slices.Contains(words(c.Env["LETSENCRYPT_HOST"]), host) || slices.Contains(words(c.Env["ACME_HOST"]), host)
}

// meant are the variables that say how a container is to be served, and are
// read elsewhere or have the given reason not to be.
var meant = map[string]string{
	"CERT_NAME":          "set services.<name>.http.tls.certificate_file to that certificate",
	"SSL_POLICY":         "see services.<name>.http.tls.profile",
	"SERVER_TOKENS":      "HAProxy says nothing of itself",
	"EXTERNAL_HTTP_PORT": "set services.<name>.http.port", "EXTERNAL_HTTPS_PORT": "set services.<name>.http.tls.port",
	"VIRTUAL_ROOT": "vipilot serves no files", "LETSENCRYPT_EMAIL": "write it as acme.letsencrypt.email",
	"LETSENCRYPT_KEYSIZE": "keys are ECDSA P-256", "LETSENCRYPT_TEST": "declare acme.letsencrypt-staging",
}

func (n *nginxProxy) notCarried(c Container, place string) {
	for _, name := range slices.Sorted(maps.Keys(meant)) {
		if v, ok := c.Env[name]; ok {
			n.remark(place, name+"="+v, meant[name])
		}
	}
}

func (n *nginxProxy) service(c Container, place string, group []virtual, b backend) {
	v := group[0]
	s := &service{name: c.Name, from: []string{place + ", VIRTUAL_HOST"}, vip: n.vip.name, port: 80}
	if sel := b.containers; sel.compose != "" {
		s.name = sel.compose
	}
	for _, g := range group {
		s.match.hosts = append(s.match.hosts, g.host)
		if strings.HasPrefix(g.host, "*.") {
			s.notes = append(s.notes, g.host+" stands for exactly one label here, for any number in nginx")
		}
	}
	s.match.hosts = lower(s.match.hosts)
	if v.path != "" && v.path != "/" {
		s.match.paths = []string{v.path}
	}
	if v.dest == "/" {
		s.filters.strip = strings.TrimSuffix(v.path, "/")
	} else if v.dest != "" {
		s.filters.strip, s.filters.prefix = strings.TrimSuffix(v.path, "/"), strings.TrimSuffix(v.dest, "/")
	}
	port, err := strconv.ParseUint(cmp.Or(v.port, "0"), 10, 16)
	if err != nil {
		n.remark(place, "VIRTUAL_PORT="+v.port, "is not a port; left out")
		return
	}
	if b.port = uint16(port); b.port == 0 {
		s.notes = append(s.notes, "no VIRTUAL_PORT: the one port the container exposes is used, and it is an error that it has several (nginx-proxy takes 80 then)")
	}
	s.backend = b
	if c.Env["NETWORK_ACCESS"] == "internal" {
		s.match.sources = []string{"10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}
		s.notes = append(s.notes, "NETWORK_ACCESS=internal: nginx-proxy's networks by default; compare with its network_internal.conf")
	}
	n.secureService(c, s, place)
	n.add(s)
}

// secureService reads HTTPS_METHOD and HSTS.
func (n *nginxProxy) secureService(c Container, s *service, place string) {
	if !n.secure(c, s.match.hosts[0]) {
		if c.Env["CERT_NAME"] != "" || c.Env["LETSENCRYPT_HOST"] != "" {
			n.remark(place, strings.Join(s.match.hosts, ", "), "has no certificate in LETSENCRYPT_HOST and is served on plain HTTP alone")
		}
		return
	}
	method := cmp.Or(c.Env["HTTPS_METHOD"], "redirect")
	if method == "nohttps" {
		return
	}
	s.tls = &termination{port: 443, redirect: method != "noredirect"}
	if method == "nohttp" {
		n.remark(place, "HTTPS_METHOD=nohttp", "plain HTTP redirects here, as a service has both ports")
	}
	switch hsts := c.Env["HSTS"]; {
	case hsts == "off" || method == "noredirect":
	case hsts == "":
		s.tls.hsts = 365 * 24 * time.Hour // nginx-proxy's own
	default:
		_, age, _ := strings.Cut(hsts, "max-age=")
		age, _, _ = strings.Cut(age, ";")
		if seconds, err := strconv.Atoi(strings.TrimSpace(age)); err == nil && seconds >= 0 && seconds < 1<<31 {
			s.tls.hsts = time.Duration(seconds) * time.Second
		} else {
			n.remark(place, "HSTS="+hsts, "has no max-age")
		}
	}
}
