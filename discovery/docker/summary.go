package docker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/vipilot/vipilot/discovery"
)

// isUp reports whether a container in this state holds its addresses.
func isUp(state container.ContainerState) bool {
	return state == container.StateRunning || state == container.StatePaused
}

// fromSummary reads a container that is not up from its line in a list, so that
// hundreds of ended ones cost no inspection.
func fromSummary(s container.Summary) (record, error) {
	if len(s.Names) == 0 {
		return record{}, fmt.Errorf("read container %.70q: it has no name", s.ID)
	}
	c, err := identify(s.ID, ownName(s))
	if err != nil {
		return record{}, err
	}
	c.Image, c.Labels = s.Image, s.Labels
	return newRecord(c, "", nil), nil
}

// ownName is the container's own name; links add names like /other/alias.
func ownName(s container.Summary) string {
	for _, n := range s.Names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			return n
		}
	}
	return ""
}

// agrees reports whether a line of a list says what is known already. It looks
// at all that can change while a container is up; if in doubt, it does not
// agree, which costs one inspection.
func agrees(s container.Summary, known record) bool {
	state := known.State
	if state == discovery.Stopping {
		state = discovery.Running
	}
	if string(s.State) != string(state) || ownName(s) != known.Name {
		return false
	}
	if s.State == container.StateRunning && healthIn(s.Status) != known.Health {
		return false
	}
	ports := make(map[string][]discovery.Published)
	for _, p := range s.Ports {
		ports[p.Type] = appendPublished(ports[p.Type], p.PrivatePort, p.IP, p.PublicPort)
	}
	var udp []discovery.Published
	if known.UDP != nil {
		udp = known.UDP.Published
	}
	if !slices.Equal(sortPublished(ports["tcp"]), known.Published) || !slices.Equal(sortPublished(ports["udp"]), udp) {
		return false
	}
	if s.NetworkSettings == nil {
		return len(known.Networks) == 0
	}
	return slices.EqualFunc(attachments(s.NetworkSettings.Networks, nil), known.Networks, func(a, b discovery.Attachment) bool {
		return a.Name == b.Name && a.IPv4 == b.IPv4 && a.IPv6 == b.IPv6
	})
}

// healthIn reads the health from a status for people: "Up 2 hours (healthy)".
func healthIn(status string) discovery.Health {
	_, inner, _ := strings.Cut(strings.TrimSuffix(status, ")"), "(")
	return toHealth(strings.TrimPrefix(inner, "health: "))
}
