package sentinel

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/routing/routingtest"
)

const (
	fixed = "198.18.7.0/24" // announced while HAProxy lives
	vip   = "203.0.113.10"  // announced while held
	vip6  = "2001:db8::10"  // the same
)

// bench is a node with a real HAProxy, a sentinel process and a router.
type bench struct {
	*routingtest.Lab
	t      *testing.T
	dir    string
	client *remote.Client
	cancel context.CancelFunc
	gate   remote.Gate
	orders remote.Want // the last ones
}

func newBench(t *testing.T) *bench {
	t.Helper()
	l := routingtest.Enter(t)
	if l == nil {
		return nil
	}
	l.Start(` neighbor 10.77.30.1 remote-as 65010
 address-family ipv6 unicast
  neighbor 10.77.30.1 activate
 exit-address-family
`)
	b := &bench{Lab: l, t: t, dir: t.TempDir()}
	b.startHAProxy()
	t.Cleanup(func() {
		if p, err := supervise.Adopt(filepath.Join(b.dir, remote.Record)); err == nil {
			_ = p.Stop(syscall.SIGTERM, 5*time.Second)
		}
		log, _ := os.ReadFile(filepath.Join(b.dir, "log"))
		t.Logf("sentinel's log:\n%s", log)
	})
	b.connect()
	return b
}

// connect is the start of a controller; cancel its death. A sentinel
// that it starts begins once there is no file hold.
func (b *bench) connect() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	b.cancel = func() { cancel(); <-ended } // it starts nothing any more
	b.client = remote.NewClient(remote.ClientOptions{RunDir: b.dir, Spec: supervise.Spec{
		Path: "/bin/sh", Args: []string{"-c", `while [ -e "$0/hold" ]; do sleep 0.01; done; exec "$1" --as-sentinel "$0"`, b.dir, os.Args[0]},
		Log: filepath.Join(b.dir, "log"),
	}})
	go func(c *remote.Client) { defer close(ended); _ = c.Run(ctx) }(b.client)
	b.t.Cleanup(b.cancel)
}

func (b *bench) startHAProxy() {
	b.t.Helper()
	socket := filepath.Join(b.dir, "h.sock")
	config := filepath.Join(b.dir, "haproxy.cfg")
	text := "global\n stats socket " + socket + " mode 600 level admin\ndefaults\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n mode http\nfrontend f\n bind 127.0.0.1:8099\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command("haproxy", "-W", "-db", "-f", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	b.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); <-ended })
	b.Eventually("HAProxy answers", func() bool { return ping(socket) == nil })
	started, err := supervise.StartTime(cmd.Process.Pid)
	if err != nil {
		b.t.Fatal(err)
	}
	b.gate = remote.Gate{PID: cmd.Process.Pid, StartTime: started, Socket: socket}
}

func (b *bench) want() remote.Want {
	return remote.Want{
		Gate: b.gate, TrackFile: filepath.Join(b.dir, "track"),
		Routing: routing.Config{
			ASN: routingtest.ASN, RouterID: netip.MustParseAddr(routingtest.Node),
			Peers: []routing.Peer{{
				Name: "edge", Address: netip.MustParseAddr(routingtest.Router), ASN: routingtest.Peer,
				LocalAddress: netip.MustParseAddr(routingtest.Node), Password: "",
			}},
			Prefixes: []routing.Prefix{
				{Prefix: netip.MustParsePrefix(fixed), VIP: "fixed"},
				{Prefix: netip.MustParsePrefix(vip + "/32"), VIP: "v", WhileHeld: true},
				{Prefix: netip.MustParsePrefix(vip6 + "/128"), VIP: "v", WhileHeld: true},
			},
		},
	}
}

// set gives orders as a controller does: until they are taken. A sentinel that is
// to follow another may have to wait for its dead man's switch.
func (b *bench) set(want remote.Want) (changed bool) {
	b.t.Helper()
	b.orders = want
	b.Eventually("orders taken", func() bool {
		var err error
		if changed, err = b.client.Set(b.t.Context(), want); err != nil {
			b.t.Logf("orders: %v", err)
			time.Sleep(100 * time.Millisecond)
		}
		return err == nil
	})
	return changed
}

// state waits until the sentinel tells what is wanted of it.
func (b *bench) state(what string, wanted func(remote.State) bool) {
	b.t.Helper()
	b.Eventually(what, func() bool { s, ok := b.client.State(); return ok && wanted(s) })
}

func (b *bench) track() string {
	data, _ := os.ReadFile(filepath.Join(b.dir, "track"))
	return strings.TrimSpace(string(data))
}

// route waits until the router has (or lacks) the route.
func (b *bench) route(what, prefix string, has bool) {
	b.t.Helper()
	took := b.Eventually(fmt.Sprintf("%s: route to %s = %t", what, prefix, has), func() bool { return b.HasRoute(prefix) == has })
	b.t.Logf("%s: route to %s = %t after %s", what, prefix, has, took)
}

