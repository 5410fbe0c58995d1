package discovery

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Swarm is what a manager tells of its cluster: its nodes, and the tasks on
// them in the shape of containers. It is immutable, and a later one shares
// every [SwarmNode] that has not changed.
type Swarm struct {
	ID    string
	At    time.Time    // when the manager was asked
	Nodes []*SwarmNode // sorted by Name, then ID
}

// SwarmNode is one machine of a Swarm.
type SwarmNode struct {
	ID      string     // "" for the one that stands for none: its tasks have found no node
	Name    string     // its host name
	Address netip.Addr // where published ports are reached; invalid if not known
	Down    bool       // the managers have lost it
	Drained bool       // docker node update --availability drain
	Tasks   []Container
}

// Task is what a container is as a part of a Swarm service.
type Task struct {
	ID      string
	Service string
	Mesh    []Published // ports that every node of the Swarm passes on to the service
	Note    string      // why it does not run, where that is known
}

func (t *Task) note() string {
	if t == nil {
		return ""
	}
	return t.Note
}

// Pending is a Swarm task that does not run yet.
const Pending State = "pending"

// Labels by which an engine tells that a container is a Swarm task.
const (
	swarmNode = "com.docker.swarm.node.id"
	swarmTask = "com.docker.swarm.task.id"
)

// SwarmLabel is the label that holds the service's name, on tasks as on their containers.
const SwarmLabel = swarmService

// IsTaskOf reports whether a container that an engine told of is a task on one
// of these Swarm nodes: it is then served as the manager tells.
func (c Container) IsTaskOf(nodes map[string]bool) bool {
	return len(nodes) > 0 && c.Labels[swarmTask] != "" && nodes[c.Labels[swarmNode]]
}

// Sight gives a node's tasks, completed by what the node's own engine tells of
// its containers, which is heard long before a manager knows it: one that runs
// already, was told to stop, ended, is paused or unhealthy. whole says that
// engine is all that runs there at this moment, so that a task whose container
// is not among them does not run.
func (n *SwarmNode) Sight(engine []Container, whole bool) []Container {
	if len(engine) == 0 && !whole && !n.Down {
		return n.Tasks
	}
	byID, byTask := make(map[string]Container, len(engine)), make(map[string]Container, len(engine))
	for _, c := range engine {
		byID[c.ID], byTask[c.Labels[swarmTask]] = c, c
	}
	tasks := slices.Clone(n.Tasks)
	for i := range tasks {
		t := &tasks[i]
		seen, known := byID[t.ID]
		switch {
		case t.State == Pending:
			if early, ok := byTask[t.Task.ID]; ok {
				t.begin(early)
			}
		case n.Down:
			t.end("its node is down, as the managers see it; they start its tasks elsewhere")
		case known:
			t.sight(seen)
		case whole:
			t.end("the engine of its node does not have its container; docker service ps says why")
		}
	}
	return tasks
}

// begin makes a pending task one that runs, if seen, its container, does.
func (c *Container) begin(seen Container) {
	if seen.State != Running {
		return
	}
	task := *c.Task
	task.Note = ""
	c.ID, c.Task, c.State, c.Health = seen.ID, &task, seen.State, seen.Health
	c.HostMode, c.Networks, c.Published, c.UDP = seen.HostMode, seen.Networks, seen.Published, seen.UDP
	if len(c.Exposed) == 0 {
		c.Exposed = seen.Exposed
	}
}

// end marks a task as not running.
func (c *Container) end(note string) {
	task := *c.Task
	task.Note = note
	c.State, c.Task = Stopped, &task
}

// sight takes over what c, the task's container, shows.
func (c *Container) sight(seen Container) {
	if c.State != Stopping || seen.State == Stopped {
		c.State = seen.State
	}
	c.Health = seen.Health
	if len(c.Exposed) == 0 {
		c.Exposed = seen.Exposed
	}
	if len(c.Published) == 0 { // managers that have just elected a leader may never hear of a port
		c.Published = seen.Published
	}
	if c.UDP == nil {
		c.UDP = seen.UDP
	}
	// A network that is local to the engine gives an address that no manager knows.
	networks := slices.Clone(c.Networks)
	for i, a := range networks {
		if j := slices.IndexFunc(seen.Networks, func(b Attachment) bool { return a.Name == b.Name }); j >= 0 && !a.address().IsValid() {
			networks[i] = seen.Networks[j]
		}
	}
	c.Networks = networks
}

// throughMesh finds the port by which every node of the Swarm passes
// connections on to the task's service.
func throughMesh(c Container, want Want, asked preferences) (uint16, bool) {
	if c.Task == nil {
		return 0, false
	}
	port := cmp.Or(want.Port, asked.port)
	if port == 0 && len(c.Exposed) == 1 {
		port = c.Exposed[0]
	}
	i := slices.IndexFunc(c.Task.Mesh, func(p Published) bool { return p.Port == port })
	if i < 0 {
		return 0, false
	}
	return c.Task.Mesh[i].HostPort, true
}

// Entrance is the endpoint by which n, a node of the Swarm, passes connections
// on to a service; through is the endpoint that [Resolve] gave for one of its
// tasks. A node that is drained takes no new sessions.
func (n *SwarmNode) Entrance(through Endpoint) (Endpoint, bool) {
	if n.ID == "" || n.Down || !n.Address.IsValid() {
		return Endpoint{}, false
	}
	e := Endpoint{
		Name: n.Name + "/" + through.Mesh, Host: n.Name, ID: n.ID, Mesh: through.Mesh,
		Address: netip.AddrPortFrom(n.Address, through.Address.Port()),
		Weight:  through.Weight, Drain: through.Drain, Reason: through.Reason,
	}
	if n.Drained {
		e.Drain, e.Reason = true, HostDrained
	}
	return e, true
}
