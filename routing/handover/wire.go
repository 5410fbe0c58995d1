package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// DefaultPort is where nodes ask each other.
const DefaultPort = 10025

const (
	askTimeout = 300 * time.Millisecond // of one question, so that a dead node does not hold up a drain
	maxRequest = 64 << 10
	maxAsking  = 16 // connections at once
)

// Request is what a node that gives addresses up asks of one that may take
// them: to pass on, for a time, what belongs to its connections.
type Request struct {
	Moves        []Move `json:"moves,omitempty"`
	Milliseconds int    `json:"milliseconds,omitempty"`
}

// Word is what a node says of itself to one that must know before a VIP moves.
type Word struct {
	Node    string   `json:"node"`
	Fit     []string `json:"fit,omitempty"`     // VRRP VIPs that it could carry now: a backup in service that routers hear
	Serving []string `json:"serving,omitempty"` // VIPs with a ready endpoint
}

// Answers are a node's, to what others ask of it. They are called from any
// goroutine, and from says where the question came from, which a sender
// elsewhere on the path could feign.
type Answers interface {
	// PassOn passes on what belongs to connections of the asking node.
	PassOn(from netip.Addr, r Request) error
	// Comes takes in that the asking node is about to have VIPs again, within d,
	// and says whether it may: this one's clients have been told to reconnect.
	Comes(from netip.Addr, d time.Duration) (ready bool, err error)
	// Word is what this node says of itself.
	Word(from netip.Addr) (Word, error)
}

// question is one on the wire: to pass on, unless it says another.
type question struct {
	Request
	Comes bool `json:"comes,omitempty"`
	Word  bool `json:"word,omitempty"`
}

// answer says whether the request was taken, and what was asked for.
type answer struct {
	Error string `json:"error,omitempty"`
	Ready bool   `json:"ready,omitempty"`
	Word  *Word  `json:"word,omitempty"`
}

// Ask asks another node to pass connections on, from one node's address.
func Ask(ctx context.Context, from netip.Addr, to netip.AddrPort, r Request) error {
	return asking{from, to, askTimeout}.pass(ctx, r)
}

// AskReady tells another node that this one is about to have VIPs again within
// d, and asks whether it may.
func AskReady(ctx context.Context, from netip.Addr, to netip.AddrPort, d time.Duration) (ready bool, err error) {
	return asking{from, to, askTimeout}.ready(ctx, d)
}

// AskWord asks another node for what it says of itself.
func AskWord(ctx context.Context, from netip.Addr, to netip.AddrPort) (Word, error) {
	return asking{from, to, askTimeout}.word(ctx)
}

// asking is one node with questions to another, each to be answered in time.
type asking struct {
	from netip.Addr
	to   netip.AddrPort
	time time.Duration
}

func (n asking) pass(ctx context.Context, r Request) error {
	_, err := n.ask(ctx, question{Request: r})
	return err
}

func (n asking) ready(ctx context.Context, d time.Duration) (bool, error) {
	a, err := n.ask(ctx, question{Request: Request{Milliseconds: int(d.Milliseconds())}, Comes: true})
	return a.Ready, err
}

func (n asking) word(ctx context.Context) (Word, error) {
	a, err := n.ask(ctx, question{Word: true})
	if err == nil && a.Word == nil {
		err = fmt.Errorf("%s says nothing of itself", n.to)
	}
	if err != nil {
		return Word{}, err
	}
	return *a.Word, nil
}

func (n asking) ask(ctx context.Context, q question) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, n.time)
	defer cancel()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(n.from, 0))}
	conn, err := dialer.DialContext(ctx, "tcp", n.to.String())
	if err != nil {
		return a, fmt.Errorf("ask %s: %w", n.to, err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if err := json.NewEncoder(conn).Encode(q); err != nil {
		return a, fmt.Errorf("ask %s: %w", n.to, err)
	}
	if err := json.NewDecoder(io.LimitReader(conn, maxRequest)).Decode(&a); err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", n.to, err)
	}
	if a.Error != "" {
		return answer{}, fmt.Errorf("%s refuses: %.200q", n.to, a.Error)
	}
	return a, nil
}

// Serve answers questions on the listener until ctx ends. What a question may
// ask, and of whom, is for the answers to decide.
func Serve(ctx context.Context, listener net.Listener, answers Answers) error {
	context.AfterFunc(ctx, func() { listener.Close() })
	slots := make(chan struct{}, maxAsking)
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("serve hand-overs: %w", err)
			}
			time.Sleep(10 * time.Millisecond) // out of file descriptors, most likely
			continue
		}
		select {
		case slots <- struct{}{}:
			go func() {
				defer func() { conn.Close(); <-slots }()
				serve(conn, answers)
			}()
		default:
			conn.Close()
		}
	}
}

func serve(conn net.Conn, answers Answers) {
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return
	}
	var q question
	decoder := json.NewDecoder(io.LimitReader(conn, maxRequest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		return
	}
	a, err := q.put(from.Addr().Unmap(), answers)
	if err != nil {
		a = answer{Error: err.Error()}
	}
	_ = json.NewEncoder(conn).Encode(a)
}

// put has a question answered.
func (q question) put(from netip.Addr, answers Answers) (a answer, err error) {
	if q.Word {
		word, err := answers.Word(from)
		return answer{Word: &word}, err
	}
	if err := q.check(); err != nil {
		return a, err
	}
	if q.Comes {
		a.Ready, err = answers.Comes(from, q.Time())
		return a, err
	}
	return a, answers.PassOn(from, q.Request)
}

// check refuses what no node of ours would ask.
func (r Request) check() error {
	if d := r.Time(); d <= 0 || d > MaxTime {
		return fmt.Errorf("%d milliseconds are not between 1 and %d", r.Milliseconds, MaxTime.Milliseconds())
	}
	for _, m := range r.Moves {
		if !m.Address.IsValid() || !m.Via.IsValid() || m.Address.Is4() != m.Via.Is4() || m.Address.Is4In6() || m.Via.Is4In6() || m.Address.Zone() != "" || m.Via.Zone() != "" {
			return fmt.Errorf("%s via %s is not a pair of plain addresses", m.Address, m.Via)
		}
	}
	return nil
}

// Time is how long.
func (r Request) Time() time.Duration { return time.Duration(r.Milliseconds) * time.Millisecond }
