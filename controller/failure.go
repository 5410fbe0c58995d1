package controller

import (
	"fmt"
	"strings"

	"github.com/vipilot/vipilot/config"
)

// Failure is one thing that is assumed to be gone.
type Failure struct {
	Kind string // node, host or peer
	Name string
}

// String is the failure for people: "node lb1".
func (f Failure) String() string { return f.Kind + " " + f.Name }

// Failures are all single failures that cfg can have, in the order of kinds.
func Failures(cfg *config.Config) []Failure {
	var all []Failure
	for _, n := range cfg.Nodes {
		all = append(all, Failure{"node", n.Name})
	}
	for _, h := range cfg.Hosts {
		all = append(all, Failure{"host", h.Name})
	}
	if bgp := cfg.Routing.BGP; bgp != nil {
		for _, p := range bgp.Peers {
			all = append(all, Failure{"peer", p.Name})
		}
	}
	return all
}

// FindFailure reads "lb1", or "node lb1" and "node/lb1" where a name alone
// means several things. The error names what could be meant.
func FindFailure(cfg *config.Config, text string) (Failure, error) {
	kind, name, both := strings.Cut(strings.Replace(text, "/", " ", 1), " ")
	if !both {
		kind, name = "", text
	}
	var found []Failure
	var names []string
	for _, f := range Failures(cfg) {
		names = append(names, f.Name)
		if f.Name == name && (kind == "" || f.Kind == kind) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		err := fmt.Errorf("there is no node, host or peer %q", text)
		if near := config.Nearest(name, names, 1); len(near) > 0 {
			err = fmt.Errorf("%w; did you mean %q?", err, near[0])
		}
		return Failure{}, err
	}
	return Failure{}, fmt.Errorf("%q is a %s and a %s; write %s/%s", text, found[0].Kind, found[1].Kind, found[0].Kind, name)
}
