package config

import (
	"net/netip"
	"net/url"
	"strings"
)

// statusPort is that of run --listen where nothing else is said.
const statusPort = 9890

// readNode reads nodes.<name>.
func readNode(v value) Node {
	n := Node{Name: v.name()}
	object([]value{v}, keys{
		"address":   into(&n.Address, asServiceAddress),
		"interface": into(&n.Interface, asInterface),
		"router_id": into(&n.RouterID, asRouterID),
		"bgp":       within(keys{"peers": into(&n.Peers, setOf(asRef(kindPeer)))}),
		"state":     into(&n.Drain, asState),
		"canary":    into(&n.Canary, asBool),
		"status":    into(&n.Status, asStatusURL),
	}, "address")
	if n.Status == "" && n.Address.IsValid() {
		n.Status = "http://" + netip.AddrPortFrom(n.Address, statusPort).String()
	}
	if !n.RouterID.IsValid() && n.Address.Is4() {
		n.RouterID = n.Address
	}
	return n
}

// asState reads active or drain and says whether it is drain.
func asState(v value) (bool, bool) {
	return oneOf(map[string]bool{"active": false, "drain": true})(v)
}

// asStatusURL reads where a status listener is reached: scheme, host and port.
func asStatusURL(v value) (string, bool) {
	return checked("a URL such as http://10.77.0.21:9890", func(text string) *refusal {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return &refusal{"is not the URL of a status listener", "write http://ADDRESS:PORT, as --listen of that node has it"}
		}
		return nil
	})(v)
}
