package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

const (
	callTimeout  = 10 * time.Second // a PUT may wait for a dead man's switch
	startTimeout = 5 * time.Second  // from start to an open socket
	stopGrace    = 10 * time.Second
)

// ClientOptions of NewClient.
type ClientOptions struct {
	RunDir string
	// Spec starts the sentinel. Its Record is set by the client.
	Spec   supervise.Spec
	Attach bool         // use one that somebody else starts, and never start or stop it
	Logger *slog.Logger // nil = silent
}

// Status tells about the sentinel's process.
type Status struct {
	Running bool
	PID     int
	Adopted bool  // another controller started it
	Err     error // the last failure, nil once it was overcome
}

// Client is the controller's end: it keeps the sentinel alive and tells it
// what is wanted. Its methods may be called from several goroutines.
type Client struct {
	opts    ClientOptions
	log     *slog.Logger
	http    *http.Client
	changes chan struct{}

	calls sync.Mutex // one start or PUT at a time

	mu      sync.Mutex
	process *supervise.Process
	adopted *supervise.Process // the last one that was there before
	err     error
	state   State
	known   bool   // state is of the living process
	wanted  []byte // the last Want, as JSON
	agreed  []byte // the last Want this process confirmed
	closed  bool
}

// NewClient starts nothing yet.
func NewClient(opts ClientOptions) *Client {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Spec.Record = filepath.Join(opts.RunDir, Record)
	return &Client{
		opts: opts, log: opts.Logger.With("component", "sentinel"),
		http: &http.Client{Transport: overSocket(opts.RunDir)}, changes: make(chan struct{}, 1),
	}
}

// Set makes want the orders in force, starting the sentinel if need be. It
// returns once the sentinel has acted on them; orders that it confirmed
// before are not sent again. A refusal or failure leaves the orders before in
// force; Run goes on trying to hand over the new ones.
func (c *Client) Set(ctx context.Context, want Want) (changed bool, err error) {
	want.Version = WantVersion
	body, err := json.Marshal(want)
	if err != nil {
		return false, fmt.Errorf("set sentinel: %w", err)
	}
	c.mu.Lock()
	c.wanted = body
	c.mu.Unlock()
	return c.deliver(ctx)
}

// deliver brings the last Want to a living sentinel, unless it has it already.
func (c *Client) deliver(ctx context.Context) (changed bool, err error) {
	c.calls.Lock()
	defer c.calls.Unlock()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.ensure(ctx); err != nil {
		return false, c.failed(err)
	}
	c.mu.Lock()
	body, agreed := c.wanted, c.agreed
	c.mu.Unlock()
	if body == nil || bytes.Equal(body, agreed) {
		return false, nil
	}
	answer, err := c.put(ctx, body)
	if err != nil {
		return false, c.failed(fmt.Errorf("set sentinel: %w", err))
	}
	c.mu.Lock()
	c.agreed, c.err = body, nil
	c.mu.Unlock()
	c.learn(answer.State)
	return answer.Changed, nil
}

func (c *Client) put(ctx context.Context, body []byte) (answer Answer, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://sentinel"+PathWant, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return answer, json.NewDecoder(response.Body).Decode(&answer)
	}
	r := &refusal{Status: response.Status}
	_ = json.NewDecoder(response.Body).Decode(r)
	return answer, r
}

// refusal is an answer other than OK.
type refusal struct {
	Status string `json:"-"`
	Text   string `json:"error"`
}

func (r *refusal) Error() string { return r.Status + ": " + r.Text }

// Changes pokes after State or Status may have changed. One reader.
func (c *Client) Changes() <-chan struct{} { return c.changes }

// State is the last one told by the sentinel that lives; false = none.
func (c *Client) State() (State, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.known
}

// Status tells whether the sentinel lives, and the last failure.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{Err: c.err}
	if c.process != nil {
		s.Running, s.PID, s.Adopted = true, c.process.PID, c.process == c.adopted
	}
	return s
}

// Close withdraws everything, ends the sentinel, unless it was attached to,
// and waits for its end. It is
// for a node that leaves; a controller that only restarts just goes.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	body := c.wanted
	c.closed = true
	c.mu.Unlock()
	c.calls.Lock()
	defer c.calls.Unlock()
	p, err := c.find()
	if errors.Is(err, supervise.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop sentinel: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	var withdrawn error
	var want Want
	if body != nil && json.Unmarshal(body, &want) == nil {
		// The emptied orders are also what a later sentinel would find.
		want.Routing.Prefixes = nil
		if body, err = json.Marshal(want); err == nil {
			_, withdrawn = c.put(ctx, body)
		}
	}
	grace := stopGrace
	if deadline, ok := ctx.Deadline(); ok {
		grace = time.Until(deadline)
	}
	if c.opts.Attach {
		return withdrawn
	}
	if err := p.Stop(syscall.SIGTERM, max(grace, time.Second)); err != nil {
		return errors.Join(withdrawn, fmt.Errorf("stop sentinel: %w", err))
	}
	c.lost(p)
	return nil // its end withdrew, whatever became of the PUT
}
