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
	Moves        []Move `json:"moves"`
	Milliseconds int    `json:"milliseconds"`
}

// answer says whether the request was taken.
type answer struct {
	Error string `json:"error,omitempty"`
}

// Ask sends r from one node's address to another node.
func Ask(ctx context.Context, from netip.Addr, to netip.AddrPort, r Request) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return fmt.Errorf("ask %s to pass connections on: %w", to, err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return fmt.Errorf("ask %s to pass connections on: %w", to, err)
	}
	var a answer
	if err := json.NewDecoder(io.LimitReader(conn, maxRequest)).Decode(&a); err != nil {
		return fmt.Errorf("ask %s to pass connections on: %w", to, err)
	}
	if a.Error != "" {
		return fmt.Errorf("%s does not pass connections on: %.200q", to, a.Error)
	}
	return nil
}

// Serve answers requests on the listener until ctx ends. What a request may
// ask, and of whom, is for take to decide; from is where it came from, which
// a sender elsewhere on the path could feign.
func Serve(ctx context.Context, listener net.Listener, take func(from netip.Addr, r Request) error) error {
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
				serve(conn, take)
			}()
		default:
			conn.Close()
		}
	}
}

func serve(conn net.Conn, take func(netip.Addr, Request) error) {
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return
	}
	var r Request
	decoder := json.NewDecoder(io.LimitReader(conn, maxRequest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return
	}
	err = r.check()
	if err == nil {
		err = take(from.Addr().Unmap(), r)
	}
	var a answer
	if err != nil {
		a.Error = err.Error()
	}
	_ = json.NewEncoder(conn).Encode(a)
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
