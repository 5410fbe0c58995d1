// Package faults is the fault matrix: whatever breaks, on real daemons in the
// lab's namespaces, while 500 requests a second come from beyond the router.
// Each fault is tried in every mode in which VIPs are placed and announced;
// what was lost is counted, bounded, and written into docs/faults.md by make
// faults. Beside the router stands a watch that compares, all the time, where
// the router sends the VIP with who answers there.
//
// With VIPILOT_E2E=1 alone a few cells are tried, with bounds for a busy
// machine, as a part of make test; with VIPILOT_FAULTS=all as well all of them
// and the figures, which takes half an hour and is make faults.
package faults
