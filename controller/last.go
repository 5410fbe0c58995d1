package controller

import (
	"fmt"
	"slices"

	"github.com/vipilot/vipilot/config"
)

// keepLastAnnouncer decides for a VIP with last: keep that has no ready
// endpoint here; reason says so. It is announced all the same when no other
// node would announce it. That is so when no other node can, when what all
// nodes know alike says that there is nobody to send to, or when every other
// node was asked and has no ready endpoint either. A node that could not be
// asked may serve, and then the clients belong there: in doubt, withdraw.
func keepLastAnnouncer(in Input, node config.Node, vip config.VIP, d *Desired, reason string) string {
	if vip.HA != config.Anycast {
		return "" // only the holder announces
	}
	if nobodyServes(in, vip, d) {
		return ""
	}
	for _, name := range vip.Nodes {
		other, ok := in.Config.Node(name)
		if !ok || name == node.Name || other.Drain {
			continue
		}
		ready, asked := in.Others[name]
		switch {
		case !asked:
			return fmt.Sprintf("%s, and node %s, which may have one, could not be asked", reason, name)
		case ready[vip.Name]:
			return fmt.Sprintf("%s, and node %s has one", reason, name)
		}
	}
	return ""
}

// nobodyServes reports whether the engines themselves say that no endpoint of
// the VIP can serve. All nodes ask the same engines; what HAProxy's checks
// find is this node's own view and does not count. A static server may serve.
func nobodyServes(in Input, vip config.VIP, d *Desired) bool {
	for _, h := range in.Config.Hosts {
		if !in.Hosts[h.Name].Connected {
			return false
		}
	}
	for _, s := range in.Config.Services {
		if s.VIP == vip.Name && slices.ContainsFunc(d.Pools[s.Name].Members, func(m Member) bool { return m.Static || !m.Drain }) {
			return false
		}
	}
	return true
}
