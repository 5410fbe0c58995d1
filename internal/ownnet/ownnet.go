// Package ownnet gives a package's tests on real programs a network namespace
// of their own. There, no other program takes a port that a test has found
// free, and no address or interface of another package's tests comes and goes
// (Chromium gives up its connections when one does).
//
//	func TestMain(m *testing.M) { os.Exit(ownnet.Run(m)) }
package ownnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// inside is set in the process that Run starts.
const inside = "VIPILOT_E2E_OWN_NETWORK"

// Run runs the tests and returns the exit code. With VIPILOT_E2E=1, which wants
// root, they run in a namespace that has nothing but a loopback; it ends with
// them.
func Run(m *testing.M) int {
	if os.Getenv("VIPILOT_E2E") != "1" {
		return m.Run()
	}
	if os.Getenv(inside) == "" {
		return again()
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loopback of the tests' network namespace:", err)
		return 1
	}
	return m.Run()
}

// again runs this program in a network namespace of its own, which ends with
// it; it gives the exit code.
func again() int {
	runtime.LockOSThread() // Pdeathsig looks at the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0], cmd.Env = os.Args[0], append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		fmt.Fprintln(os.Stderr, "network namespace for the tests (it needs root):", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}
