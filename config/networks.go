package config

// readNetwork reads networks.<name>.
func readNetwork(v value) Network {
	n := Network{Name: v.name()}
	object([]value{v}, keys{"direct": intoNew(&n.Direct, asBool)})
	return n
}
