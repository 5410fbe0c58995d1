package haproxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// ownNetwork is set in the process that TestMain starts.
const ownNetwork = "VIPILOT_E2E_OWN_NETWORK"

// TestMain runs the tests on the real HAProxy in a network namespace of their
// own. There, no other program takes the ports that they use, and no client of
// the tests does either: freePort stays below the ports the kernel gives.
func TestMain(m *testing.M) {
	if os.Getenv("VIPILOT_E2E") != "1" {
		os.Exit(m.Run())
	}
	if os.Getenv(ownNetwork) == "" {
		os.Exit(again())
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loopback of the tests' network namespace:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// again runs this program in a network namespace of its own, which ends with
// it; it gives the exit code.
func again() int {
	runtime.LockOSThread() // Pdeathsig looks at the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0], cmd.Env = os.Args[0], append(os.Environ(), ownNetwork+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		fmt.Fprintln(os.Stderr, "network namespace for the tests (it needs root):", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// firstPort and lastPort bound what freePort gives; freePorts begins above.
const firstPort, lastPort = 10000, 20000

var lastGiven atomic.Uint32

// freePort is a port of 127.0.0.1 nobody listens on, nor will: no other call
// gives it, and the kernel gives it to no client.
func freePort(t *testing.T) uint16 {
	t.Helper()
	n := listenAnywhere(t)
	defer n.Close()
	return uint16(n.Addr().(*net.TCPAddr).Port)
}

// listenAnywhere listens on a port as freePort gives it, which stays this
// test's when the listener is closed.
func listenAnywhere(t *testing.T) net.Listener {
	t.Helper()
	for range lastPort - firstPort {
		port := firstPort + lastGiven.Add(1)%(lastPort-firstPort)
		if n, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return n
		}
	}
	t.Fatal("no free port")
	return nil
}

// listenAgain listens where an application listened before.
func listenAgain(t *testing.T, address string) net.Listener {
	t.Helper()
	n, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
