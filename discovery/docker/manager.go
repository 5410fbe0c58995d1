package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"

	"github.com/vipilot/vipilot/discovery"
)

const (
	swarmRelist = 30 * time.Second      // between looks at services and nodes without an event
	swarmQuick  = 50 * time.Millisecond // to the next look after something happened; then twice that, and so on
	swarmShare  = 10                    // looking takes at most this part of the time, however large the Swarm,
	swarmSlow   = 5                     // until it happens so many times less often than it should
	maxEnding   = 100                   // tasks that are followed to their end
)

// manager watches a Swarm through one of its managers, over all sessions with
// it. Docker sends no events of tasks, so it looks at them every second, and
// at once and then often when an event of a service or node, or somebody's
// [Engine.Poke], says that something goes on. An answer that has not changed
// costs its transfer and a hash.
type manager struct {
	every time.Duration
	poked chan struct{}

	s        *session // of the moment
	cluster  string
	services map[string]*service // by ID
	nodes    []swarm.Node
	listed   time.Time           // when they were asked for
	behind   bool                // they must be asked for again
	answer   answer              // the last about tasks
	leaving  bool                // there are tasks that are not wanted any more and have not ended
	took     time.Duration       // the last look
	alive    map[string]struct{} // tasks that were not at their end
	failures map[string]string   // by name, why the task before failed
	seen     *discovery.Swarm
}

func newManager(every time.Duration, remembered *discovery.Swarm) *manager {
	m := &manager{every: every, poked: make(chan struct{}, 1), alive: map[string]struct{}{}, failures: map[string]string{}, seen: remembered}
	if remembered != nil {
		for _, n := range remembered.Nodes {
			for _, t := range n.Tasks {
				m.alive[t.Task.ID] = struct{}{}
			}
		}
	}
	return m
}

// Poke makes the watcher of a manager look at its Swarm at once and often for
// a second: another engine told of something that the managers are about to
// learn. It never blocks, and any goroutine may call it.
func (e *Engine) Poke() {
	if e.manager == nil {
		return
	}
	select {
	case e.manager.poked <- struct{}{}:
	default:
	}
}

// begin subscribes and looks for the first time in a session.
func (m *manager) begin(ctx context.Context, s *session) (<-chan events.Message, <-chan error, error) {
	stream, failed, err := s.open(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ServiceEventType)), filters.Arg("type", string(events.NodeEventType)))})
	if err != nil {
		return nil, nil, err
	}
	m.s, m.behind = s, true
	m.tell(ctx, "list")
	return stream, failed, nil
}

