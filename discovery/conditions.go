package discovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Condition is one thing a [Selector] asks of a container.
type Condition struct {
	Want  string // label app=todo
	Found string // what the container has instead; "" when Met
	Met   bool
}

// Conditions says one by one what s asks and whether c meets it: s.Matches(c)
// exactly when there are conditions and all are met.
func (s Selector) Conditions(c Container) []Condition {
	var list []Condition
	add := func(met bool, want, found string) {
		if met {
			found = ""
		}
		list = append(list, Condition{Want: want, Found: found, Met: met})
	}
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		add(s.hasLabel(c, key), "label "+key+"="+s.Labels[key], foundLabel(c, key))
	}
	if s.Compose != "" {
		add(Selector{Compose: s.Compose}.Matches(c), "compose "+s.Compose, foundCompose(c))
	}
	if s.Swarm != "" {
		add(Selector{Swarm: s.Swarm}.Matches(c), "swarm "+s.Swarm, foundLabel(c, swarmService))
	}
	if s.Image != "" {
		add(globImage(s.Image, c.Image), "image "+s.Image, fmt.Sprintf("its image is %.60q", c.Image))
	}
	if s.Name != "" {
		add(glob(s.Name, c.Name), "name "+s.Name, fmt.Sprintf("its name is %.60q", c.Name))
	}
	return list
}

func (s Selector) hasLabel(c Container, key string) bool {
	got, ok := c.Labels[key]
	return ok && got == s.Labels[key]
}

// Misses names the conditions of s that c does not meet, each with what it has
// instead.
func (s Selector) Misses(c Container) []string {
	var misses []string
	for _, one := range s.Conditions(c) {
		if !one.Met {
			misses = append(misses, one.Want+" ("+one.Found+")")
		}
	}
	return misses
}

func foundLabel(c Container, key string) string {
	if got, ok := c.Labels[key]; ok {
		return fmt.Sprintf("it has %.40q", got)
	}
	for other := range c.Labels {
		if strings.EqualFold(other, key) {
			return fmt.Sprintf("it has label %.40q, and labels are case-sensitive", other)
		}
	}
	return "it has no such label"
}

func foundCompose(c Container) string {
	project, service := c.Labels[composeProject], c.Labels[composeService]
	if project == "" && service == "" {
		return "Compose did not start it"
	}
	return fmt.Sprintf("it is %.40q", project+"/"+service)
}

// Unfit says why c cannot serve now, wherever it is reached; the reason is ""
// when it can.
func Unfit(c Container) (Reason, string) { return unfit(c) }
