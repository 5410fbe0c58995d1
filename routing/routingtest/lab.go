// Package routingtest builds a node and a real router (FRR) in two network
// namespaces, for tests that are asked for with VIPILOT_E2E=1. It needs root
// and FRR, and removes all that it made.
package routingtest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Addresses of the lab: the node, and the router on the same wire.
const (
	Node               = "10.77.30.1"
	Router             = "10.77.30.2"
	Router2            = "10.77.30.3"               // a second address of the router
	FarNode, FarRouter = "10.77.31.1", "10.77.31.2" // StartFar's, not on the wire
	Node6              = "2001:db8:30::1"
	Router6            = "2001:db8:30::2"
	ASN                = 65010 // the node's
	Peer               = 65000 // the router's

	inside   = "VIPILOT_E2E_INSIDE"
	nodeNS   = "vipilot-routing-a"
	routerNS = "vipilot-routing-b"
)

// Lab is the router as the test sees it from the node's namespace.
type Lab struct{ t *testing.T }

// within runs a program in another system's tree.
const within = `set -e; mount --bind "$0" "$0"; for dir in dev proc run sys tmp; do mount --rbind "/$dir" "$0/$dir"; done; exec chroot "$0" "$@"`

// Enter runs the calling test once more inside the node's namespace, where
// the second run gets a Lab; the first gets nil and should return. With
// VIPILOT_E2E_ROOT the second run has the programs of that tree, such as the
// FRR 10 of e2e/trixie, for node and router.
func Enter(t *testing.T) *Lab {
	t.Helper()
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run against real daemons (root)")
	}
	if os.Getenv(inside) == t.Name() {
		return &Lab{t}
	}
	lock(t)
	wire(t)
	words := []string{"netns", "exec", nodeNS}
	if root := os.Getenv("VIPILOT_E2E_ROOT"); root != "" {
		words = append(words, "sh", "-c", within, root) // in a mount namespace, as ip netns exec makes one
	}
	words = append(words, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd := exec.CommandContext(t.Context(), "ip", words...)
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("inside %s: %v", nodeNS, err)
	}
	return nil
}

// lock keeps test binaries of several packages out of each other's namespaces,
// until all that the test does afterwards to remove its own is done. It is taken
// on a directory that is there anyway, so nothing is left behind.
func lock(t *testing.T) {
	t.Helper()
	f, err := os.Open(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatalf("wait for the tests of other packages: %v", err)
	}
}

