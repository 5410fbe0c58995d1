package status

import (
	"context"
	"encoding/json"
	"fmt"
)

// What can be drained by hand.
const (
	DrainEndpoint = "endpoint"
	DrainHost     = "host"
	DrainNode     = "node"
)

// DrainRequest is the body of POST /v1/drain: take one thing out of service,
// or back into it.
type DrainRequest struct {
	Kind string `json:"kind"` // endpoint, host, node
	Name string `json:"name"` // as in the report; of a node it may be left out
	Undo bool   `json:"undo,omitempty"`
	Look bool   `json:"look,omitempty"` // change nothing, only tell how it stands
}

// DrainAnswer is how the thing stands now.
type DrainAnswer struct {
	Kind      string            `json:"kind"`
	Name      string            `json:"name"`
	Drained   bool              `json:"drained"`
	Changed   bool              `json:"changed"`         // false: it was so already
	Stage     string            `json:"stage,omitempty"` // of a node, as in the report
	Endpoints []DrainedEndpoint `json:"endpoints"`
	Empty     []string          `json:"empty"` // of the services concerned, those without a ready endpoint
}

// DrainedEndpoint is one endpoint concerned, and the sessions it still carries.
type DrainedEndpoint struct {
	Service  string `json:"service"`
	Name     string `json:"name"`
	Address  string `json:"address"`
	Sessions int    `json:"sessions"`
}

// Sessions are those left on all endpoints concerned.
func (a DrainAnswer) Sessions() int {
	n := 0
	for _, e := range a.Endpoints {
		n += e.Sessions
	}
	return n
}

// Done reports whether nothing comes any more and no session is left.
func (a DrainAnswer) Done() bool {
	return a.Sessions() == 0 && (a.Kind != DrainNode || a.Stage == "drained")
}

// Drained is what people have taken out of service on this node.
type Drained struct {
	Node      bool     `json:"node,omitempty"`
	Hosts     []string `json:"hosts"`
	Endpoints []string `json:"endpoints"`
}

// Drain asks the controller to drain something, and returns when no new
// session goes there.
func (c *Client) Drain(ctx context.Context, r DrainRequest) (*DrainAnswer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	data, err := c.Do(ctx, "drain", body)
	if err != nil {
		return nil, err
	}
	var answer DrainAnswer
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.addr, err)
	}
	return &answer, nil
}
