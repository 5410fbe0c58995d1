package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Node is a declared node as this one knows it. What another does is known
// only where its status can be read (nodes.<name>.status).
type Node struct {
	Address  string            `json:"address"`
	Here     bool              `json:"here,omitempty"` // it is this one
	State    string            `json:"state"`          // ready, not ready, unreachable; unknown = it never answered here
	Stage    string            `json:"stage,omitempty"`
	Revision string            `json:"revision,omitempty"`
	VIPs     map[string]string `json:"vips"` // those it may carry, each with its role there; "" = not known
}

func (n Node) tone() tone {
	switch n.State {
	case "ready":
		return good
	case "unknown":
		return off
	case "unreachable":
		return bad
	}
	return warn
}

// standing says in words what the node carries.
func (n Node) standing() string {
	var words []string
	if n.Here {
		words = append(words, "this node")
	}
	roles := make(map[string][]string)
	for _, vip := range sorted(n.VIPs) {
		roles[n.VIPs[vip]] = append(roles[n.VIPs[vip]], vip)
	}
	for _, role := range []string{"master", "active", "backup", "fault"} {
		if len(roles[role]) > 0 {
			words = append(words, role+" of "+some(roles[role]))
		}
	}
	if n.State == "unknown" {
		words = append(words, "its status cannot be read from here: nodes.<name>.status says where, and its --listen must be open to this node")
	} else if !n.Here && n.Revision != "" {
		words = append(words, "revision "+n.Revision)
	}
	if n.Stage != "" && n.Stage != "in service" {
		words = append(words, n.Stage)
	}
	return strings.Join(words, "; ")
}

// some names a few and counts the rest.
func some(names []string) string {
	const most = 6
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// carries reports whether a node with this role takes the VIP's packets.
func carries(role string) bool { return slices.Contains([]string{"master", "active"}, role) }

// brief is the report without what other nodes know themselves.
func (r *Report) brief() *Report {
	b := *r
	b.Hosts, b.Services, b.Certificates, b.Nodes, b.Drained = nil, nil, nil, nil, nil
	return &b
}

// serveNode is GET /v1/node: the part of the report that other nodes ask for.
func (s *Server) serveNode(w http.ResponseWriter, _ *http.Request) {
	body, err := json.Marshal(s.report().brief())
	if err != nil {
		s.log.Error("render the report", "err", err)
		plain(w, http.StatusInternalServerError, "the report cannot be rendered; see the log")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n'))
}

// Node asks for the part of the report that is about the node itself.
func (c *Client) Node(ctx context.Context) (*Report, error) {
	body, err := c.do(ctx, http.MethodGet, "/v1/node", nil)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("read the report of %s: %w", c.addr, err)
	}
	return &r, nil
}

// nodeStates are what events tell of other nodes.
func nodeStates(r *Report) map[string]string {
	states := make(map[string]string)
	for name, n := range r.Nodes {
		if !n.Here {
			states[name] = n.State
		}
	}
	return states
}