func TestE2EGate(t *testing.T) {
	b := newBench(t)
	if b == nil {
		return
	}
	b.set(b.want()) // the client's Run may have been first to hand the orders over
	if b.set(b.want()) {
		t.Error("the same orders changed something")
	}
	b.route("start", fixed, true)
	b.Eventually("track file", func() bool { return b.track() == "0" })
	if b.HasRoute(vip) || b.HasRoute(vip6) {
		t.Error("announced without the address")
	}
	for range 3 {
		routingtest.Run(t, "ip addr add "+vip+"/32 dev eth0")
		routingtest.Run(t, "ip addr add "+vip6+"/128 dev eth0 nodad")
		b.route("address add", vip, true)
		b.route("address add", vip6, true)
		routingtest.Run(t, "ip addr del "+vip+"/32 dev eth0")
		routingtest.Run(t, "ip addr del "+vip6+"/128 dev eth0")
		b.route("address del", vip, false)
		b.route("address del", vip6, false)
	}
	routingtest.Run(t, "ip addr add "+vip+"/32 dev lo")
	b.route("address add on lo", vip, true)

	b.cancel() // the controller dies; all below works without it
	routingtest.Kill(t, b.gate.PID, syscall.SIGKILL)
	took := b.Eventually("track file", func() bool { return b.track() == "1" })
	t.Logf("HAProxy kill -9: track file after %s", took)
	b.route("HAProxy kill -9", vip, false)
	b.route("HAProxy kill -9", fixed, false)

	b.startHAProxy()
	b.connect()
	b.set(b.want())
	b.Eventually("track file", func() bool { return b.track() == "0" })
	b.route("new HAProxy", vip, true)

	stop := syscall.Kill(-b.gate.PID, syscall.SIGSTOP)
	b.route("HAProxy hangs", vip, false)
	if stop != nil {
		t.Error(stop)
	}
	b.Eventually("track file", func() bool { return b.track() == "1" })
	b.state("that HAProxy does not answer", func(s remote.State) bool { return !s.HAProxyUp && strings.Contains(s.Error, "does not answer") })
	_ = syscall.Kill(-b.gate.PID, syscall.SIGCONT)
	b.route("HAProxy goes on", vip, true)

	if err := b.client.Close(t.Context()); err != nil {
		t.Error(err)
	}
	b.route("ordered end", vip, false)
	b.Eventually("track file after an ordered end", func() bool { return b.track() == "1" })
}

func TestE2ESentinelKilled(t *testing.T) {
	b := newBench(t)
	if b == nil {
		return
	}
	routingtest.Run(t, "ip addr add "+vip+"/32 dev lo")
	b.set(b.want())
	b.route("start", vip, true)
	if out, err := exec.Command(os.Args[0], "--as-sentinel", b.dir).CombinedOutput(); err == nil || !strings.Contains(string(out), "another one already runs") {
		t.Errorf("second sentinel: %v: %s", err, out)
	}
	for _, secret := range []string{remote.WantFile, remote.Socket} {
		if st, err := os.Stat(filepath.Join(b.dir, secret)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", secret, st.Mode(), err)
		}
	}
	// With a controller the sentinel comes back by itself.
	first, hold := b.client.Status().PID, filepath.Join(b.dir, "hold")
	if err := os.WriteFile(hold, nil, 0o600); err != nil { // or the next one might be sooner than we look
		t.Fatal(err)
	}
	routingtest.Kill(t, first, syscall.SIGKILL)
	took := b.Eventually("track file 1", func() bool { return b.track() == "1" })
	t.Logf("sentinel kill -9: track file 1 after %s", took)
	if err := os.Remove(hold); err != nil {
		t.Fatal(err)
	}
	took = b.Eventually("track file 0", func() bool { return b.track() == "0" })
	t.Logf("new sentinel: track file 0 after another %s", took)
	b.Eventually("new process", func() bool { p := b.client.Status().PID; return p != first && p != 0 })
	b.Eventually("announced again", func() bool {
		s, ok := b.client.State()
		return ok && s.Peers["edge"].State == "established" && len(s.Announced) == 2
	})
	b.route("new sentinel", vip, true)

	// Without one it stays dead: routes gone, node in fault.
	pid := b.client.Status().PID
	b.cancel()
	routingtest.Kill(t, pid, syscall.SIGKILL)
	b.route("sentinel kill -9, no controller", vip, false)
	b.Eventually("track file 1", func() bool { return b.track() == "1" })
	// Started by hand, it takes up its last orders.
	cmd := exec.Command(os.Args[0], "--as-sentinel", b.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	b.route("sentinel without a controller", vip, true)
	b.Eventually("track file 0", func() bool { return b.track() == "0" })
}
