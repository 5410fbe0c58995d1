package sentinel

import (
	"net/netip"

	"github.com/vipilot/vipilot/routing"
)

// admit is the gate: of the wanted prefixes, those that may be announced now,
// and how. Nothing passes while HAProxy is away. A prefix that is wanted only
// while it is held passes while the kernel holds an address in it; one with a
// standby path passes as that while the kernel does not.
func admit(want []routing.Prefix, up bool, held map[netip.Addr]bool) []routing.Prefix {
	var admitted []routing.Prefix
	for _, p := range want {
		switch {
		case !up:
		case !p.WhileHeld || holds(held, p.Prefix):
			admitted = append(admitted, p)
		case p.Standby != nil:
			admitted = append(admitted, p.AsStandby())
		}
	}
	return admitted
}

// admitAll is the gate before the speakers: the whole wanted state, less what
// may not be announced now. OSPF finds out from the kernel itself, in FRR,
// which addresses are held, unless FRR is blind; else only HAProxy's life is
// left to say.
func admitAll(want routing.Config, up, blind bool, held map[netip.Addr]bool) routing.Config {
	want.Prefixes = admit(want.Prefixes, up, held)
	if want.OSPF != nil && (!up || blind) {
		fewer := *want.OSPF
		fewer.Prefixes = admit(fewer.Prefixes, up, held)
		want.OSPF = &fewer
	}
	return want
}

func holds(held map[netip.Addr]bool, p netip.Prefix) bool {
	if p.IsSingleIP() {
		return held[p.Addr()]
	}
	for a := range held {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
