package sentinel

import (
	"net/netip"

	"github.com/vipilot/vipilot/routing"
)

// admit is the gate: of the wanted prefixes, those that may be announced now.
// Nothing passes while HAProxy is away; a prefix that is wanted only while it
// is held passes while the kernel holds an address in it.
func admit(want []routing.Prefix, up bool, held map[netip.Addr]bool) []routing.Prefix {
	var admitted []routing.Prefix
	for _, p := range want {
		if up && (!p.WhileHeld || holds(held, p.Prefix)) {
			admitted = append(admitted, p)
		}
	}
	return admitted
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
