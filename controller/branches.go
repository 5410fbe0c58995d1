package controller

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
)

// A service with http.host_label has a branch for every value of that label:
// servers of its own, under its wildcard hosts with the value for the *. The
// repository says which label and which hosts; a container chooses no more than
// the value. A branch lives as long as a container with its value exists, whether
// or not it runs, so that one that flaps reloads nothing.

// Branch is one of them.
type Branch struct {
	Value   string
	Backend *haproxy.Backend
}

// branchForm is a DNS label: what stands for the * of a host.
var branchForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// branchBackend is HAProxy's name for a branch. No service can be called so.
func branchBackend(service, value string) string {
	if value == "" {
		return service
	}
	return service + ":" + value
}

// serviceOf is the service that a backend belongs to.
func serviceOf(backend string) string {
	service, _, _ := strings.Cut(backend, ":")
	return service
}

// backend is where the health of m is told, a member of the service: HAProxy's
// view of a service's parts is given under the service's name.
func (m Member) backend(service string) string { return service }

// hostLabel is the label that makes branches of a service, "" for most.
func hostLabel(s config.Service) string {
	if s.HTTP == nil {
		return ""
	}
	return s.HTTP.HostLabel
}

// branchOf is the value of a container's label, or why there is none that will do.
func (s *selection) branchOf(service config.Service, c discovery.Container) (value, why string) {
	label := hostLabel(service)
	value, ok := c.Labels[label]
	if !ok {
		return "", fmt.Sprintf("label %s is missing: its value is the first part of the host name; set it on the container", label)
	}
	value = strings.ToLower(value)
	if !branchForm.MatchString(value) {
		return "", fmt.Sprintf("label %s=%.40q is not one part of a host name (1 to 63 letters, digits and hyphens); correct it on the container", label, c.Labels[label])
	}
	for _, host := range branchHosts(service, value) {
		if owner := s.exact[vipHost{service.VIP, host}]; owner != "" {
			return "", fmt.Sprintf("label %s=%s would make %s, which is declared for service %s; choose another value", label, value, host, owner)
		}
	}
	return value, ""
}

// branchHosts are the hosts of one branch.
func branchHosts(s config.Service, value string) []string {
	hosts := make([]string, len(s.HTTP.Hosts))
	for i, host := range s.HTTP.Hosts {
		hosts[i] = value + strings.TrimPrefix(host, "*")
	}
	return hosts
}

type vipHost struct{ vip, host string }

// exactHosts are the hosts that services have by name: no container gets them.
func exactHosts(services []config.Service) map[vipHost]string {
	owners := make(map[vipHost]string)
	for _, s := range services {
		if s.HTTP == nil {
			continue
		}
		for _, host := range s.HTTP.Hosts {
			owners[vipHost{s.VIP, host}] = s.Name
		}
	}
	return owners
}

// branch puts the members of pool i into the branches of its service.
func (p *planner) branch(i int, fresh *pool) {
	service := p.selection.services[i]
	if hostLabel(service) == "" || p.tier != nil {
		return
	}
	values := make(map[string]bool)
	for _, v := range p.views {
		for _, value := range v.branches[i] {
			values[value] = true
		}
	}
	for _, v := range p.swarms.views {
		for _, value := range v.branches[i] {
			values[value] = true
		}
	}
	known := make(map[string]*haproxy.Backend)
	if old := p.pools[i]; old != nil {
		for _, b := range old.Branches {
			known[b.Value] = b.Backend
		}
	}
	for _, value := range slices.Sorted(maps.Keys(values)) {
		members := slices.DeleteFunc(slices.Clone(fresh.Members), func(m Member) bool { return m.Branch != value })
		backend := wantBackend(service, members)
		backend.Name = branchBackend(service.Name, value)
		if old := known[value]; old != nil && reflect.DeepEqual(old, backend) {
			backend = old
		}
		fresh.Branches = append(fresh.Branches, Branch{value, backend})
	}
	fresh.Backend = wantBackend(service, nil) // what the branches have in common
}

// growBranches gives HAProxy the backends of all branches and the routes to
// them. Without branches it has what it had.
func (p *planner) growBranches() {
	p.grown.backends, p.grown.frontends = withoutUDP(p.backends), p.frontends
	values := make(map[string][]string)
	var backends []*haproxy.Backend
	for i, pool := range p.pools {
		service := p.selection.services[i]
		if hostLabel(service) == "" || pool == nil {
			continue
		}
		values[service.Name] = []string{}
		for _, b := range pool.Branches {
			values[service.Name] = append(values[service.Name], b.Value)
			backends = append(backends, b.Backend)
		}
	}
	if len(values) == 0 || len(p.frontends) == 0 || p.tier != nil {
		return
	}
	p.grown.backends = slices.Concat(p.grown.backends, backends)
	slices.SortFunc(p.grown.backends, func(a, b *haproxy.Backend) int { return strings.Compare(a.Name, b.Name) })
	from := &p.frontends[0]
	if p.grown.from == from && reflect.DeepEqual(p.grown.values, values) {
		p.grown.frontends = p.grown.kept
		return
	}
	p.grown.frontends = slices.Clone(p.frontends)
	for i := range p.grown.frontends {
		f := &p.grown.frontends[i]
		f.Routes, f.Redirects = branchRoutes(f.Routes, values), branchRoutes(f.Redirects, values)
	}
	p.grown.from, p.grown.values, p.grown.kept = from, values, p.grown.frontends
}

// grown is what growBranches made last, and from what.
type grown struct {
	backends  []*haproxy.Backend
	frontends []haproxy.Frontend
	from      *haproxy.Frontend
	values    map[string][]string
	kept      []haproxy.Frontend
}

// branchRoutes replaces the routes of services with branches by one for every value.
func branchRoutes(routes []haproxy.Route, values map[string][]string) []haproxy.Route {
	var grown []haproxy.Route
	for _, r := range routes {
		list, branches := values[r.Backend]
		if !branches {
			grown = append(grown, r)
			continue
		}
		for _, value := range list {
			one := r
			one.Host, one.Backend = value+strings.TrimPrefix(r.Host, "*"), branchBackend(r.Backend, value)
			grown = append(grown, one)
		}
	}
	return grown
}
