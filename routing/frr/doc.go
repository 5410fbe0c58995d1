// Package frr makes FRR announce: BGP where the configuration asks for it,
// OSPF always, and BFD beside another speaker's sessions. It renders the
// wanted state as one frr.conf and brings the running daemons there line by
// line over their vty sockets, so nothing that stays is disturbed. Managed, it
// starts daemons of its own in the run directory, which outlive it and are
// adopted again; attached, it adds what is ours to daemons of somebody else
// and touches nothing there that is not. Whether a prefix may be announced is
// decided by the caller.
//
//	s := frr.New(frr.Options{RunDir: "/run/vipilot/frr", Logger: log})
//	changed, err := s.Set(ctx, want)
package frr
