// Package e2e holds the scenarios that prove vipilot on real daemons: each test
// changes something in the lab (package lab) and asserts what a client, a
// router or a reader of the status sees. They run where VIPILOT_E2E=1 is set,
// as make test does; then whatever cannot run fails.
package e2e
