package handover

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var here = netip.MustParseAddr("127.0.0.1")

// served starts a node that takes requests.
func served(t *testing.T, take func(netip.Addr, Request) error) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, take) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return netip.MustParseAddrPort(listener.Addr().String())
}

func TestAsk(t *testing.T) {
	want := Request{Moves: []Move{{vip, other}, {vip6, netip.MustParseAddr("2001:db8:77::21")}}, Milliseconds: 1500}
	var refusal error
	var got Request
	at := served(t, func(from netip.Addr, r Request) error {
		if from != here {
			t.Errorf("from %s", from)
		}
		got = r
		return refusal
	})
	if err := Ask(t.Context(), here, at, want); err != nil {
		t.Fatal(err)
	}
	if len(got.Moves) != 2 || got.Moves[0] != want.Moves[0] || got.Moves[1] != want.Moves[1] || got.Time() != 1500*time.Millisecond {
		t.Errorf("taken: %+v", got)
	}
	refusal = errors.New("node lb2 is being drained itself\nbecause")
	err := Ask(t.Context(), here, at, want)
	if err == nil || !strings.Contains(err.Error(), "drained itself") || strings.Contains(err.Error(), "\n") {
		t.Errorf("refused: %v", err)
	}
	for _, late := range []int{0, -1, int(MaxTime.Milliseconds()) + 1} {
		if err := Ask(t.Context(), here, at, Request{Moves: want.Moves, Milliseconds: late}); err == nil {
			t.Errorf("%d ms were taken", late)
		}
	}
}

// TestAskNobody: a node that does not answer costs no more than its time.
func TestAskNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(listener.Addr().String())
	if err := Ask(t.Context(), here, at, Request{}); err == nil {
		t.Error("no answer, and no error")
	}
	listener.Close()
	if err := Ask(t.Context(), here, at, Request{}); err == nil || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("refused: %v", err)
	}
}

// TestHostileAsking: nothing that is not a whole request of this form is taken,
// and the next one is.
func TestHostileAsking(t *testing.T) {
	taken := 0
	at := served(t, func(netip.Addr, Request) error { taken++; return nil })
	for _, text := range []string{
		"", "\n", "null", "[]", `{"moves":1}`, `{"moves":[],"milliseconds":1,"exec":"rm"}`, "GET / HTTP/1.1\r\n\r\n",
		`{"moves":[{"address":"203.0.113.10","via":"2001:db8::1"}],"milliseconds":1}`,
		`{"moves":[{"address":"::ffff:203.0.113.10","via":"::ffff:10.77.0.21"}],"milliseconds":1}`,
		`{"moves":[{"address":"fe80::1%eth0","via":"fe80::2%eth0"}],"milliseconds":1}`,
		`{"moves":[{"address":"203.0.113.10"}],"milliseconds":1}`,
		`{"moves":[{"address":"203.0.113.10\u0000","via":"10.77.0.21"}],"milliseconds":1}`,
		`{"moves":[` + strings.Repeat(" ", 2*maxRequest) + `],"milliseconds":1}`,
		strings.Repeat("[", maxRequest),
	} {
		conn, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(conn, bytes.NewReader([]byte(text)))
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
		if taken != 0 {
			t.Fatalf("taken: %.100q", text)
		}
	}
	if err := Ask(t.Context(), here, at, Request{Moves: []Move{{vip, other}}, Milliseconds: 1}); err != nil || taken != 1 {
		t.Errorf("a good request after them: %v, %d taken", err, taken)
	}
}
