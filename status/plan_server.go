package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// maxPlan bounds the body of POST /v1/plan: a whole configuration.
const maxPlan = 128 << 20

// PlanRequest is the body of POST /v1/plan: a whole configuration, secrets
// and certificates included, so it is only taken from who may change state.
type PlanRequest struct {
	Files map[string][]byte `json:"files"` // by name relative to the root, or absolute where referenced so
	Node  string            `json:"node,omitempty"`
	Diff  bool              `json:"diff,omitempty"` // with the generated files
}

// ErrInvalid is a request that asks for something impossible, such as a plan
// for a configuration with faults.
var ErrInvalid = errors.New("invalid")

func (s *Server) servePlan(w http.ResponseWriter, r *http.Request) {
	if s.opts.Plan == nil {
		plain(w, http.StatusNotImplemented, "this controller makes no plans")
		return
	}
	var request PlanRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		plain(w, http.StatusBadRequest, fmt.Sprintf("read the configuration to plan: %v", err))
		return
	}
	plan, err := s.opts.Plan(r.Context(), request)
	switch {
	case errors.Is(err, ErrInvalid):
		plain(w, http.StatusUnprocessableEntity, err.Error())
		return
	case err != nil:
		plain(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(plan); err != nil {
		s.log.Error("render a plan", "err", err)
		plain(w, http.StatusInternalServerError, "the plan cannot be rendered; see the log")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body.Bytes())
}

// Plan asks what a configuration would change. Nothing is changed.
func (c *Client) Plan(ctx context.Context, request PlanRequest) (*Plan, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("send the configuration: %w", err)
	}
	answer, err := c.do(ctx, http.MethodPost, "/v1/plan", body)
	if err != nil {
		return nil, err
	}
	var plan Plan
	if err := json.Unmarshal(answer, &plan); err != nil {
		return nil, fmt.Errorf("read the plan of %s: %w", c.addr, err)
	}
	return &plan, nil
}
