package discovery

import (
	"fmt"
	"regexp"
	"strconv"
)

// The labels by which a container may narrow what the configuration allows.
const (
	labelEnable  = "vipilot.enable"
	labelPort    = "vipilot.port"
	labelNetwork = "vipilot.network"
	labelWeight  = "vipilot.weight"
)

const (
	defaultWeight = 100
	maxWeight     = 256 // HAProxy's
)

// networkName is what Docker itself accepts as a network's name.
var networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// preferences is what a container's labels ask for.
type preferences struct {
	port    uint16 // 0 = not said
	network string // "" = not said
	weight  int
}

// parseLabels reads the vipilot.* labels. They are written by whoever starts
// the container, so every value is checked and quoted, cut, when repeated. A
// container that opts out is disabled whatever its other labels say.
func parseLabels(c Container) (preferences, Reason, string) {
	p, labels := preferences{weight: defaultWeight}, c.Labels
	thing, change := "container", "and recreate the container"
	if c.Task != nil {
		thing, change = "service", "with docker service update"
	}
	invalid := func(label, allowed string) (preferences, Reason, string) {
		return p, InvalidLabel, fmt.Sprintf("label %s=%.40q is not %s; correct it %s", label, labels[label], allowed, change)
	}
	switch v, ok := labels[labelEnable]; {
	case ok && v == "false":
		return p, DisabledByLabel, fmt.Sprintf("the %s has label vipilot.enable=false; remove it %s", thing, change)
	case ok && v != "true":
		return invalid(labelEnable, "true or false")
	}
	if v, ok := labels[labelPort]; ok {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return invalid(labelPort, "a port from 1 to 65535")
		}
		p.port = uint16(n)
	}
	if v, ok := labels[labelNetwork]; ok {
		if !networkName.MatchString(v) {
			return invalid(labelNetwork, "a Docker network's name")
		}
		p.network = v
	}
	if v, ok := labels[labelWeight]; ok {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n > maxWeight {
			return invalid(labelWeight, "a weight from 0 to 256")
		}
		p.weight = int(n)
	}
	return p, "", ""
}
