package vrrp

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// quick has roles move as soon as may be. On a busy machine a backup may take a
// late advert for a dead master, and hand back: good where a state is waited for.
func quick(i Instance) Instance {
	i.AdvertInterval = 100 * time.Millisecond
	return i
}

// steady is for tests in which roles must stay where they are: the machine may
// halt for a second, and no backup takes that for its master's death.
func steady(i Instance) Instance {
	i.AdvertInterval = 300 * time.Millisecond
	return i
}

// masterDown is longer than a steady backup waits for its master, which is
// three adverts and a part of one.
const masterDown = 1300 * time.Millisecond

func TestRealParser(t *testing.T) {
	needRealDaemons(t)
	t.Parallel()
	l := newLab(t)
	n := l.nodes[0]
	for name := range goodConfigs() {
		err := n.inside(func() error { return Check(t.Context(), "", filepath.Join("testdata", name+".conf")) })
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	data, err := os.ReadFile("testdata/plain.conf")
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.conf")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(data), "203.0.113.10", "203.0.113.310", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	err = n.inside(func() error { return Check(t.Context(), "", broken) })
	if err == nil || !strings.Contains(err.Error(), "203.0.113.310") {
		t.Errorf("the broken file: %v", err)
	}
	// A refused file leaves everything as it was.
	bad := n.config(150, public())
	bad.Instances[0].Interface = "eth7"
	err = n.inside(func() error { _, err := n.k.Set(t.Context(), bad); return err })
	if !errors.Is(err, ErrNoInterface) || !strings.Contains(err.Error(), "eth7") || n.k.Status().Running || n.k.Status().Err == nil {
		t.Errorf("set of a missing interface: %v, %+v", err, n.k.Status())
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.nodes[0], l.nodes[1]
	l.elect(t, steady(public()))
	want := []string{"169.254.118.51/32", "2001:db8::10/128", "203.0.113.10/32"}
	eventually(t, "the master holds all", func() bool { return slices.Equal(a.addresses(), want) })
	if got := b.addresses(); len(got) != 0 {
		t.Errorf("backup holds %v", got)
	}
	if flags := run(t, "ip", "-n", a.ns, "-6", "-o", "addr", "show", "dev", "eth0", "to", "2001:db8::10"); strings.Contains(flags, "tentative") || !strings.Contains(flags, "nodad") {
		t.Errorf("the IPv6 address: %s", flags)
	}

	start := time.Now()
	a.write("1\n")
	eventually(t, "fault here, master there", func() bool { return a.is("public", Fault) && b.is("public", Master) })
	t.Logf("track file 1: fault heard after %v, peer master after %v", a.last().At.Sub(start), b.last().At.Sub(start))
	eventually(t, "addresses moved", func() bool { return len(a.addresses()) == 0 && len(b.addresses()) == 3 })
	a.write("0\n")
	t.Logf("track file 0: master again after %v", eventually(t, "back", func() bool { return a.is("public", Master) && b.is("public", Backup) }))

	start = time.Now()
	if err := a.inside(func() error { return a.k.Close(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "peer takes over", func() bool { return b.is("public", Master) })
	t.Logf("Close: peer master after %v, Close took %v", b.last().At.Sub(start), time.Since(start))
	if len(a.addresses()) != 0 || a.k.Status().Running {
		t.Errorf("after Close: %v, %+v", a.addresses(), a.k.Status())
	}
}

// How long from the write that makes keepalived decide, to the reader: nobody
// looks from time to time, so it is sooner than an election, mostly.
func TestRoleLatency(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.nodes[0]
	a.set(a.config(150, quick(public())))
	eventually(t, "master", func() bool { return a.is("public", Master) })
	const rounds = 15
	var faults, elections []time.Duration
	for range rounds {
		start := time.Now()
		a.write("1")
		eventually(t, "fault", func() bool { return a.last().Role == Fault })
		faults = append(faults, a.last().At.Sub(start))
		start = time.Now()
		a.write("0")
		eventually(t, "master", func() bool { return a.last().Role == Master })
		elections = append(elections, a.last().At.Sub(start))
	}
	slices.Sort(faults)
	slices.Sort(elections)
	t.Logf("track file written to role known: median of %d %v, worst %v; elections: median %v", rounds, faults[rounds/2], faults[rounds-1], elections[rounds/2])
	if faults[rounds/2] > elections[rounds/2] {
		t.Errorf("a fault is known after %v, a whole election takes %v", faults, elections)
	}
}

// The nodes read a new revision at different times: nobody else may notice.
func TestOneSidedRevisions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.nodes[0], l.nodes[1]
	one, two := steady(public()), steady(intra())
	l.elect(t, one)
	more := one
	more.Addresses = addrs("203.0.113.10", "203.0.113.11", "2001:db8::10", "2001:db8::11")
	less := one
	less.Addresses = addrs("203.0.113.10")
	lost := l.probing(t, "203.0.113.10")
	before := len(a.roles("public")) + len(b.roles("public"))
	for _, step := range []struct {
		name      string
		instances []Instance
	}{{"address added", []Instance{more}}, {"addresses removed", []Instance{less}}, {"VIP added", []Instance{two, less}}, {"VIP removed", []Instance{less}}} {
		for i, n := range []*node{a, b} {
			n.set(n.config(uint8(150-50*i), step.instances...))
			// Long enough for a second master to show up.
			quiet(t, step.name+" on "+n.ns, func() bool {
				return a.is("public", Master) && b.is("public", Backup)
			})
		}
	}
	for i, n := range []*node{b, a} { // and the backup first
		n.set(n.config(uint8(100+50*i), more, two))
		quiet(t, "backup first", func() bool { return a.is("public", Master) && b.is("public", Backup) })
	}
	eventually(t, "second VIP elected", func() bool { return a.is("intra", Master) && b.is("intra", Backup) })
	// A priority change moves what it is about and nothing else.
	both := a.config(150, more, two)
	both.Instances[1].Priority = 20
	a.set(both)
	eventually(t, "second VIP moved", func() bool { return a.is("intra", Backup) && b.is("intra", Master) })
	if n := lost(); n != 0 {
		t.Errorf("%d probes lost", n)
	}
	if after := len(a.roles("public")) + len(b.roles("public")); after != before {
		t.Errorf("roles changed: %v, %v", a.roles("public"), b.roles("public"))
	}
}

// quiet requires that fact holds for as long as a second master needs to show up.
func quiet(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(masterDown); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !fact() {
			t.Fatalf("%s: did not stay as it was", what)
		}
	}
}

func TestOtherTransports(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for name, c := range map[string]struct {
		change func(i *Instance, self, peer string)
		v6     bool
	}{
		"unicast":    {change: func(i *Instance, self, peer string) { i.Source, i.UnicastPeers = addrs(self)[0], addrs(peer) }},
		"unicast6":   {change: func(i *Instance, self, peer string) { i.Source, i.UnicastPeers = addrs(self)[0], addrs(peer) }, v6: true},
		"multicast6": {change: func(i *Instance, self, _ string) { i.Source = addrs(self)[0] }, v6: true},
		"password": {change: func(i *Instance, _, _ string) {
			i.Password, i.AdvertInterval = "a;/=+:.,", time.Second
		}},
		"password unicast": {change: func(i *Instance, self, peer string) {
			i.Source, i.UnicastPeers = addrs(self)[0], addrs(peer)
			i.Password, i.AdvertInterval = "s3cret", time.Second
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for n, node := range l.nodes {
				self, peer := "10.77.90.1", "10.77.90.2"
				if c.v6 {
					self, peer = "2001:db8:90::1", "2001:db8:90::2"
				}
				if n == 1 {
					self, peer = peer, self
				}
				i := steady(public())
				c.change(&i, self, peer)
				node.set(node.config(uint8(150-50*n), i))
			}
			a, b := l.nodes[0], l.nodes[1]
			eventually(t, "elected", func() bool { return a.is("public", Master) && b.is("public", Backup) })
			eventually(t, "addresses", func() bool { return len(a.addresses()) == 3 && len(b.addresses()) == 0 })
			lost := l.probing(t, "2001:db8::10")
			quiet(t, "stays", func() bool { return a.is("public", Master) && b.is("public", Backup) })
			if lost() != 0 {
				t.Error("probes lost")
			}
			for _, n := range l.nodes {
				if !n.set(Config{Node: n.ns}) {
					t.Error("nothing to stop")
				}
			}
		})
	}
}

func TestNotInstalled(t *testing.T) {
	k := New(Options{RunDir: t.TempDir(), Binary: filepath.Join(t.TempDir(), "keepalived")})
	_, err := k.Set(t.Context(), Config{Node: "lb1", Instances: []Instance{public()}})
	if !errors.Is(err, ErrNotInstalled) || !errors.Is(k.Status().Err, ErrNotInstalled) {
		t.Errorf("Set = %v, status %+v", err, k.Status())
	}
	if changed, err := k.Set(t.Context(), Config{Node: "lb1"}); changed || err != nil {
		t.Errorf("Set of nothing = %v, %v", changed, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Run(ctx); err != nil {
		t.Errorf("Run = %v", err)
	}
}
