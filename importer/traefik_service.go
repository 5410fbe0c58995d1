package importer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// backend reads the labels of the service a router sends to: the one it names,
// or the only one of its container.
func (t *traefik) backend(c Container, name, kind, place string) (backend, error) {
	services := group(c.Labels, "traefik."+kind+".services.")
	if name == "" && len(services) == 1 {
		name = slices.Collect(maps.Keys(services))[0]
	}
	of, ok := services[name]
	if name != "" && !ok {
		return backend{}, fmt.Errorf("its service %q is not described by this container's labels", printable(name))
	}
	s := c.selector()
	b := backend{containers: &s, network: c.Labels["traefik.docker.network"]}
	if b.network == "" {
		b.network = c.Labels["traefik.swarm.network"]
	}
	at := fmt.Sprintf("container %s, traefik.%s.services.%s", c.Name, kind, name)
	for _, key := range of.order {
		short, below := strings.CutPrefix(key, "loadbalancer.")
		if why := "vipilot has no weighted, mirrored or failover services of services"; !below {
			t.remark(at, key+"="+of.of[key], why)
			continue
		}
		if why := b.take(short, of.of[key]); why != "" {
			t.remark(at, key+"="+of.of[key], why)
		}
	}
	if b.network == "host" { // no network's name: says what vipilot finds out itself
		b.network = ""
	}
	return b, nil
}

// take takes one setting of a Traefik load balancer; otherwise it says why not.
func (b *backend) take(key, value string) (why string) {
	switch key {
	case "server.port":
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil || port == 0 {
			return "is not a port"
		}
		b.port = uint16(port)
	case "server.scheme":
		switch value {
		case "http":
		case "h2c":
			b.h2 = true
		case "https":
			b.tls = &backendTLS{}
		default:
			return "is not a scheme of HTTP"
		}
	case "healthcheck.path":
		b.check.path = value
	case "healthcheck.interval":
		d, err := traefikTime(value)
		if err != nil {
			return "is not a duration"
		}
		b.check.interval = d
	case "sticky", "sticky.cookie":
		b.cookie = orCookie(b.cookie)
	case "sticky.cookie.name":
		b.cookie = value
	case "passhostheader":
		if !strings.EqualFold(value, "true") {
			return "the Host header is always passed on"
		}
	case "proxyprotocol.version":
		b.proxy = "v" + value
	case "proxyprotocol", "serverstransport":
		return "see services.<name>.backend.proxy_protocol and tls"
	case "sticky.cookie.secure", "sticky.cookie.httponly", "sticky.cookie.samesite", "sticky.cookie.maxage":
		return "vipilot sets the attributes of its cookie itself"
	default:
		return "vipilot has nothing like it"
	}
	return ""
}

func orCookie(name string) string {
	if name == "" {
		return "SRV"
	}
	return name
}

// traefikTime reads a duration; a bare number is seconds.
func traefikTime(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	return time.ParseDuration(text)
}
