package controller

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipilot/vipilot/routing/handover"
)

// TestPassOnForWhom: connections are passed on for a node that carries the VIP
// as well, to an address on the wire, by a node that stays.
func TestPassOnForWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := testLoop(t, newNode(t), load(t, anycasting))
		move := func(address, via string) handover.Request {
			return handover.Request{Moves: []handover.Move{{Address: netip.MustParseAddr(address), Via: netip.MustParseAddr(via)}}, Milliseconds: 1000}
		}
		lb2 := netip.MustParseAddr("10.77.0.22")
		if err := l.PassOn(lb2, move("203.0.113.10", "10.77.0.22")); err == nil {
			t.Error("taken without a configuration")
		}
		defer start(t, l)()
		synctest.Wait()
		for _, c := range []struct {
			from    string
			request handover.Request
			want    string
		}{
			{"10.77.0.99", move("203.0.113.10", "10.77.0.22"), "no other node's address"},
			{"10.77.0.21", move("203.0.113.10", "10.77.0.22"), "no other node's address"}, // itself
			{"10.77.0.22", move("198.18.0.1", "10.77.0.22"), "no address of a VIP"},
			{"10.77.0.22", move("203.0.113.10", "198.18.0.1"), "on no network"},
		} {
			if err := l.PassOn(netip.MustParseAddr(c.from), c.request); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("from %s, %+v: %v, want %s", c.from, c.request, err, c.want)
			}
		}
		offered(t, l, load(t, strings.Replace(anycasting, "lb1: {", "lb1: {state: drain, ", 1)))
		if err := l.PassOn(lb2, move("203.0.113.10", "10.77.0.22")); err == nil || !strings.Contains(err.Error(), "drained itself") {
			t.Errorf("while drained: %v", err)
		}
	})
}

// TestPortIsTriedAgain: a port that cannot be had at the start is had later.
func TestPortIsTriedAgain(t *testing.T) {
	pid := os.Getpid() // an address of its own and no port that others are given: it must be free once it is let go
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 64 | byte(pid>>16), byte(pid >> 8), byte(pid)}), 10025)
	taken, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	said := make(lines, 10)
	l := &loop{log: slog.New(slog.NewTextHandler(said, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); l.answerNodes(ctx, at) }()
	if line := <-said; !strings.Contains(line, "trying again") {
		t.Errorf("said %s", line)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := handover.AskWord(ctx, at.Addr(), at)
		if err != nil && strings.Contains(err.Error(), "no configuration is in force") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("nobody answers at the port: %v", err)
		}
	}
	cancel()
	<-ended
}

// lines are what was logged.
type lines chan string

func (l lines) Write(text []byte) (int, error) { l <- string(text); return len(text), nil }
