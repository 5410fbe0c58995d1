package vrrp

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestYield drains the master: the addresses go to the other node without a
// reload, and with preemption without a moment in which nobody has them.
func TestYield(t *testing.T) {
	needRealDaemons(t)
	t.Parallel()
	for name, preempt := range map[string]bool{"preempting": true, "not preempting": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			a, b := l.nodes[0], l.nodes[1]
			instance := steady(public())
			instance.Preempt = preempt
			l.elect(t, instance)
			reloads := a.k.Status().Reloads
			lost := l.probing(t, "203.0.113.10")

			want := a.config(150, instance)
			want.Yield = true
			start := time.Now()
			if !a.set(want) {
				t.Error("nothing was changed")
			}
			eventually(t, "the other node has it", func() bool { return b.is("public", Master) && !a.is("public", Master) })
			t.Logf("moved after %v, %d of the pings of then lost", b.last().At.Sub(start), lost())
			if a.set(want) {
				t.Error("the same again was a change")
			}

			// A successor of the controller does not take the node back by starting.
			a.die()
			a.controller()
			a.set(want)
			quiet(t, "still the other node's", func() bool { return b.is("public", Master) })

			want.Yield = false
			a.set(want)
			if preempt {
				eventually(t, "back", func() bool { return a.is("public", Master) && b.is("public", Backup) })
			} else {
				eventually(t, "a backup again", func() bool { return a.is("public", Backup) })
			}
			if got := a.k.Status().Reloads; got != 0 && got != reloads {
				t.Errorf("%d reloads, had %d", got, reloads)
			}
		})
	}
}

// TestYieldAlone: with nobody to take over, the node keeps what it serves.
func TestYieldAlone(t *testing.T) {
	needRealDaemons(t)
	t.Parallel()
	l := newLab(t)
	a := l.nodes[0]
	want := a.config(150, quick(public()))
	a.set(want)
	eventually(t, "master", func() bool { return a.is("public", Master) })
	want.Yield = true
	a.set(want)
	quiet(t, "it stays the master", func() bool { return a.is("public", Master) && len(a.addresses()) == 3 })
}

// TestSpeakerTrack: a node that no router hears gives announced addresses to one
// that is heard, and keeps them where none is.
func TestSpeakerTrack(t *testing.T) {
	needRealDaemons(t)
	t.Parallel()
	l := newLab(t)
	instance := steady(public())
	instance.Announced = true
	var files []string
	deaf := func(n int, value string) {
		t.Helper()
		if err := os.WriteFile(files[n], []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range l.nodes {
		files = append(files, filepath.Join(t.TempDir(), "speaker.track"))
		deaf(i, "0\n")
		want := n.config(uint8(200-10*i), instance)
		want.SpeakerFile = files[i]
		n.set(want)
	}
	a, b := l.nodes[0], l.nodes[1]
	eventually(t, "elected", func() bool { return a.is("public", Master) && b.is("public", Backup) })
	lost := l.probing(t, "203.0.113.10")
	deaf(0, "1\n")
	eventually(t, "the other node has it", func() bool { return b.is("public", Master) && a.is("public", Backup) })
	deaf(1, "1\n")
	eventually(t, "the first of two that are deaf has it", func() bool { return a.is("public", Master) && b.is("public", Backup) })
	deaf(1, "0\n")
	eventually(t, "who is heard has it", func() bool { return b.is("public", Master) && a.is("public", Backup) })
	deaf(0, "0\n")
	eventually(t, "back", func() bool { return a.is("public", Master) && b.is("public", Backup) })
	t.Logf("four moves, %d pings lost", lost())
	lost = l.probing(t, "203.0.113.10")
	deaf(0, "2\n") // too much for any priority
	took := eventually(t, "given up", func() bool { return b.is("public", Master) && a.is("public", Fault) })
	deaf(0, "1\n")
	eventually(t, "a backup again", func() bool { return a.is("public", Backup) })
	quiet(t, "still the other node's", func() bool { return b.is("public", Master) })
	t.Logf("given up: moved after %v, %d of the pings of then lost", took, lost())
}

// TestRelief: an announced VIP that does not preempt goes to the other node
// within the moment for which it is given up, and stays there.
func TestRelief(t *testing.T) {
	needRealDaemons(t)
	t.Parallel()
	l := newLab(t)
	a, b := l.nodes[0], l.nodes[1]
	instance := steady(public())
	instance.Preempt, instance.Announced = false, true
	l.elect(t, instance)
	lost := l.probing(t, "203.0.113.10")
	relieved := func(yes bool) {
		t.Helper()
		given := instance
		given.Relieved = yes
		if !a.set(a.config(150, given)) {
			t.Error("nothing was changed")
		}
	}
	relieved(true)
	took := eventually(t, "the other node has it", func() bool { return b.is("public", Master) && a.is("public", Fault) })
	relieved(false)
	eventually(t, "a backup again", func() bool { return a.is("public", Backup) })
	quiet(t, "still the other node's", func() bool { return b.is("public", Master) })
	t.Logf("moved after %v, %d of the pings of then lost", took, lost())
	if a.k.Status().Reloads != 0 {
		t.Error("it took a reload")
	}
}
