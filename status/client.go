package status

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// SocketName is the controller's socket in its run directory.
const SocketName = "vipilot.sock"

// ErrNobody says that no controller is where it was looked for.
var ErrNobody = errors.New("nothing listens there")

// maxReport bounds what a client reads of an answer.
const maxReport = 256 << 20

// Client asks a running controller. Its methods may be called from any
// goroutine.
type Client struct {
	Token string // for what changes state, over TCP

	addr string // as given, for messages
	base string
	http *http.Client

	transport *http.Transport
}

// NewClient makes a client for addr: "host:port", an http URL,
// "unix:/path/of.sock", or a run directory such as /run/vipilot. Nothing is
// dialled yet.
func NewClient(addr string) *Client {
	c := &Client{addr: addr, base: "http://vipilot"}
	transport := &http.Transport{IdleConnTimeout: 30 * time.Second}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	path, isSocket := strings.CutPrefix(addr, "unix:")
	switch {
	case isSocket:
	case strings.HasPrefix(addr, "http://"), strings.HasPrefix(addr, "https://"):
		c.base = strings.TrimSuffix(addr, "/")
	case strings.ContainsRune(addr, filepath.Separator):
		path, isSocket = filepath.Join(addr, SocketName), true
	default:
		c.base = "http://" + addr
	}
	transport.DialContext = dialer.DialContext
	if isSocket {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
	}
	c.http, c.transport = &http.Client{Transport: transport}, transport
	return c
}

// Close lets idle connections go.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Report asks for the last report.
func (c *Client) Report(ctx context.Context) (*Report, error) {
	body, err := c.do(ctx, http.MethodGet, "/v1/status", nil)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("read the report of %s: %w", c.addr, err)
	}
	return &r, nil
}

// Sync makes the controller look for a new configuration and waits until it
// was taken or refused.
func (c *Client) Sync(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodPost, "/v1/sync", nil)
	return err
}

// Check asks GET /healthz or /readyz and gives what was said; any answer but
// 200 is an error with it.
func (c *Client) Check(ctx context.Context, path string) (string, error) {
	said, err := c.do(ctx, http.MethodGet, path, nil)
	return string(said), err
}

// Approve lets the revision that waits through; the beginning of its name will
// do.
func (c *Client) Approve(ctx context.Context, revision string) (*Approval, error) {
	body, err := c.do(ctx, http.MethodPost, "/v1/approve?"+url.Values{"revision": {revision}}.Encode(), nil)
	if err != nil {
		return nil, err
	}
	a := Approval{Revision: revision} // a controller of before the answer had a form says "ok"
	_ = json.Unmarshal(body, &a)
	return &a, nil
}

// Do runs a further action (see [ServerOptions]) with a body and gives the
// answer's.
func (c *Client) Do(ctx context.Context, action string, body []byte) ([]byte, error) {
	return c.do(ctx, http.MethodPost, "/v1/"+action, body)
}

// Events yields the kept events with an ID above after, then each new one,
// until ctx ends or the caller stops. A lost connection is yielded as an error
// and ends the sequence; go on with the last ID seen.
func (c *Client) Events(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		resp, err := c.send(ctx, http.MethodGet, fmt.Sprintf("/v1/events?after=%d", after), nil)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue // id and kind are in the data too
			}
			var e Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				yield(Event{}, fmt.Errorf("read an event of %s: %w", c.addr, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if ctx.Err() == nil {
			yield(Event{}, fmt.Errorf("follow the events of %s: %w", c.addr, orEOF(lines.Err())))
		}
	}
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxReport))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.addr, err)
	}
	return answer, nil
}

// send gives the answer when its code is 200, otherwise what it says as an error.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the controller at %s: %w", c.addr, err)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return nil, fmt.Errorf("ask the controller at %s: %w", c.addr, ErrNobody)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the controller at %s: %w", c.addr, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return nil, fmt.Errorf("ask the controller at %s: %s %s: %s: %s", c.addr, method, path, resp.Status, bytes.TrimSpace(text))
}
