package frr

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// respect looks at an FRR of somebody else. What it cannot stand beside is an
// error; neighbors and BFD peers that are there are left alone.
func (s *Speaker) respect(ctx context.Context, d *daemon) error {
	running, err := d.vty.run(ctx, "show running-config")
	if err != nil {
		return err
	}
	ours := texts(d.have)
	d.foreign = make(map[string]bool)
	for _, c := range parse([]byte(running)) {
		words := strings.Fields(c.Line)
		switch {
		case ours[c.text()]:
		case d.name == "bgpd" && len(c.Context) == 0 && strings.HasPrefix(c.Line, "router bgp ") && !strings.Contains(c.Line, " vrf ") && words[2] != fmt.Sprint(s.want.ASN):
			return fmt.Errorf("attach to bgpd: it speaks for ASN %s, routing.bgp.asn is %d", words[2], s.want.ASN)
		case strings.HasPrefix(c.Line, "redistribute connected") && strings.HasPrefix(d.name, "ospf") && !strings.Contains(c.Line, " vipilot-"):
			return fmt.Errorf("attach to %s: it has its own %q, which only one can have; take it out, or announce with another speaker", d.name, c.Line)
		case c.neighbor() != "" && !known(d.have, "neighbor", c.neighbor()):
			d.foreign[c.neighbor()] = true
		case words[0] == "peer" && c.isBlock() && !known(d.have, "peer", words[1]):
			d.foreign[words[1]] = true
		}
	}
	return nil
}

// known reports whether one of our lines is about that neighbor or peer.
func known(lines []directive, word, who string) bool {
	return slices.ContainsFunc(lines, func(c directive) bool { return strings.HasPrefix(c.Line+" ", word+" "+who+" ") })
}

// withoutForeign leaves out what would change somebody else's neighbor or peer.
func withoutForeign(lines []directive, foreign map[string]bool) []directive {
	return slices.DeleteFunc(slices.Clone(lines), func(c directive) bool {
		for _, line := range append(slices.Clone(c.Context), c.Line) {
			words := strings.Fields(line)
			if len(words) > 1 && (words[0] == "neighbor" || words[0] == "peer") && foreign[words[1]] {
				return true
			}
		}
		return false
	})
}
