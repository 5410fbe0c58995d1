// Package faults is the fault matrix: whatever breaks, on real daemons in the
// lab's namespaces, while 500 requests a second come from beyond the router.
// Each fault is tried in every mode in which VIPs are placed and announced;
// what was lost is counted, bounded, and written into docs/faults.md by make
// faults. Beside the router stands a watch that compares, all the time, where
// the router sends the VIP with who answers there.
//
// With VIPILOT_E2E=1 alone the quick faults of the matrix run, with
// VIPILOT_FAULTS=all as well all of it. It takes long, so make test leaves it to
// make faults.
package faults
