package docker

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// What is read of one answer, or of one event, at the most. The second bound is
// on what comes out of it: three bytes of JSON can become hundreds in memory. An
// engine with 10,000 containers needs a quarter of either.
const (
	maxAnswer = 64 << 20
	maxCost   = 8_000_000
	maxEvent  = 1 << 20
	objectFee = 16      // cost of an object, where a value costs 1
	maxListed = 100_000 // containers of one engine, each of which is inspected
)

var errTooMuch = errors.New("it says more than any docker engine would")

// bounded reads no more of an answer than an engine would say: whoever sits
// before an engine must not fill the memory of all nodes.
type bounded struct {
	http.RoundTripper
	most  allowance
	later bool // bytes alone: the caller has the whole answer looked at by [allowance.covers]
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	left := b.most
	stream := strings.HasSuffix(r.URL.Path, "/events") && resp.StatusCode == http.StatusOK
	if stream {
		left.bytes = min(left.bytes, maxEvent)
	}
	resp.Body = &reading{ReadCloser: resp.Body, full: left, left: left, stream: stream, later: b.later}
	return resp, nil
}

type allowance struct{ bytes, cost int }

// reading follows the JSON that is read through it, as far as it has to: where
// strings are, and how deep the nesting is.
type reading struct {
	io.ReadCloser
	full, left allowance
	stream     bool // of values; each is bounded, not all together
	later      bool // only the bytes count
	depth      int
	text       bool // within a string
	escaped    bool // after a backslash in it
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if r.later {
		r.left.bytes -= n
		if r.left.bytes < 0 {
			return 0, r.full.exceeded()
		}
		return n, err
	}
	for _, c := range p[:n] {
		r.see(c)
		if r.left.bytes < 0 || r.left.cost < 0 {
			return 0, r.full.exceeded()
		}
	}
	return n, err
}

func (a allowance) exceeded() error {
	return fmt.Errorf("%w (%d MiB at the most)", errTooMuch, a.bytes>>20)
}

// covers reports whether a whole answer may be decoded. Almost all are too short
// to cost too much whatever they say, and are not looked at: a start reads
// thousands of them.
func (a allowance) covers(answer []byte) error {
	if len(answer) <= a.cost/objectFee {
		return nil
	}
	r := reading{full: a, left: a}
	for _, c := range answer {
		if r.see(c); r.left.cost < 0 {
			return a.exceeded()
		}
	}
	return nil
}

func (r *reading) see(c byte) {
	r.left.bytes--
	switch {
	case r.escaped:
		r.escaped = false
	case r.text:
		r.escaped, r.text = c == '\\', c != '"'
	case c == '"':
		r.text = true
	case c == '{':
		r.depth++
		r.left.cost -= objectFee
	case c == '[':
		r.depth++
		r.left.cost--
	case c == ',':
		r.left.cost--
	case c == '}' || c == ']':
		if r.depth--; r.depth <= 0 && r.stream {
			r.depth, r.left = 0, r.full
		}
	}
}
