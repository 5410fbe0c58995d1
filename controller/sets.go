package controller

import (
	"fmt"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
)

// setLabel names the set of a container where the configuration describes none.
const setLabel = "vipilot.set"

// setOf is the container set of a service that c belongs to, "" = none. A
// container cannot choose a set that has no share: it would get another's.
func setOf(s config.Service, c discovery.Container) (set string, refused string) {
	claimed, labelled := c.Labels[setLabel]
	for _, one := range s.Backend.Split {
		switch {
		case one.Containers != nil:
			if asSelector(one.Containers).Matches(c) {
				return one.Name, ""
			}
		case labelled && claimed == one.Name:
			return one.Name, ""
		}
	}
	if len(s.Backend.Split) == 0 || !labelled {
		return "", ""
	}
	for _, one := range s.Backend.Split {
		if claimed == one.Name {
			return "", "" // described otherwise, and it does not fit
		}
	}
	return "", fmt.Sprintf("label %s=%.40q names no set of %s; give the set a share under split, or remove the label", setLabel, claimed, s.Name)
}

// splitOf is what the sets of a service get.
func splitOf(s config.Service) []haproxy.Share {
	var list []haproxy.Share
	for _, one := range s.Backend.Split {
		list = append(list, haproxy.Share{Set: one.Name, Percent: one.Percent})
	}
	return list
}

// shareOf says what the set of a member gets, for people.
func shareOf(s config.Service, set string) string {
	rest := 100
	for _, one := range s.Backend.Split {
		if one.Name == set {
			return fmt.Sprintf("set %s, which gets %d%%", set, one.Percent)
		}
		rest -= one.Percent
	}
	return fmt.Sprintf("no set: the rest, %d%%", rest)
}
