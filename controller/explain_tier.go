package controller

import (
	"fmt"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/status"
)

// tierStep is how clients come to a service on a host with a proxy.
func (x *explainer) tierStep(s config.Service) status.Step {
	listens := x.cfg.Hosts[0].Proxy.AddrPort()
	return status.Step{Step: "tier", Verdict: status.OK,
		Text: fmt.Sprintf("this is the proxy of %s, which takes at %s what the nodes send to single containers of %s", x.in.Node, listens, s.Name)}
}

// askTier is what to look at when the proxy of a host may be at fault, "" when
// m is reached without one.
func (x *explainer) askTier(m Member) string {
	if x.in.Tier != nil || !m.Via.IsValid() {
		return ""
	}
	return fmt.Sprintf("ask the proxy of its host: vipilot explain %s on %s, where vipilot run --host %s listens on %s", m.Name, m.Host, m.Host, m.Via)
}

// nearest is the machine from which m's address can be tried.
func (x *explainer) nearest(m Member) string {
	if m.Via.IsValid() {
		return m.Host
	}
	return x.in.Node
}
