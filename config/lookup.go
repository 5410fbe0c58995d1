package config

import "slices"

// Node gives the node of that name.
func (c *Config) Node(name string) (Node, bool) {
	return find(c.Nodes, func(n *Node) bool { return n.Name == name })
}

// Host gives the host of that name.
func (c *Config) Host(name string) (Host, bool) {
	return find(c.Hosts, func(h *Host) bool { return h.Name == name })
}

// VIP gives the VIP of that name.
func (c *Config) VIP(name string) (VIP, bool) {
	return find(c.VIPs, func(v *VIP) bool { return v.Name == name })
}

// Service gives the service of that name.
func (c *Config) Service(name string) (Service, bool) {
	return find(c.Services, func(s *Service) bool { return s.Name == name })
}

// PeersOf gives the BGP peers the node uses, sorted by name.
func (c *Config) PeersOf(node Node) []Peer {
	if c.Routing.BGP == nil {
		return nil
	}
	if node.Peers == nil {
		return c.Routing.BGP.Peers
	}
	var peers []Peer
	for _, p := range c.Routing.BGP.Peers {
		if slices.Contains(node.Peers, p.Name) {
			peers = append(peers, p)
		}
	}
	return peers
}

func find[T any](list []T, is func(*T) bool) (T, bool) {
	for i := range list {
		if is(&list[i]) {
			return list[i], true
		}
	}
	var none T
	return none, false
}