// follow looks for ever. Only the loss of the event stream ends it: an engine
// may serve its containers while its Swarm has no leader.
func (m *manager) follow(ctx context.Context, stream <-chan events.Message, failed <-chan error) error {
	wait := m.every
	for {
		cause, happened := "", true
		select {
		case err := <-failed:
			return fmt.Errorf("swarm event stream ended: %w", err)
		case e := <-stream:
			cause = strings.TrimSpace(fmt.Sprintf("%s %s %.60s", e.Type, e.Action, e.Actor.Attributes["name"]))
		case <-m.poked:
		case <-time.After(wait):
			happened = false
		}
		if happened { // what happens once happens more often: look at it together
			wait = swarmQuick / 2
			pause(ctx, min(m.took*swarmShare, m.every))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.behind = m.behind || cause != "" || time.Since(m.listed) > swarmRelist
		m.tell(ctx, cause)
		wait = min(2*wait, max(m.every, min(m.took*swarmShare, m.every*swarmSlow)))
	}
}

// tell looks, and tells the keeper.
func (m *manager) tell(ctx context.Context, cause string) {
	before := m.seen
	call, cancel := context.WithTimeout(ctx, longFactor*m.s.timeout)
	defer cancel()
	began := time.Now()
	err := m.look(call)
	if m.took = time.Since(began); err != nil {
		m.took = 0
	}
	if err == nil && cause == "" {
		cause = strings.Join(changedTasks(before, m.seen), ", ")
	}
	seen := m.seen
	tell(ctx, m.s.facts, func(k *keeper) { k.swarmSeen(seen, explainSwarm(err), strings.TrimSpace("swarm: "+cause)) })
}

// look brings seen up to date. It asks for the tasks always, for services and
// nodes only when behind or where a task is of one that is not known.
func (m *manager) look(ctx context.Context) (err error) {
	defer func() { m.behind = err != nil }()
	at := time.Now()
	if m.behind {
		if err := m.list(ctx); err != nil {
			return err
		}
	}
	changed, err := m.s.currentTasks(ctx, &m.answer)
	if err != nil || !changed && !m.behind && !m.leaving {
		return err
	}
	var tasks []swarm.Task
	if err := json.Unmarshal(m.answer.body.Bytes(), &tasks); err != nil {
		return fmt.Errorf("read tasks: %w", err)
	}
	gone, err := m.missing(ctx, tasks)
	if err != nil {
		return err
	}
	tasks = append(tasks, gone...)
	if !m.behind && slices.ContainsFunc(tasks, m.isForeign) {
		if err := m.list(ctx); err != nil {
			return err
		}
	}
	m.note(tasks)
	m.leaving = slices.ContainsFunc(gone, func(t swarm.Task) bool { return !hasEnded(t) })
	m.seen = m.fold(tasks, at)
	return nil
}

// missing asks for the tasks that are not wanted any more and were not at
// their end when they were last seen: they may still serve.
func (m *manager) missing(ctx context.Context, tasks []swarm.Task) ([]swarm.Task, error) {
	left := maps.Clone(m.alive)
	for _, t := range tasks {
		delete(left, t.ID)
	}
	if len(left) == 0 {
		return nil, nil
	}
	f := filters.NewArgs()
	for _, id := range slices.Sorted(maps.Keys(left))[:min(len(left), maxEnding)] {
		f.Add("id", id)
	}
	gone, err := m.s.api.TaskList(ctx, swarm.TaskListOptions{Filters: f})
	if err != nil {
		return nil, fmt.Errorf("list ending tasks: %w", err)
	}
	return slices.DeleteFunc(gone, func(t swarm.Task) bool {
		_, asked := left[t.ID]
		return !asked
	}), nil
}

// note remembers which tasks are not at their end, and why others have failed.
func (m *manager) note(tasks []swarm.Task) {
	clear(m.alive)
	failures := make(map[string]string)
	for _, t := range tasks {
		if name := m.taskName(t); !hasEnded(t) {
			m.alive[t.ID] = struct{}{}
			if why, ok := m.failures[name]; ok && t.Status.State != swarm.TaskStateRunning {
				failures[name] = why
			}
		}
	}
	for _, t := range tasks {
		if hasEnded(t) && t.Status.Err != "" {
			failures[m.taskName(t)] = t.Status.Err
		}
	}
	m.failures = failures
}

// list asks for all that seldom changes.
func (m *manager) list(ctx context.Context) error {
	cluster, err := m.s.api.SwarmInspect(ctx)
	if err != nil {
		return err
	}
	services, err := m.s.api.ServiceList(ctx, swarm.ServiceListOptions{})
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	nodes, err := m.s.api.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	if !swarmID.MatchString(cluster.ID) {
		return fmt.Errorf("inspect swarm: its ID %.70q is not of Docker's form", cluster.ID)
	}
	m.listed = time.Now()
	m.cluster, m.nodes, m.services = cluster.ID, nodes, make(map[string]*service, len(services))
	for _, s := range services {
		if one := newService(s); one != nil {
			m.services[s.ID] = one
		}
	}
	return nil
}

// isForeign reports whether a task is of a service or node that is not known yet.
func (m *manager) isForeign(t swarm.Task) bool {
	return m.services[t.ServiceID] == nil && t.ServiceID != "" ||
		t.NodeID != "" && !slices.ContainsFunc(m.nodes, func(n swarm.Node) bool { return n.ID == t.NodeID })
}

// answer is what an engine said, before it is decoded.
type answer struct {
	body bytes.Buffer
	hash uint64
}

var hashSeed = maphash.MakeSeed()

// currentTasks asks for the tasks that are wanted, and reports whether the
// answer differs from the one that a holds.
func (s *session) currentTasks(ctx context.Context, a *answer) (changed bool, err error) {
	query := url.Values{"filters": {`{"desired-state":["running","ready","accepted"]}`}}
	old := a.hash
	a.hash = 0
	if err := s.get(ctx, "/tasks", query, &a.body); err != nil {
		return false, fmt.Errorf("list tasks: %w", err)
	}
	a.hash = maphash.Bytes(hashSeed, a.body.Bytes())
	s.sign()
	return a.hash != old, nil
}

// notManager is how an engine says that it is none.
const notManager = "not a swarm manager"

// explainSwarm is one line on a Swarm that could not be looked at.
func explainSwarm(err error) error {
	if err == nil {
		return nil
	}
	said := strings.Join(strings.Fields(err.Error()), " ")
	switch {
	case strings.Contains(said, notManager):
		said = "it is declared swarm: true and is not a Swarm manager; name a manager, docker node promote this one, or remove swarm: true"
	case strings.Contains(said, "does not have a leader"), strings.Contains(said, "no elected primary"), strings.Contains(said, "lost quorum"):
		said = "the Swarm has no leader: too few of its managers are up; bring them back, meanwhile what was known stays"
	case errors.Is(err, context.DeadlineExceeded):
		said = "the manager does not answer; has the Swarm a leader?"
	}
	return fmt.Errorf("ask the Swarm: %w", &oneLine{said, err})
}
