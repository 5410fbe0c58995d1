package vrrp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// TestManyAddresses: a VIP of more addresses than an advert has room for, of
// both families, moves as one, by multicast and by unicast.
func TestManyAddresses(t *testing.T) {
	needRealDaemons(t)
	t.Parallel()
	l := newLab(t)
	a, b := l.nodes[0], l.nodes[1]
	many := quick(public())
	for i := range 60 {
		many.Addresses = append(many.Addresses, netip.MustParseAddr(fmt.Sprintf("203.0.113.%d", 100+i)))
		if i < 30 {
			many.Addresses = append(many.Addresses, netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", 100+i)))
		}
	}
	want := len(many.Addresses) + 1 // the anchor
	for _, unicast := range []bool{false, true} {
		t.Run(map[bool]string{false: "multicast", true: "unicast"}[unicast], func(t *testing.T) {
			for i, n := range l.nodes {
				one := many
				if unicast {
					one.Source, one.UnicastPeers = addrs("10.77.90.1", "10.77.90.2")[i], addrs("10.77.90.2", "10.77.90.1")[i:i+1]
				}
				n.set(n.config(uint8(150-50*i), one))
			}
			eventually(t, "the master holds all", func() bool { return len(a.addresses()) == want && len(b.addresses()) == 0 })
			reloads := a.k.Status().Reloads + b.k.Status().Reloads
			four, six := l.probing(t, "203.0.113.159"), l.probing(t, "2001:db8::129")
			a.write("1\n")
			eventually(t, "all have moved", func() bool { return len(a.addresses()) == 0 && len(b.addresses()) == want })
			a.write("0\n")
			eventually(t, "all are back", func() bool { return len(a.addresses()) == want && len(b.addresses()) == 0 })
			t.Logf("two moves, %d probes lost over IPv4, %d over IPv6", four(), six())
			if a.k.Status().Reloads+b.k.Status().Reloads != reloads {
				t.Error("it took a reload")
			}
		})
	}
}

// TestPassword: nodes with different passwords do not listen to each other.
func TestPassword(t *testing.T) {
	needRealDaemons(t)
	t.Parallel()
	l := newLab(t)
	instance := public()
	instance.AdvertInterval = time.Second
	set := func(passwords ...string) {
		t.Helper()
		for i, n := range l.nodes {
			instance.Password = passwords[i]
			n.set(n.config(uint8(150-50*i), instance))
		}
	}
	a, b := l.nodes[0], l.nodes[1]
	set("s3cret", "an0ther")
	eventually(t, "two masters", func() bool { return a.is("public", Master) && b.is("public", Master) })
	set("s3cret", "s3cret")
	eventually(t, "one master", func() bool { return a.is("public", Master) && b.is("public", Backup) })
}

// TestPreemption: a node that returns takes its address back after the delay,
// or never.
func TestPreemption(t *testing.T) {
	needRealDaemons(t)
	t.Parallel()
	const delay = time.Second
	for name, c := range map[string]struct {
		preempt bool
		delay   time.Duration
	}{"at once": {true, 0}, "after a delay": {true, delay}, "never": {false, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			a, b := l.nodes[0], l.nodes[1]
			instance := steady(public())
			instance.Preempt, instance.PreemptDelay = c.preempt, c.delay
			l.elect(t, instance)
			a.write("1\n")
			eventually(t, "moved", func() bool { return a.is("public", Fault) && b.is("public", Master) })
			start := time.Now()
			a.write("0\n")
			if !c.preempt {
				eventually(t, "a backup again", func() bool { return a.is("public", Backup) })
				quiet(t, "it stays where it is", func() bool { return b.is("public", Master) })
				return
			}
			eventually(t, "back", func() bool { return a.is("public", Master) && b.is("public", Backup) })
			took := a.last().At.Sub(start)
			t.Logf("back after %v", took)
			if took < c.delay {
				t.Errorf("back after %v, before the delay of %v", took, c.delay)
			}
		})
	}
}
