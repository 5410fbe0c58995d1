package docker

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"

	"github.com/vipilot/vipilot/discovery"
)

// keeper folds facts into the view and decides when a snapshot is due. One
// goroutine owns it, and it never waits for the engine: what must be asked is
// asked by the session's own goroutines and comes back as a fact.
type keeper struct {
	host string
	log  *slog.Logger
	view *view

	session *session             // nil while there is none
	count   uint64               // numbers inspections
	asked   map[string]uint64    // container id -> number of the inspection whose answer counts
	first   map[string]bool      // containers of the first list still to be inspected; nil when there is none to wait for
	touched map[string]bool      // containers that an event spoke of since the running list began
	killed  map[string]kill      // containers that were told to stop
	heard   map[string]time.Time // when the start of a container was heard that is being inspected

	up      bool
	stale   time.Time
	err     error // why it is not up
	refused error // the last inspection that failed, until the next list

	node     string // the engine's, in its Swarm
	swarm    *discovery.Swarm
	swarmErr error // why swarm is not current

	next *discovery.Snapshot // to be sent; a newer one replaces it
	sent bool                // there has been one
}

// maxTouched is how many containers events may speak of from one list to the
// next: each may cost an inspection, and who sits before an engine can think up
// any number.
const maxTouched = 50_000

// kill is the moment a container was told to stop, by both clocks.
type kill struct{ engine, seen time.Time }

func newKeeper(host string, log *slog.Logger, remembered []discovery.Container) *keeper {
	k := &keeper{
		host: host, log: log, view: newView(),
		asked: map[string]uint64{}, touched: map[string]bool{}, killed: map[string]kill{}, heard: map[string]time.Time{},
	}
	for _, c := range remembered {
		k.view.put(newRecord(c, "", nil))
	}
	return k
}

// emit makes a snapshot due.
func (k *keeper) emit(cause string) {
	err := k.err
	if k.up {
		err = cmp.Or(k.refused, k.swarmErr)
	}
	k.sent = true
	k.next = &discovery.Snapshot{
		Host: k.host, Containers: k.view.snapshot(), Connected: k.up,
		StaleSince: k.stale, Err: err, At: time.Now(), Cause: cause,
		Node: k.node, Swarm: k.swarm, SwarmErr: k.swarmErr,
	}
}

// changed makes a snapshot due if there was a change and the engine's first
// list is complete: half a list would look like the loss of the other half.
func (k *keeper) changed(yes bool, cause string) {
	if yes && k.up {
		k.emit(cause)
	}
}

func (k *keeper) connected(s *session) { k.session, k.refused = s, nil }

// unanswered sends what is remembered when the engine takes long at the start.
func (k *keeper) unanswered() {
	if k.sent {
		return
	}
	k.stale, k.err = time.Now(), errNoAnswer
	k.emit("wait")
}

// lost notes that the engine cannot be reached: what it ran stays, stale.
func (k *keeper) lost(err error) {
	k.session = nil
	clear(k.asked)
	clear(k.heard)
	k.first = nil
	if !k.up && k.err != nil && k.err.Error() == err.Error() {
		return // said already
	}
	if k.stale.IsZero() {
		k.stale = time.Now()
	}
	k.up, k.err = false, err
	k.log.Warn("docker engine not reached, its containers are kept", "err", err, "containers", len(k.view.byID))
	k.emit("lost")
}

// isNode notes which node of its Swarm the engine is.
func (k *keeper) isNode(id string) {
	changed := k.node != id
	k.node = id
	k.changed(changed, "swarm node")
}

// swarmSeen notes what the engine, a manager, tells of its Swarm. Where it
// tells nothing, what it told before stays.
func (k *keeper) swarmSeen(seen *discovery.Swarm, err error, cause string) {
	changed := k.swarm != seen || (err == nil) != (k.swarmErr == nil) || err != nil && err.Error() != k.swarmErr.Error()
	if changed && err != nil {
		k.log.Warn("swarm not seen, what was known of it is kept", "err", err)
	}
	k.swarm, k.swarmErr = seen, err
	k.changed(changed, cause)
}

// listing notes that a list was asked for: from now on events are newer.
func (k *keeper) listing() { clear(k.touched) }

// listed folds a list of all containers. Those that an event spoke of meanwhile
// are left to the event. Inspected are those that differ from what is known,
// and in the first list of a session all that are up.
func (k *keeper) listed(ctx context.Context, all []container.Summary, full bool) {
	if full {
		k.first = map[string]bool{}
	}
	present := make(map[string]bool, len(all))
	changed := false
	for _, s := range all {
		present[s.ID] = true
		if k.touched[s.ID] || k.asked[s.ID] != 0 {
			if full && k.asked[s.ID] != 0 {
				k.first[s.ID] = true
			}
			continue
		}
		changed = k.summary(ctx, s, full) || changed
	}
	for id := range k.view.byID {
		if !present[id] && !k.touched[id] {
			delete(k.asked, id)
			changed = k.view.remove(id) || changed
		}
	}
	for id := range k.killed {
		if !present[id] {
			delete(k.killed, id)
		}
	}
	if k.refused != nil {
		k.refused, changed = nil, true // what was refused is asked for again
	}
	k.changed(changed, "list")
	k.arrived("")
}

