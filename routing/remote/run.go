package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
	steady     = 10 * time.Second // a sentinel that lived this long starts the backoff anew
)

// Run keeps the sentinel alive, follows its state, and hands it the last Want
// after every start and reconnection, until ctx ends or Close is called. The
// sentinel lives on.
func (c *Client) Run(ctx context.Context) error {
	pause := backoffMin
	for {
		begun := time.Now()
		_, err := c.deliver(ctx)
		if refused := new(refusal); err == nil || errors.As(err, &refused) {
			err = c.follow(ctx) // orders that were refused are no reason not to look
		}
		if ctx.Err() != nil || c.isClosed() {
			return nil
		}
		c.forget()
		if c.failed(err); time.Since(begun) > steady {
			pause = backoffMin
		}
		c.log.Warn("sentinel lost", "err", err, "again_in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, backoffMax)
	}
}

// follow reads the watch until it breaks.
func (c *Client) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p, err := c.find()
	if err != nil {
		return fmt.Errorf("watch sentinel: %w", err)
	}
	go func() {
		select {
		case <-p.Done():
			cancel(errors.New("it ended"))
		case <-ctx.Done():
		}
	}()
	silence := time.AfterFunc(2*Heartbeat, func() { cancel(errors.New("no heartbeat")) })
	defer silence.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sentinel"+PathWatch, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("watch sentinel: %w", err)
	}
	defer response.Body.Close()
	var s State
	var line, last json.RawMessage
	for lines := json.NewDecoder(response.Body); ; {
		err := lines.Decode(&line)
		if err == nil && !bytes.Equal(line, last) { // most lines only say that the sentinel lives
			s, last = State{}, slices.Clone(line)
			err = json.Unmarshal(line, &s)
		}
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("watch sentinel: %w", err)
		}
		silence.Reset(2 * Heartbeat)
		c.learn(s)
	}
}

// ensure has a living sentinel with an open socket: the one remembered, the
// one recorded, or a new one.
func (c *Client) ensure(ctx context.Context) error {
	if c.isClosed() {
		return errors.New("the client is closed")
	}
	p, err := c.find()
	if errors.Is(err, supervise.ErrNotRunning) && c.opts.Attach {
		return fmt.Errorf("attach to sentinel: none runs on %s, and it is not ours to start (--sentinel attach): start it with `vipilot init sentinel`", c.opts.RunDir)
	}
	if errors.Is(err, supervise.ErrNotRunning) {
		if p, err = supervise.Start(c.opts.Spec); err == nil {
			c.log.Info("sentinel started", "pid", p.PID)
			c.took(p)
		}
	}
	if err != nil {
		return fmt.Errorf("start sentinel: %w", err)
	}
	return c.waitSocket(ctx, p)
}

// find gives the living process, remembered or recorded.
func (c *Client) find() (*supervise.Process, error) {
	c.mu.Lock()
	p := c.process
	c.mu.Unlock()
	if p != nil {
		select {
		case <-p.Done():
			c.lost(p)
		default:
			return p, nil
		}
	}
	p, err := c.look()
	if err != nil {
		return nil, err
	}
	c.log.Info("sentinel adopted", "pid", p.PID)
	c.mu.Lock()
	c.adopted = p
	c.mu.Unlock()
	c.took(p)
	return p, nil
}

// look finds a sentinel that runs already.
func (c *Client) look() (*supervise.Process, error) {
	if !c.opts.Attach {
		return supervise.Adopt(c.opts.Spec.Record)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return supervise.FindListener(ctx, filepath.Join(c.opts.RunDir, Socket))
}

func (c *Client) waitSocket(ctx context.Context, p *supervise.Process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	name := filepath.Join(c.opts.RunDir, Socket)
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", name)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.Done():
			c.lost(p)
			return fmt.Errorf("start sentinel: it ended at once, its log tells why: %s", c.opts.Spec.Log)
		case <-ctx.Done():
			return fmt.Errorf("reach sentinel: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// took remembers a process and tells of its end.
func (c *Client) took(p *supervise.Process) {
	c.mu.Lock()
	c.process, c.agreed, c.known = p, nil, false
	c.mu.Unlock()
	c.poke()
	go func() {
		<-p.Done()
		c.lost(p)
	}()
}

func (c *Client) lost(p *supervise.Process) {
	c.mu.Lock()
	if c.process == p {
		c.process, c.agreed, c.known = nil, nil, false
	}
	c.mu.Unlock()
	c.poke()
}

// forget has the next round send the Want again.
func (c *Client) forget() {
	c.mu.Lock()
	c.agreed = nil
	c.mu.Unlock()
}

func (c *Client) learn(s State) {
	c.mu.Lock()
	news := !c.known || !reflect.DeepEqual(s, c.state)
	if c.process != nil && c.process.PID == s.PID {
		c.state, c.known = s, true
	}
	c.mu.Unlock()
	if news {
		c.poke()
	}
}

func (c *Client) failed(err error) error {
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	c.poke()
	return err
}

func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *Client) poke() {
	select {
	case c.changes <- struct{}{}:
	default:
	}
}