func wire(t *testing.T) {
	t.Helper()
	remove := func() {
		for _, ns := range []string{nodeNS, routerNS} {
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
	}
	remove() // left by a run that was killed
	t.Cleanup(remove)
	for _, line := range []string{
		"ip netns add " + nodeNS,
		"ip netns add " + routerNS,
		// Link-local addresses are ready at once: FRR drops what names one in doubt.
		"ip netns exec " + nodeNS + " sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0",
		"ip netns exec " + routerNS + " sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0",
		"ip link add eth0 netns " + nodeNS + " type veth peer name eth0 netns " + routerNS,
		"ip -n " + nodeNS + " addr add " + Node + "/24 dev eth0",
		"ip -n " + nodeNS + " addr add " + Node6 + "/64 dev eth0 nodad",
		"ip -n " + routerNS + " addr add " + Router + "/24 dev eth0",
		"ip -n " + routerNS + " addr add " + Router2 + "/24 dev eth0",
		"ip -n " + routerNS + " addr add " + Router6 + "/64 dev eth0 nodad",
		"ip -n " + nodeNS + " link set lo up",
		"ip -n " + routerNS + " link set lo up",
		"ip -n " + nodeNS + " link set eth0 up",
		"ip -n " + routerNS + " link set eth0 up",
	} {
		Run(t, line)
	}
}

// Run runs a command line without quotes and returns its output.
func Run(t testing.TB, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	words := strings.Fields(line)
	out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// Kill sends sig to a process, never to 0, which is all that the test belongs to.
func Kill(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("%v: there is no process %d", sig, pid)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("%v to process %d: %v", sig, pid, err)
	}
}

// Start runs FRR's zebra and bgpd with the given lines under `router bgp`.
// Both end with the test.
func (l *Lab) Start(lines string) {
	l.t.Helper()
	l.StartDaemons(map[string]string{"bgpd": "router bgp " + strconv.Itoa(Peer) + "\n bgp router-id " + Router +
		"\n no bgp ebgp-requires-policy\n no bgp network import-check\n timers bgp 3 9\n" + lines})
}

// StartDaemons runs zebra and those of FRR's daemons whose configuration is
// given. They end with the test.
func (l *Lab) StartDaemons(configs map[string]string) {
	l.t.Helper()
	conf, run := "/etc/frr/"+routerNS, "/var/run/frr/"+routerNS
	l.t.Cleanup(func() { os.RemoveAll(conf); os.RemoveAll(run) })
	for _, dir := range []string{conf, run} {
		os.RemoveAll(dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	all := maps.Clone(configs)
	all["zebra"], all["vtysh"] = "", ""
	for name, content := range all {
		if err := os.WriteFile(filepath.Join(conf, name+".conf"), []byte(content), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	chown(l.t, conf, run)
	if _, err := os.Stat("/usr/lib/frr/mgmtd"); err == nil { // FRR 10's zebra does nothing else but look for it
		l.daemon("mgmtd")
		l.Eventually("mgmtd's socket", func() bool { _, err := os.Stat(run + "/mgmtd_be.sock"); return err == nil })
	}
	l.daemon("zebra", "-f", conf+"/zebra.conf")
	l.Eventually("zebra's socket", func() bool { _, err := os.Stat(run + "/zserv.api"); return err == nil })
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		l.daemon(name, "-f", filepath.Join(conf, name+".conf"))
		l.Eventually(name+"'s socket", func() bool { _, err := os.Stat(run + "/" + name + ".vty"); return err == nil })
	}
}

func chown(t *testing.T, dirs ...string) {
	t.Helper()
	frr, err := user.Lookup("frr")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(frr.Uid)
	gid, _ := strconv.Atoi(frr.Gid)
	for _, dir := range dirs {
		_ = filepath.Walk(dir, func(p string, _ os.FileInfo, _ error) error { return os.Chown(p, uid, gid) })
	}
}

func (l *Lab) daemon(name string, args ...string) {
	l.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", routerNS, "/usr/lib/frr/" + name, "-N", routerNS, "--log", "stdout"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// StartFar is Start for a router that also has a session with the node between
// addresses that are not on the wire.
func (l *Lab) StartFar(lines string) {
	l.t.Helper()
	for _, line := range []string{
		"ip addr add " + FarNode + "/32 dev lo", "ip route add " + FarRouter + " via " + Router,
		"ip -n " + routerNS + " addr add " + FarRouter + "/32 dev lo", "ip -n " + routerNS + " route add " + FarNode + " via " + Node,
	} {
		Run(l.t, line)
	}
	far := " neighbor " + FarNode + " "
	l.Start(far + "remote-as " + strconv.Itoa(ASN) + "\n" + far + "ebgp-multihop 3\n" + far + "update-source " + FarRouter + "\n" + lines)
}

// Ask is `vtysh -c line` on the router.
func (l *Lab) Ask(line string) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "vtysh", "-N", routerNS, "-c", line).CombinedOutput()
	if err != nil {
		return "vtysh: " + err.Error() + ": " + string(out)
	}
	return string(out)
}

// Configure gives lines to the router at run time, under `router bgp`.
func (l *Lab) Configure(lines ...string) {
	l.t.Helper()
	args := []string{"-N", routerNS, "-c", "configure terminal", "-c", "router bgp " + strconv.Itoa(Peer)}
	for _, line := range lines {
		args = append(args, "-c", line)
	}
	if out, err := exec.Command("vtysh", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("vtysh: %v: %s", err, out)
	}
}

// session is the router's with a peer.
type session struct {
	State                  string `json:"bgpState"`
	ConnectionsEstablished int
}

func (l *Lab) session(peer string) session {
	l.t.Helper()
	var all map[string]session
	if said := l.Ask("show bgp neighbors json"); json.Unmarshal([]byte(said), &all) != nil {
		l.t.Fatalf("the router's sessions: %s", said)
	}
	return all[peer]
}

// Established waits until a session stands at both ends, for the node as up
// says, and returns how often the router's has come up so far: where both ends
// dial at once one of the two connections is closed, by the router at times
// when it stood for one of them already.
func (l *Lab) Established(peer string, up func() bool) (times int) {
	l.t.Helper()
	l.Eventually("session with "+peer+" at both ends", func() bool {
		s := l.session(peer)
		times = s.ConnectionsEstablished
		return s.State == "Established" && up()
	})
	return times
}

// Establishments is how often the router's session with a peer has come up; to
// be compared with what Established said before a change.
func (l *Lab) Establishments(peer string) int {
	l.t.Helper()
	return l.session(peer).ConnectionsEstablished
}

// HasRoute reports whether the router's kernel has a BGP route to prefix.
func (l *Lab) HasRoute(prefix string) bool {
	l.t.Helper()
	return l.HasRouteBy("bgp", prefix)
}

// HasRouteBy is HasRoute for another protocol, such as ospf.
func (l *Lab) HasRouteBy(protocol, prefix string) bool {
	l.t.Helper()
	family := "-4"
	if strings.Contains(prefix, ":") {
		family = "-6"
	}
	return strings.Contains(Run(l.t, "ip -n "+routerNS+" "+family+" route show "+prefix+" proto "+protocol), "via")
}

// patience is far above what anything takes, also on a machine with no time to
// spare: only what never comes takes so long.
const patience = time.Minute

// Eventually waits until done says so and returns how long it took.
func (l *Lab) Eventually(what string, done func() bool) time.Duration {
	l.t.Helper()
	start := time.Now()
	for !done() {
		if time.Since(start) > patience {
			l.t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start).Round(time.Millisecond)
}
