package haproxy

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/vipilot/vipilot/internal/ownnet"
)

// TestMain runs the tests on the real HAProxy in a network of their own. Clients
// of the tests do not take each other's ports there either: freePort stays below
// the ports the kernel gives.
func TestMain(m *testing.M) { os.Exit(ownnet.Run(m)) }

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
