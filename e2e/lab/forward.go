package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Forward makes a TCP address of a host reachable on this machine's loopback,
// until ctx ends: at the preferred port, or at any other when that is taken.
// It returns the address to use.
func (h *Host) Forward(ctx context.Context, preferred int, to string) (string, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", preferred))
	if err != nil {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", fmt.Errorf("forward to %s: %w", h.Name, err)
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go h.relay(ctx, conn, to)
			}
		}
	}()
	return listener.Addr().String(), nil
}

// relay copies both ways until either side ends or ctx does.
func (h *Host) relay(ctx context.Context, near net.Conn, to string) {
	defer near.Close()
	dialing, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	far, err := h.Dial(dialing, "tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(far, near)
		far.Close()
	}()
	_, _ = io.Copy(near, far)
}
