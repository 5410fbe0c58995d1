package frr

import "maps"

// versions are those of OSPF's daemons.
var versions = map[string]int{"ospfd": 2, "ospf6d": 3}

// silenced notes that a daemon has ended by itself. Its sessions have ended with
// it, which is known at once and not only when somebody looks again. Who looked in
// between, and had no answer, does not make it a daemon without sessions.
func (s *Speaker) silenced(name string) {
	if !s.standing[name] {
		return
	}
	s.mute[name] = true
	delete(s.standing, name)
	if name == "bgpd" {
		s.seen.peers = s.peerStates(nil, s.seen.bfd)
		return
	}
	left := maps.Clone(s.seen.neighbors)
	for key, n := range left {
		if n.Version == versions[name] {
			delete(left, key)
		}
	}
	s.seen.neighbors = left
}

// heardBy reports whether a daemon has a session with any router.
func (s *Speaker) heardBy(name string) bool {
	for _, p := range s.seen.peers {
		if name == "bgpd" && p.State == "established" {
			return true
		}
	}
	for _, n := range s.seen.neighbors {
		if n.Version == versions[name] && n.State == "full" {
			return true
		}
	}
	return false
}

// hear takes note of who has sessions, of those that answer, and of who has some
// again.
func (s *Speaker) hear() {
	for name, d := range s.daemons {
		if d.vty != nil && !d.ended() {
			s.standing[name] = s.heardBy(name)
		}
	}
	for name := range s.mute {
		if s.heardBy(name) {
			delete(s.mute, name)
		}
	}
}

// Mute reports, by protocol, that a daemon has ended under its sessions, and that
// the one that was started in its place has none yet: routers have dropped what
// it announced.
func (s *Speaker) Mute() (bgp, ospf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want.OSPF != nil {
		for _, p := range s.want.OSPF.Prefixes {
			ospf = ospf || s.mute["ospfd"] && p.Prefix.Addr().Is4() || s.mute["ospf6d"] && p.Prefix.Addr().Is6()
		}
	}
	return s.mute["bgpd"], ospf
}
