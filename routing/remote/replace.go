package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// endTime is how long a sentinel that hands over may take to end.
const endTime = 5 * time.Second

// HandOver tells the sentinel of runDir to end and to leave everything as it is
// for the next one, which whoever started it has to start within five seconds.
// One that would lose a route by it refuses, and the error says why.
func HandOver(ctx context.Context, runDir string) error {
	return handOver(ctx, &http.Client{Transport: overSocket(runDir)})
}

func overSocket(runDir string) *http.Transport {
	socket := filepath.Join(runDir, Socket)
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
}

func handOver(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sentinel"+PathHandOver, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	r := &refusal{Status: response.Status}
	if response.StatusCode == http.StatusNotFound {
		r.Text = "this sentinel is too old to hand over"
	}
	_ = json.NewDecoder(response.Body).Decode(r)
	return fmt.Errorf("hand over: %w", r)
}

// Replace has the sentinel hand over, and starts the next one, which takes up
// the orders in force. Nothing is done to one that refuses.
func (c *Client) Replace(ctx context.Context) error {
	if c.opts.Attach {
		return errors.New("replace sentinel: it is not ours to start (--sentinel attach)")
	}
	c.calls.Lock()
	defer c.calls.Unlock()
	p, err := c.find()
	if err != nil {
		return fmt.Errorf("replace sentinel: %w", err)
	}
	if err := handOver(ctx, c.http); err != nil {
		return fmt.Errorf("replace sentinel: %w", err)
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return fmt.Errorf("replace sentinel: wait for its end: %w", ctx.Err())
	case <-time.After(endTime):
		return fmt.Errorf("replace sentinel: it does not end")
	}
	return c.ensure(ctx) // Run hands it the orders
}
