package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Question is what somebody wants explained.
type Question struct {
	Subject string // a container, a service, an address or a URL
	// Resolved are the addresses that the asker's resolver has for the host of
	// a URL, and Unresolved why it has none. Both empty = nobody looked.
	Resolved   []string
	Unresolved string
}

// Answer is GET /v1/explain: the explanation that fits best, and others where
// the subject means several things.
type Answer struct {
	Subject string `json:"subject"`
	Node    string `json:"node"`
	Found   bool   `json:"found"`
	Explanation
	Others     []Explanation `json:"others"`
	LeftOut    int           `json:"left_out"` // more that are not shown
	DidYouMean []string      `json:"did_you_mean"`
}

// Explanation says step by step whether one thing gets traffic through this
// node.
type Explanation struct {
	Kind    string `json:"kind"` // container, server, service, vip, host, url; unknown
	Name    string `json:"name"`
	Verdict string `json:"verdict"` // [GetsTraffic], [NoTraffic], or "" when nothing was found
	Reason  string `json:"reason"`  // why not, a sentence; "" when it does
	Next    string `json:"next"`    // what to do about it
	Steps   []Step `json:"steps"`
}

// What an explanation comes to.
const (
	GetsTraffic = "gets traffic"
	NoTraffic   = "gets no traffic"
)

// Verdict is what one step comes to.
type Verdict string

// The verdicts of a step.
const (
	OK   Verdict = "ok"
	Fail Verdict = "fail" // traffic ends here
	Warn Verdict = "warn" // traffic goes on, but look
	Skip Verdict = "skip" // says nothing for or against
)

// Step is one link of the chain from a name to a container.
type Step struct {
	Step    string  `json:"step"` // host, container, service, address, server, frontend, vip, announce; dns, tls, rule, endpoints
	Service string  `json:"service,omitempty"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
	Reason  string  `json:"reason,omitempty"` // the word for it, such as port_not_published
	Next    string  `json:"next,omitempty"`   // what to do about it
	Detail  []Note  `json:"detail,omitempty"`
}

// Note is one thing that a step has looked at.
type Note struct {
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
}

// MarshalJSON renders lists nobody filled as [], never null.
func (a Answer) MarshalJSON() ([]byte, error) {
	type plain Answer // without this method
	p := plain(a)
	p.Steps, p.DidYouMean = orNone(p.Steps), orNone(p.DidYouMean)
	p.Others = append([]Explanation{}, p.Others...)
	for i := range p.Others {
		p.Others[i].Steps = orNone(p.Others[i].Steps)
	}
	return json.Marshal(p)
}

// Limits of one question.
const (
	maxSubject     = 2048
	maxResolved    = 16
	explainTimeout = 4 * time.Second
	maxExplainers  = 2 // at the same time: an explanation may ask HAProxy, which has other work
)

func (s *Server) serveExplain(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	q := Question{Subject: query.Get("subject"), Resolved: query["resolved"], Unresolved: query.Get("unresolved")}
	switch {
	case s.opts.Explain == nil:
		plain(w, http.StatusNotImplemented, "this controller does not explain")
		return
	case q.Subject == "":
		plain(w, http.StatusBadRequest, "name what to explain: GET /v1/explain?subject=CONTAINER, a service, an address or a URL")
		return
	case len(q.Subject) > maxSubject || len(q.Unresolved) > maxSubject || len(q.Resolved) > maxResolved:
		plain(w, http.StatusBadRequest, fmt.Sprintf("the question is too long: a subject has at most %d bytes", maxSubject))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
	defer cancel()
	select {
	case s.explainers <- struct{}{}:
		defer func() { <-s.explainers }()
	case <-ctx.Done():
		plain(w, http.StatusServiceUnavailable, "too many ask for explanations at the same time; ask again")
		return
	}
	answer, err := s.opts.Explain(ctx, q)
	if err != nil {
		plain(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		s.log.Error("render an explanation", "err", err)
		plain(w, http.StatusInternalServerError, "the explanation cannot be rendered; see the log")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n'))
}

// Explain asks why something does or does not get traffic.
func (c *Client) Explain(ctx context.Context, q Question) (*Answer, error) {
	query := url.Values{"subject": {q.Subject}, "resolved": q.Resolved}
	if q.Unresolved != "" {
		query.Set("unresolved", q.Unresolved)
	}
	body, err := c.do(ctx, http.MethodGet, "/v1/explain?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	var a Answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("read the explanation of %s: %w", c.addr, err)
	}
	return &a, nil
}
