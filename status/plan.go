package status

import "slices"

// Plan says what a revision would change, before it does. It is the answer of
// POST /v1/plan and of vipilot plan.
type Plan struct {
	Asked   string     `json:"asked"` // the node whose controller was asked; "" when two sources were compared
	From    string     `json:"from"`  // revisions
	To      string     `json:"to"`
	Changed bool       `json:"changed"` // whether anything at all would
	Changes []Change   `json:"changes"` // what the files say differently
	Nodes   []NodePlan `json:"nodes"`
	Notes   []string   `json:"notes"` // what could not be foreseen
}

// What a revision does to a thing.
const (
	Added   = "added"
	Changed = "changed"
	Removed = "removed"
)

// Change is one declared thing that the revision adds, changes or removes.
type Change struct {
	Action string      `json:"action"`
	Kind   string      `json:"kind"` // service, vip, node, host, network; a section's name otherwise
	Name   string      `json:"name"`
	Keys   []KeyChange `json:"keys"` // of a changed thing
	// Raw marks a thing with lines of HAProxy's own language, which vipilot
	// checks and does not understand.
	Raw bool `json:"raw,omitempty"`
}

// KeyChange is one key of a changed thing.
type KeyChange struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// NodePlan is what becomes of one node.
type NodePlan struct {
	Node       string          `json:"node"`
	Action     string          `json:"action"` // Added, Removed, or "" where it stays
	Components []ComponentPlan `json:"components"`
	Endpoints  []SetChange     `json:"endpoints"` // by service
	VIPs       []SetChange     `json:"vips"`      // addresses it may carry, by VIP
	Prefixes   SetChange       `json:"prefixes"`  // what it may announce
	Peers      SetChange       `json:"peers"`
	Clients    []string        `json:"clients"` // what clients will notice
	Files      []FileChange    `json:"files,omitempty"`
}

// ComponentPlan is what one component does: nothing, a runtime update, a
// reload, a start or a stop.
type ComponentPlan struct {
	Component string   `json:"component"` // haproxy, keepalived, speaker; udp where there are UDP services
	Action    string   `json:"action"`
	Causes    []string `json:"causes"` // why it is more than a runtime update
}

// SetChange is what comes into a set and what leaves it.
type SetChange struct {
	Name    string   `json:"name"`
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
	Changed []string `json:"changed"`
}

// Empty reports whether nothing comes, goes or changes.
func (s SetChange) Empty() bool { return len(s.Added)+len(s.Removed)+len(s.Changed) == 0 }

// Words says the change in words, one for each member.
func (s SetChange) Words() []string {
	var words []string
	for _, part := range []struct {
		names []string
		what  string
	}{{s.Added, Added}, {s.Changed, Changed}, {s.Removed, Removed}} {
		for _, name := range part.names {
			words = append(words, name+" "+part.what)
		}
	}
	return words
}

// Empty reports whether the node does nothing at all.
func (n NodePlan) Empty() bool {
	busy := func(c ComponentPlan) bool { return c.Action != "none" }
	return n.Action == "" && !slices.ContainsFunc(n.Components, busy) && len(n.Endpoints)+len(n.VIPs) == 0 && n.Prefixes.Empty() && n.Peers.Empty()
}

// FileChange is a generated file whose content becomes another one.
type FileChange struct {
	Name string `json:"name"`
	Diff string `json:"diff"` // unified, passwords masked
}