// summary folds one line of a list and reports a change.
func (k *keeper) summary(ctx context.Context, s container.Summary, full bool) bool {
	known, ok := k.view.byID[s.ID]
	if !isUp(s.State) {
		r, err := fromSummary(s)
		if err != nil {
			k.log.Warn("container left out", "err", err)
			return false
		}
		if ok {
			r.Image, r.Labels = known.Image, known.Labels // as given; a list may show the image's id
		}
		delete(k.killed, s.ID)
		return k.view.put(r)
	}
	if full {
		k.first[s.ID] = true
	}
	if full || !ok || !agrees(s, known) {
		k.inspect(ctx, s.ID, "list")
		return false
	}
	if known.State == discovery.Stopping && !k.isStopping(known) {
		known.State = discovery.Running
		return k.view.put(known)
	}
	return false
}

// inspect asks for a container; earlier answers about it no longer count.
func (k *keeper) inspect(ctx context.Context, id, cause string) {
	if k.session == nil {
		return
	}
	k.count++
	k.asked[id] = k.count
	go k.session.inspect(ctx, id, k.count, cause)
}

// inspected folds the answer to one inspection.
func (k *keeper) inspected(id string, n uint64, r record, err error, cause string) {
	if k.asked[id] != n {
		return // asked again since, or known to be over
	}
	delete(k.asked, id)
	changed := false
	switch {
	case cerrdefs.IsNotFound(err):
		changed = k.view.remove(id)
	case err != nil:
		k.log.Warn("container not inspected", "err", err)
		changed, k.refused = true, err
	default:
		if k.isStopping(r) && r.State == discovery.Running {
			r.State = discovery.Stopping
		}
		changed = k.view.put(r)
		cause = strings.TrimSpace(cause + " " + r.Name)
	}
	k.changed(changed, cause)
	if changed && k.next != nil {
		k.next.Heard = k.heard[id]
	}
	delete(k.heard, id)
	k.arrived(id)
}

// arrived takes id off the first list, and ends the wait when that was the last.
func (k *keeper) arrived(id string) {
	if k.first == nil {
		return
	}
	delete(k.first, id)
	if len(k.first) > 0 {
		return
	}
	k.first = nil
	k.up, k.stale, k.err = true, time.Time{}, nil
	k.log.Info("docker engine listed", "containers", len(k.view.byID))
	k.emit("list")
}

// isStopping reports whether r was told to stop and may still be about to. A
// container that outlives its own stop timeout by far has not obeyed.
func (k *keeper) isStopping(r record) bool {
	told, ok := k.killed[r.ID]
	if !ok {
		return false
	}
	if r.StartedAt.After(told.engine) || time.Since(told.seen) >= r.grace {
		delete(k.killed, r.ID)
		return false
	}
	return true
}

// event folds one event. What ends a container acts at once; what may have
// brought it up or moved it is looked at.
func (k *keeper) event(ctx context.Context, m events.Message, at time.Time) {
	id, attributes := m.Actor.ID, m.Actor.Attributes
	if m.Type == events.NetworkEventType {
		id = attributes["container"]
	}
	if !containerID.MatchString(id) || len(k.touched) >= maxTouched && !k.touched[id] {
		return // the next list tells
	}
	k.touched[id] = true
	r, known := k.view.byID[id]
	when := time.Unix(0, m.TimeNano)
	cause := strings.TrimSpace(string(m.Action) + " " + attributes["name"])
	switch {
	case known && when.Before(r.StartedAt):
		k.inspect(ctx, id, string(m.Action)) // of a former life, replayed after a reconnect; or the clock went back
	case m.Type == events.NetworkEventType:
		if known && r.State != discovery.Stopped { // before start and after die it means nothing
			k.inspect(ctx, id, string(m.Action))
		}
	case m.Action == events.ActionStart:
		delete(k.killed, id)
		k.heard[id] = at
		k.inspect(ctx, id, "start")
	case m.Action == events.ActionKill:
		if !r.isStop(attributes["signal"]) {
			return
		}
		k.killed[id] = kill{engine: when, seen: at}
		if r.State == discovery.Running {
			r.State = discovery.Stopping
			k.changed(k.view.put(r), cause)
		}
	case m.Action == events.ActionDestroy:
		delete(k.killed, id)
		delete(k.asked, id)
		k.changed(k.view.remove(id), cause)
		k.arrived(id)
	case m.Action == events.ActionDie, m.Action == events.ActionStop:
		delete(k.killed, id)
		if known {
			k.changed(k.view.put(r.stopped()), cause)
		}
		if !known || k.asked[id] != 0 {
			k.inspect(ctx, id, string(m.Action))
		}
	case !known || k.asked[id] != 0:
		k.inspect(ctx, id, string(m.Action)) // the answer under way may be older than this event
	default:
		k.changed(k.view.put(k.turn(r, m)), cause)
	}
}

// turn is r after an event that says all there is to know.
func (k *keeper) turn(r record, m events.Message) record {
	if r.State == discovery.Stopped && m.Action != events.ActionRename {
		return r
	}
	switch m.Action {
	case events.ActionPause:
		r.State = discovery.Paused
	case events.ActionUnPause:
		r.State = discovery.Running
		if k.isStopping(r) {
			r.State = discovery.Stopping
		}
	case events.ActionRename:
		if name := m.Actor.Attributes["name"]; isName(name) {
			r.Name = name
		}
	default:
		if health, ok := strings.CutPrefix(string(m.Action), "health_status: "); ok {
			r.Health = toHealth(health)
		}
	}
	return r
}
