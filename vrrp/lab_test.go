package vrrp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// needRealDaemons lets a test go on only where real ones may be used.
func needRealDaemons(t *testing.T) {
	t.Helper()
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run against keepalived in network namespaces (as root)")
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// labs counts those of this run, which may be there at the same time.
var labs atomic.Uint32

// namespace makes a network namespace for the time of the test.
func namespace(t *testing.T, name string) {
	t.Helper()
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("delete namespace %s: %v: %s", name, err, out)
		}
	})
	run(t, "ip", "-n", name, "link", "set", "lo", "up")
}

// lab is two nodes and a client on one switch, beside those of other tests.
type lab struct {
	number uint32
	nodes  [2]*node
}

// ns is the name of one of its namespaces, and of no other run's.
func (l *lab) ns(of string) string { return fmt.Sprintf("vrrp-%d-%d-%s", os.Getpid(), l.number, of) }

func newLab(t *testing.T) *lab {
	t.Helper()
	needRealDaemons(t)
	l := &lab{number: labs.Add(1)}
	wire, client := l.ns("sw"), l.ns("c")
	namespace(t, wire)
	run(t, "ip", "-n", wire, "link", "add", "br0", "type", "bridge")
	run(t, "ip", "-n", wire, "link", "set", "br0", "up")
	for i, ns := range []string{l.ns("1"), l.ns("2"), client} {
		namespace(t, ns)
		port := fmt.Sprintf("port%d", i+1)
		run(t, "ip", "-n", wire, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns)
		run(t, "ip", "-n", wire, "link", "set", port, "master", "br0", "up")
		run(t, "ip", "-n", ns, "addr", "add", fmt.Sprintf("10.77.90.%d/24", i+1), "dev", "eth0")
		run(t, "ip", "-n", ns, "addr", "add", fmt.Sprintf("2001:db8:90::%d/64", i+1), "dev", "eth0", "nodad")
		run(t, "ip", "-n", ns, "link", "set", "eth0", "up")
	}
	run(t, "ip", "-n", client, "route", "add", "203.0.113.0/24", "dev", "eth0")
	run(t, "ip", "-n", client, "route", "add", "2001:db8::/64", "dev", "eth0")
	// Until its link-local address is usable, keepalived cannot send IPv6 adverts.
	for _, ns := range []string{l.ns("1"), l.ns("2")} {
		eventually(t, "link-local address of "+ns, func() bool {
			links := run(t, "ip", "-n", ns, "-6", "addr", "show", "dev", "eth0", "scope", "link")
			return strings.Contains(links, "fe80:") && !strings.Contains(links, "tentative")
		})
	}
	for i := range l.nodes {
		l.nodes[i] = newNode(t, l.ns(strconv.Itoa(i+1)))
	}
	t.Cleanup(func() {
		var ends sync.WaitGroup
		for _, n := range l.nodes {
			ends.Go(n.end) // a second each, which is keepalived's
		}
		ends.Wait()
	})
	return l
}

// node is one machine: all its controllers' calls are made in its namespace.
type node struct {
	attach bool // its controllers attach to what somebody else starts
	t      *testing.T
	ns     string
	dir    string
	track  string
	binary string
	k      *Keepalived
	quit   context.CancelFunc
	ended  chan struct{}

	mu    sync.Mutex
	heard []RoleChange
}

func newNode(t *testing.T, ns string) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{t: t, ns: ns, dir: filepath.Join(dir, "keepalived"), track: filepath.Join(dir, "track")}
	n.write("0")
	n.controller()
	return n
}

// end stops keepalived and the controller.
func (n *node) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.inside(func() error { return n.k.Close(ctx) }); err != nil {
		n.t.Errorf("close: %v", err)
	}
	n.die()
	if n.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(n.dir, logFile))
		n.t.Logf("%s: keepalived's log:\n%s", n.ns, log)
	}
}

// inside calls f on a thread of its own in the node's namespace. The thread
// ends with f, since it never gets unlocked.
func (n *node) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		handle, err := netns.GetFromName(n.ns)
		if err != nil {
			done <- err
			return
		}
		defer handle.Close()
		if err := netns.Set(handle); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// controller starts a new controller, as after an upgrade or a crash.
