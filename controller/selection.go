package controller

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
)

// serviceLabel joins a container to a service that names no containers.
const serviceLabel = "vipilot.service"

// selection finds the services a container may join without asking them all:
// a service that requires a label is only looked at for containers that wear it.
type selection struct {
	services []config.Service // those this node serves, sorted by name
	matches  []discovery.Selector
	byLabel  map[label][]int
	scan     []int // services that require no label
	exact    map[vipHost]string
}

type label struct{ key, value string }

func newSelection(services []config.Service) *selection {
	s := &selection{services: services, byLabel: make(map[label][]int), exact: exactHosts(services)}
	for i, service := range services {
		match := selector(service)
		s.matches = append(s.matches, match)
		if must, ok := requiredLabel(match); ok {
			s.byLabel[must] = append(s.byLabel[must], i)
		} else {
			s.scan = append(s.scan, i)
		}
	}
	return s
}

// selector is the service's own, or the label that names the service.
func selector(service config.Service) discovery.Selector {
	c := service.Backend.Containers
	if c == nil {
		return discovery.Selector{Labels: map[string]string{serviceLabel: service.Name}}
	}
	return asSelector(c)
}

func asSelector(c *config.Selector) discovery.Selector {
	return discovery.Selector{Labels: c.Labels, Compose: c.Compose, Swarm: c.Swarm, Image: c.Image, Name: c.Name}
}

// requiredLabel is one label without which the selector never matches.
func requiredLabel(s discovery.Selector) (label, bool) {
	if _, service, ok := strings.Cut(s.Compose, "/"); ok {
		return label{"com.docker.compose.service", service}, true
	}
	if s.Swarm != "" {
		return label{discovery.SwarmLabel, s.Swarm}, true
	}
	var must label
	for key, value := range s.Labels {
		if must.key == "" || key < must.key {
			must = label{key, value}
		}
	}
	return must, must.key != ""
}

// of gives the indexes of the services that c joins, ascending.
func (s *selection) of(c discovery.Container) []int {
	var found []int
	for key, value := range c.Labels {
		for _, i := range s.byLabel[label{key, value}] {
			if s.matches[i].Matches(c) {
				found = append(found, i)
			}
		}
	}
	for _, i := range s.scan {
		if s.matches[i].Matches(c) {
			found = append(found, i)
		}
	}
	slices.Sort(found)
	return found
}

// view is what the containers of one host, or the tasks of one Swarm node,
// mean to the services.
type view struct {
	origin   origin
	members  map[int][]Member
	mesh     map[int][]discovery.Endpoint // tasks that are reached through every node of their Swarm
	rejected map[int][]discovery.Rejection
	branches map[int][]string // values of the label that makes branches of a service
}

// origin is the identity of all that a view was made from.
type origin struct {
	first   *discovery.Container // of the engine's containers
	count   int
	epoch   int                  // of the Swarms' nodes: whose tasks are not the engine's to tell
	node    *discovery.SwarmNode // nil for a host
	whole   bool
	drained bool
}

// identity tells a snapshot's containers from any other's.
func identity(containers []discovery.Container) (*discovery.Container, int) {
	if len(containers) == 0 {
		return nil, 0
	}
	return &containers[0], len(containers)
}

// look makes the view of one host or node.
func (s *selection) look(containers []discovery.Container, want func(config.Service) discovery.Want) *view {
	v := &view{members: make(map[int][]Member), mesh: make(map[int][]discovery.Endpoint), rejected: make(map[int][]discovery.Rejection), branches: make(map[int][]string)}
	for _, c := range containers {
		for _, i := range s.of(c) {
			endpoint, refusal := discovery.Resolve(c, want(s.services[i]))
			branch := ""
			if hostLabel(s.services[i]) != "" {
				var why string
				if branch, why = s.branchOf(s.services[i], c); why == "" {
					v.branches[i] = append(v.branches[i], branch)
				} else if refusal == nil {
					refusal = &discovery.Rejection{Name: endpoint.Name, Reason: discovery.InvalidLabel, Detail: why}
				}
			}
			if branch != "" && refusal == nil && endpoint.Mesh != "" {
				refusal = &discovery.Rejection{Name: endpoint.Name, Reason: discovery.PortNotPublished,
					Detail: "the mesh of a Swarm leads to any task, not to those with one value of " + hostLabel(s.services[i]) + "; publish the port in host mode"}
			}
			if refusal != nil {
				v.rejected[i] = append(v.rejected[i], *refusal)
				continue
			}
			set, refused := setOf(s.services[i], c)
			if refused != "" {
				v.rejected[i] = append(v.rejected[i], discovery.Rejection{Name: endpoint.Name, Reason: discovery.InvalidLabel, Detail: refused})
				continue
			}
			if endpoint.Mesh != "" {
				v.mesh[i] = append(v.mesh[i], endpoint)
				continue
			}
			v.members[i] = append(v.members[i], Member{
				Endpoint: endpoint,
				Server:   serverName(s.services[i], endpoint),
				Branch:   branch,
				Started:  c.StartedAt,
				Set:      set,
			})
		}
	}
	return v
}

// serverName identifies a container at an address: another container, or the
// same at another address, is another server. That keeps sessions, health and
// HAProxy's state file from being taken over by a stranger.
func serverName(s config.Service, e discovery.Endpoint) string {
	if pinsByName(s) {
		return token(e) // clients see it
	}
	sum := sha256.Sum256([]byte(e.ID + " " + e.Address.String()))
	return strings.ReplaceAll(e.Name, "/", ".") + "." + hex.EncodeToString(sum[:4])
}

// staticName names a server that is no container by where it is reached, an
// address or host name with its port.
func staticName(target string) string {
	return strings.NewReplacer("[", "", "]", "", "%", ".").Replace(target)
}

func byName(a, b Member) int { return cmp.Compare(a.Server, b.Server) }
