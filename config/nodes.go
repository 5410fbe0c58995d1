package config

// readNode reads nodes.<name>.
func readNode(v value) Node {
	n := Node{Name: v.name()}
	object([]value{v}, keys{
		"address":   into(&n.Address, asServiceAddress),
		"interface": into(&n.Interface, asInterface),
		"router_id": into(&n.RouterID, asRouterID),
		"bgp":       within(keys{"peers": into(&n.Peers, setOf(asRef(kindPeer)))}),
		"state":     into(&n.Drain, asState),
	}, "address")
	if !n.RouterID.IsValid() && n.Address.Is4() {
		n.RouterID = n.Address
	}
	return n
}

// asState reads active or drain and says whether it is drain.
func asState(v value) (bool, bool) {
	return oneOf(map[string]bool{"active": false, "drain": true})(v)
}
