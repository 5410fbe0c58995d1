package lab

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// order is that in which FRR's daemons are started.
var order = []string{"zebra", "bfdd", "bgpd", "ospfd"}

// StartDaemon starts one of the router's daemons on the file it had, unless it
// runs, and waits until it answers.
func (r *Router) StartDaemon(ctx context.Context, name string) error {
	if d := r.running[name]; d != nil && !d.hasEnded() {
		return nil
	}
	if name == bird {
		return r.startBIRD(ctx)
	}
	d, err := r.daemon(nil, filepath.Join(filepath.Dir(zebra), name), "-A", "127.0.0.1")
	if err != nil {
		return err
	}
	r.running[name] = d
	err = Poll(ctx, Patience, func(ctx context.Context) error {
		_, err := r.Run(ctx, "vtysh", "-d", name, "-c", "show version")
		return err
	})
	if err != nil {
		return fmt.Errorf("start %s: %w\n%s", name, err, d.tail(5))
	}
	if name == "bgpd" && r.guarded {
		return r.guard(ctx, "", " 3 100 100")
	}
	return nil
}

// KillDaemon ends one of the router's daemons with SIGKILL.
func (r *Router) KillDaemon(name string) {
	if d := r.running[name]; d != nil {
		d.Kill()
	}
}

// Daemons are the names of those that run, in the order of their start.
func (r *Router) Daemons() []string {
	var names []string
	for _, name := range append(slices.Clone(order), bird) {
		if d := r.running[name]; d != nil && !d.hasEnded() {
			names = append(names, name)
		}
	}
	return names
}

// Crash ends every routing daemon and forgets what they have learned, as a
// router does that reboots; it returns what starts those again that ran.
func (r *Router) Crash(ctx context.Context) (restart func(context.Context) error, err error) {
	names := r.Daemons()
	for name := range maps.Keys(r.running) {
		r.KillDaemon(name)
	}
	err = r.forget(ctx)
	return func(ctx context.Context) error {
		for _, name := range names {
			if err := r.StartDaemon(ctx, name); err != nil {
				return err
			}
		}
		return nil
	}, err
}

// forget removes every learned route from the router's kernel. A daemon that
// ends may be removing them as well, and then the kernel refuses one of the two.
func (r *Router) forget(ctx context.Context) error {
	const script = `ip nexthop flush >/dev/null 2>&1 # zebra's; they go with their routes
for family in -4 -6; do for protocol in bgp ospf bird; do
ip $family route flush proto $protocol 2>/dev/null; ip $family route show proto $protocol
done; done`
	return Poll(ctx, Patience, func(ctx context.Context) error {
		left, err := r.Run(ctx, "sh", "-c", script)
		if err == nil && left != "" {
			err = fmt.Errorf("the router still has %s", left)
		}
		return err
	})
}

// StartOSPF has the router speak OSPFv2 towards the nodes, besides BGP, until
// the daemon is killed.
func (r *Router) StartOSPF(ctx context.Context) (*Daemon, error) { return r.startOSPF(ctx, "") }

// StartGuardedOSPF is StartOSPF with BFD, until undo is called. Three times 60 ms
// are over before an election of 100 ms adverts can be: see docs/routing.md.
func (r *Router) StartGuardedOSPF(ctx context.Context) (undo func(), err error) {
	const profile = "bfd\n profile lab\n  detect-multiplier 3\n  receive-interval 60\n  transmit-interval 60\n"
	if err := r.file(ctx, "/etc/frr/bfdd.conf", profile); err != nil {
		return nil, err
	}
	if err := r.StartDaemon(ctx, "bfdd"); err != nil {
		return nil, err
	}
	_, err = r.startOSPF(ctx, " ip ospf bfd\n ip ospf bfd profile lab\n")
	return func() {
		r.KillDaemon("ospfd")
		r.KillDaemon("bfdd")
		_, _ = r.Run(context.Background(), "rm", "-f", "/etc/frr/bfdd.conf")
	}, err
}

// startOSPF makes the router the designated one: nodes have the usual priority.
func (r *Router) startOSPF(ctx context.Context, more string) (*Daemon, error) {
	conf := `interface eth0
 ip ospf area 0
 ip ospf hello-interval 1
 ip ospf dead-interval 4
 ip ospf priority 10
` + more + `router ospf
 ospf router-id ` + RouterAddress + `
 timers throttle spf 0 50 200
 timers throttle lsa all 0
 timers lsa min-arrival 0
`
	if err := r.file(ctx, "/etc/frr/ospfd.conf", conf); err != nil {
		return nil, err
	}
	err := r.StartDaemon(ctx, "ospfd")
	return r.running["ospfd"], err
}

// GuardPeers has the router watch both nodes' IPv4 sessions by BFD, 100 ms
// times 3, until undo is called.
func (r *Router) GuardPeers(ctx context.Context) (undo func(), err error) {
	if err := r.StartDaemon(ctx, "bfdd"); err != nil {
		return nil, err
	}
	r.guarded = true
	return func() {
		r.guarded = false
		_ = r.guard(context.Background(), "no ", "")
		r.KillDaemon("bfdd")
	}, r.guard(ctx, "", " 3 100 100")
}

// guard tells bgpd of BFD; it may have to find its bfdd first.
func (r *Router) guard(ctx context.Context, word, timers string) error {
	args := []string{"-d", "bgpd", "-c", "configure terminal", "-c", fmt.Sprintf("router bgp %d", RouterASN)}
	for _, node := range []string{"10.77.0.21", "10.77.0.22"} {
		args = append(args, "-c", word+"neighbor "+node+" bfd"+timers)
	}
	return Poll(ctx, Patience, func(ctx context.Context) error {
		_, err := r.Run(ctx, "vtysh", args...)
		return err
	})
}

// file writes a daemon's configuration on the router.
func (r *Router) file(ctx context.Context, name, content string) error {
	owner := "frr:frr"
	if strings.HasPrefix(name, "/etc/bird/") {
		owner = "root:root"
	}
	_, err := r.run(ctx, strings.NewReader(content), "sh", "-c", `cat > "$0" && chown "$1" "$0"`, name, owner)
	return err
}
