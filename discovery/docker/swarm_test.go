package docker

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/swarm"

	"github.com/vipilot/vipilot/discovery"
)

const (
	wanted  = swarm.TaskStateRunning
	ready   = swarm.TaskStateReady
	leaving = swarm.TaskStateShutdown
)

// TestSwarmStory walks a service through a life, once seen by polling, and once
// with polls too seldom to see it, by events and pokes.
func TestSwarmStory(t *testing.T) {
	for _, polls := range []bool{true, false} {
		f := newFake(t)
		f.swarm = newFakeSwarm("web")
		opts := calm(f)
		opts.Swarm, opts.SwarmPoll = true, time.Hour
		if polls {
			opts.SwarmPoll = time.Millisecond
		}
		f.turn("web1a", wanted, swarm.TaskStatePreparing, "")
		w := watch(t, opts)
		if s := w.untilSwarm("web.1:pending(the task is preparing)"); s.Node != "n1" || s.Swarm.ID != "s1" {
			t.Errorf("first snapshot: node %q, swarm %q", s.Node, s.Swarm.ID)
		}
		for _, step := range []struct {
			id             string
			desired, state swarm.TaskState
			failure, want  string
		}{
			{"web1a", wanted, swarm.TaskStateRunning, "", "web.1:running"},
			{"web2a", wanted, swarm.TaskStateRunning, "", "web.1:running web.2:running"},
			{"web1a", leaving, swarm.TaskStateRunning, "", "web.1:stopping web.2:running"},
			{"web1b", ready, swarm.TaskStateReady, "", "web.1:stopping web.1:pending(the task is ready) web.2:running"},
			{"web1a", leaving, swarm.TaskStateShutdown, "", "web.1:pending(the task is ready) web.2:running"},
			{"web1b", wanted, swarm.TaskStateRunning, "", "web.1:running web.2:running"},
			{"web2a", leaving, swarm.TaskStateFailed, "non-zero\nexit", "web.1:running"},
			{"web2b", wanted, swarm.TaskStateStarting, "", "web.1:running web.2:pending(the task is starting; the one before it failed: non-zero exit)"},
			{"web2b", wanted, swarm.TaskStateRunning, "", "web.1:running web.2:running"},
			{"web2b", swarm.TaskStateRemove, swarm.TaskStateRunning, "", "web.1:running web.2:stopping"},
		} {
			f.turn(step.id, step.desired, step.state, step.failure)
			if !polls && step.id == "web1a" {
				f.announce(events.ServiceEventType, "update")
			} else if !polls {
				w.engine.Poke()
			}
			w.untilIs(step.want, func(s discovery.Snapshot) bool {
				return slices.Equal(slices.Sorted(strings.SplitSeq(inSwarm(s), " ")), slices.Sorted(strings.SplitSeq(step.want, " ")))
			})
		}
		f.mu.Lock()
		delete(f.swarm.tasks, "web2b")
		f.swarm.nodes[0].Status.State = swarm.NodeStateDown
		f.mu.Unlock()
		f.announce(events.NodeEventType, "update")
		w.untilSwarm("web.1:running n1 is down")
	}
}

// TestSwarmUnchanged: looking costs one request, and nothing is sent.
func TestSwarmUnchanged(t *testing.T) {
	f := newFake(t)
	f.swarm = newFakeSwarm("web")
	f.turn("web1a", wanted, swarm.TaskStateRunning, "")
	opts := calm(f)
	opts.Swarm, opts.SwarmPoll = true, time.Millisecond
	w := watch(t, opts)
	first := w.untilSwarm("web.1:running")
	for until := f.requests("tasks") + 20; f.requests("tasks") < until; {
		select {
		case s := <-w.out:
			t.Fatalf("a snapshot, cause %q", s.Cause)
		default:
		}
	}
	if f.requests("services") != 1 || f.requests("nodes") != 1 || f.requests("swarm") != 1 {
		t.Errorf("%d, %d, %d requests for services, nodes, swarm", f.requests("services"), f.requests("nodes"), f.requests("swarm"))
	}
	f.do("start db")
	if s := w.untilIs("db", func(s discovery.Snapshot) bool { return len(s.Containers) == 1 }); s.Swarm != first.Swarm {
		t.Error("a container made another Swarm")
	}
}