func (n *node) controller() {
	ctx, quit := context.WithCancel(context.Background())
	k := New(Options{RunDir: n.dir, Binary: n.binary, Attach: n.attach, Logger: slog.New(slog.NewTextHandler(n.t.Output(), nil)).With("node", n.ns)})
	n.k, n.quit, n.ended = k, quit, make(chan struct{})
	go func() {
		defer close(n.ended)
		if err := n.inside(func() error { return k.Run(ctx) }); err != nil {
			n.t.Errorf("run: %v", err)
		}
	}()
	go func() {
		for {
			select {
			case c := <-k.Roles():
				n.mu.Lock()
				n.heard = append(n.heard, c)
				n.mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	}()
}

// die ends the controller and leaves keepalived alone.
func (n *node) die() {
	n.quit()
	<-n.ended
}

func (n *node) set(c Config) (changed bool) {
	n.t.Helper()
	err := n.inside(func() (err error) {
		changed, err = n.k.Set(n.t.Context(), c)
		return err
	})
	if err != nil {
		n.t.Fatalf("%s: set: %v", n.ns, err)
	}
	return changed
}

// config is the wanted state of this node with the given instances.
func (n *node) config(priority uint8, instances ...Instance) Config {
	c := Config{Node: n.ns, TrackFile: n.track}
	for _, i := range instances {
		i.Priority, i.Interface = priority, "eth0"
		c.Instances = append(c.Instances, i)
	}
	return c
}

// write changes the track file in one step, as the sentinel does.
func (n *node) write(content string) {
	n.t.Helper()
	if err := os.WriteFile(n.track+".tmp", []byte(content), 0o644); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(n.track+".tmp", n.track); err != nil {
		n.t.Fatal(err)
	}
}

// addresses lists what the node's interfaces hold beyond its own.
func (n *node) addresses() []string {
	n.t.Helper()
	var all []string
	for line := range strings.Lines(run(n.t, "ip", "-n", n.ns, "-o", "addr", "show")) {
		prefix := strings.Fields(line)[3]
		if strings.HasSuffix(prefix, "/32") || strings.HasSuffix(prefix, "/128") && prefix != "::1/128" {
			all = append(all, prefix)
		}
	}
	slices.Sort(all)
	return all
}

// roles gives the roles heard of one instance so far.
func (n *node) roles(instance string) []Role {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []Role
	for _, c := range n.heard {
		if c.Instance == instance {
			all = append(all, c.Role)
		}
	}
	return all
}

// is reports whether role is the instance's, and the last one heard.
func (n *node) is(instance string, role Role) bool {
	heard := n.roles(instance)
	return n.k.Role(instance) == role && len(heard) > 0 && heard[len(heard)-1] == role
}

// last gives the last change heard.
func (n *node) last() RoleChange {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.heard) == 0 {
		return RoleChange{}
	}
	return n.heard[len(n.heard)-1]
}

// pids of keepalived's two processes.
func (n *node) pids() (parent, child int) {
	return readPID(filepath.Join(n.dir, pidFile)), readPID(filepath.Join(n.dir, childFile))
}

// patience is far above what anything takes, also on a machine with no time to
// spare: only what never comes takes so long.
const patience = time.Minute

// eventually polls until fact holds.
func eventually(t *testing.T, what string, fact func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !fact() {
		if time.Since(start) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond) // a fact may cost a process
	}
	return time.Since(start)
}

// elect sets the same instances on both nodes and waits until node 0 is master
// and has the addresses. Without preemption whoever is first stays it.
func (l *lab) elect(t *testing.T, instances ...Instance) {
	t.Helper()
	a, b := l.nodes[0], l.nodes[1]
	for i, n := range l.nodes {
		n.set(n.config(uint8(150-50*i), instances...))
		for _, one := range instances {
			if n == a && !one.Preempt {
				eventually(t, one.Name+" is the first node's", func() bool { return a.is(one.Name, Master) })
			}
		}
	}
	for _, i := range instances {
		eventually(t, i.Name+" elected", func() bool { return a.is(i.Name, Master) && b.is(i.Name, Backup) })
	}
	eventually(t, "the addresses are there", func() bool { return len(a.addresses()) > 0 && len(b.addresses()) == 0 })
}

// probing asks the client every 10 ms whether target answers, until the
// returned function is called, which tells how often it did not. Nothing
// listens there: a refused connection is an answer, silence is none. A machine
// that halts for a moment has its answer late; what was lost is asked for again
// by TCP, after a second, and counts.
func (l *lab) probing(t *testing.T, target string) (lost func() int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var asked, unanswered int
	done := make(chan error, 1)
	client := &node{ns: l.ns("c")}
	go func() {
		done <- client.inside(func() error {
			for tick := time.Tick(10 * time.Millisecond); ; {
				_, err := net.DialTimeout("tcp", net.JoinHostPort(target, "9"), 900*time.Millisecond)
				if asked++; !errors.Is(err, syscall.ECONNREFUSED) {
					unanswered++
				}
				select {
				case <-tick:
				case <-ctx.Done():
					return nil
				}
			}
		})
	}()
	enough := time.After(500 * time.Millisecond)
	return func() int {
		t.Helper()
		<-enough
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: asked %d times, %d without an answer", target, asked, unanswered)
		return unanswered
	}
}
