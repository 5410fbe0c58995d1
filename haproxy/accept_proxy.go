package haproxy

import (
	"fmt"
	"strings"
)

// writeAcceptProxy has the frontend believe the PROXY protocol from the listed
// networks, who must speak it. Whoever else connects is taken as they come: a
// header of theirs is data, so nobody can claim another's address.
func (f Frontend) writeAcceptProxy(w *strings.Builder) {
	for _, network := range f.AcceptProxy {
		fmt.Fprintf(w, "  tcp-request connection expect-proxy layer4 if { src %s }\n", network)
	}
}

// checkAcceptProxy returns the faults of those networks.
func checkAcceptProxy(f Frontend) error {
	for _, network := range f.AcceptProxy {
		if !network.IsValid() || network.Addr().Zone() != "" || network != network.Masked() {
			return fmt.Errorf("frontend %q: accept_proxy: %s is not a network", f.Name, network)
		}
	}
	return nil
}
