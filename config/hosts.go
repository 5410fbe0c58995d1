package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// readHost reads hosts.<name>.
func readHost(v value) Host {
	h := Host{Name: v.name()}
	object([]value{v}, keys{
		"docker":  into(&h.Docker, parsed("a Docker URL", parseDockerURL)),
		"tls":     func(t value) { h.TLS = readClientTLS(t) },
		"address": into(&h.Address, asAddress),
		"state":   into(&h.Drain, asState),
		"swarm":   into(&h.Swarm, asBool),
		"proxy":   func(p value) { h.Proxy = readHostProxy(p) },
	}, "docker")

	if h.Docker.Scheme == "tcp" && !v.has("tls") {
		v.dig("docker").warnf("tcp without tls: whoever reaches this port rules the host").Hint = "set tls"
	}
	if h.Docker.Scheme != "" && h.Docker.Scheme != "tcp" && v.has("tls") {
		v.dig("tls").faultf("tls goes with tcp:// only")
	}
	if h.Docker.Host != "" && !v.has("address") {
		h.Address = v.dig("docker").addressOf(h.Docker)
	}
	h.placeProxy(v.dig("proxy"))
	return h
}

// addressOf takes the host's address from its URL.
func (v value) addressOf(u DockerURL) netip.Addr {
	host, _, _ := net.SplitHostPort(u.Host)
	addr, err := netip.ParseAddr(host)
	if err != nil {
		v.faultf("the address of %q is not known", host).Hint = "set address, where the host's published ports are reached"
	}
	return addr.Unmap()
}

func readClientTLS(v value) *ClientTLS {
	var t ClientTLS
	object([]value{v}, keys{
		"ca_file":   into(&t.CA, asCA),
		"cert_file": into(&t.Cert, asFile),
		"key_file":  into(&t.Key, asSecretFile),
	}, "ca_file", "cert_file", "key_file")
	if t.Cert != nil && t.Key != "" {
		if leaf, ok := keyPair(v.dig("cert_file"), t.Cert, []byte(t.Key)); ok {
			warnOutOfTime(v.dig("cert_file"), leaf)
		}
	}
	return &t
}

// ParseDockerURL reads unix:///path, tcp://host:port or ssh://user@host[:port].
func ParseDockerURL(text string) (DockerURL, error) {
	u, why := parseDockerURL(text)
	if why != nil {
		return DockerURL{}, fmt.Errorf("%s %s", quote(text), why.says)
	}
	return u, nil
}

// parseDockerURL reads unix:///path, tcp://host:port or ssh://user@host[:port].
func parseDockerURL(text string) (DockerURL, *refusal) {
	u, err := url.Parse(text)
	if err != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return DockerURL{}, &refusal{"is not a Docker URL", "write unix:///path, tcp://host:port or ssh://user@host"}
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || !path.IsAbs(u.Path) || path.Clean(u.Path) != u.Path || u.Path == "/" {
			return DockerURL{}, &refusal{"does not name a socket", "as in unix:///var/run/docker.sock"}
		}
		return DockerURL{Scheme: "unix", Path: u.Path}, nil
	case "tcp":
		if u.User != nil || strings.Trim(u.Path, "/") != "" {
			return DockerURL{}, &refusal{"is not tcp://host:port", ""}
		}
		return remoteURL(u, "")
	case "ssh":
		if _, secret := u.User.Password(); secret || strings.Trim(u.Path, "/") != "" || checkName(u.User.Username()) != nil {
			return DockerURL{}, &refusal{"is not ssh://user@host[:port]", ""}
		}
		return remoteURL(u, "22")
	}
	hint := "use unix, tcp or ssh"
	if u.Scheme == "http" || u.Scheme == "https" {
		hint = "write tcp://" + u.Host
	}
	return DockerURL{}, &refusal{"does not begin with unix://, tcp:// or ssh://", hint}
}

// remoteURL checks host and port; usual stands in for a missing port.
func remoteURL(u *url.URL, usual string) (DockerURL, *refusal) {
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = usual
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return DockerURL{}, &refusal{"has no port", "Docker uses 2376 with TLS and 2375 without"}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if why := checkUnicast(addr.Unmap()); why != nil {
			return DockerURL{}, why
		}
	} else if _, why := parseHost(host, false); why != nil || looksNumeric(host) {
		return DockerURL{}, &refusal{"has no valid host", ""}
	}
	return DockerURL{Scheme: u.Scheme, User: u.User.Username(), Host: net.JoinHostPort(host, port)}, nil
}