// TestSwarmLost: what cannot be asked stays as it was, and is said to be stale;
// the containers of the manager itself are not.
func TestSwarmLost(t *testing.T) {
	f := newFake(t)
	f.swarm = newFakeSwarm("web")
	f.turn("web1a", wanted, swarm.TaskStateRunning, "")
	f.do("start db")
	opts := calm(f)
	opts.Swarm, opts.SwarmPoll = true, time.Millisecond
	w := watch(t, opts)
	w.untilSwarm("web.1:running")
	for said, want := range map[string]string{
		"This node is not a swarm manager. Worker nodes can't be used":                                                       "ask the Swarm: it is declared swarm: true and is not a Swarm manager; name a manager",
		"rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.": "the Swarm has no leader: too few of its managers are up",
		"something\nelse": "something else",
	} {
		f.mu.Lock()
		f.swarm.broken = said
		f.mu.Unlock()
		s := w.untilIs(want, func(s discovery.Snapshot) bool {
			return inSwarm(s) == "web.1:running (stale)" && strings.Contains(s.SwarmErr.Error(), want)
		})
		if !s.Connected || s.Err != s.SwarmErr || strings.Contains(s.Err.Error(), "\n") || len(s.Containers) != 1 {
			t.Errorf("connected %v, err %v", s.Connected, s.Err)
		}
	}
	f.mu.Lock()
	f.swarm.broken = ""
	f.mu.Unlock()
	known := w.untilSwarm("web.1:running").Swarm
	f.stop()
	w.untilSwarm("web.1:running (stale)")

	// Another watcher begins with what this one knew.
	opts.RememberedSwarm = known
	w2 := watch(t, opts)
	w2.untilSwarm("web.1:running (stale)")
	f.turn("web1a", leaving, swarm.TaskStateRunning, "")
	f.listen(t)
	w2.untilSwarm("web.1:stopping")
}

// TestSwarmLikeFresh plays random histories: in the end the view is what one
// who comes later sees.
func TestSwarmLikeFresh(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	f := newFake(t)
	f.swarm = newFakeSwarm("web", "db")
	opts := calm(f)
	opts.Swarm, opts.SwarmPoll = true, time.Millisecond
	w := watch(t, opts)
	for round := range 15 {
		for range 30 {
			id := fmt.Sprintf("%s%d%c", []string{"web", "db"}[random.IntN(2)], 1+random.IntN(3), 'a'+rune(random.IntN(3)))
			switch random.IntN(8) {
			case 0:
				f.mu.Lock()
				delete(f.swarm.tasks, id)
				f.mu.Unlock()
			case 1:
				f.announce(events.ServiceEventType, "update")
			case 2:
				if random.IntN(20) == 0 { // each costs a pause before the next session
					f.drop()
				}
			case 3, 4:
				f.turn(id, leaving, []swarm.TaskState{swarm.TaskStateRunning, swarm.TaskStateShutdown, swarm.TaskStateFailed}[random.IntN(3)], "")
			default:
				f.turn(id, wanted, []swarm.TaskState{swarm.TaskStateRunning, swarm.TaskStatePreparing}[random.IntN(2)], "")
			}
			select {
			case w.last = <-w.out:
			default:
			}
		}
		f.mu.Lock()
		for id, task := range f.swarm.tasks {
			if task.DesiredState == leaving {
				delete(f.swarm.tasks, id)
			}
		}
		f.mu.Unlock()
		fresh := watch(t, opts)
		want := inSwarm(fresh.untilIs("a fresh view", func(s discovery.Snapshot) bool { return s.Connected && s.Swarm != nil }))
		fresh.stop()
		if inSwarm(w.last) != want {
			w.untilSwarm(want)
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// BenchmarkSwarm folds an answer about 10,000 tasks on 100 nodes, one of which
// has changed.
func BenchmarkSwarm(b *testing.B) {
	m, recorded := recordedSwarm(b)
	var tasks []swarm.Task
	m.nodes = nil
	for n := range 100 {
		m.nodes = append(m.nodes, swarm.Node{ID: fmt.Sprintf("n%d", n), Status: swarm.NodeStatus{Addr: fmt.Sprintf("10.77.0.%d", n+1)}})
	}
	for i := range 10_000 {
		t := recorded[i%len(recorded)]
		t.ID, t.NodeID, t.Slot = fmt.Sprintf("t%d", i), fmt.Sprintf("n%d", i%100), i+1
		tasks = append(tasks, t)
	}
	raw, _ := json.Marshal(tasks)
	b.ReportMetric(float64(len(raw)), "bytes")
	for i := 0; b.Loop(); i++ {
		var decoded []swarm.Task
		if err := json.Unmarshal(raw, &decoded); err != nil {
			b.Fatal(err)
		}
		decoded[i%len(decoded)].DesiredState = swarm.TaskStateShutdown
		m.note(decoded)
		m.seen = m.fold(decoded, time.Now())
	}
}
