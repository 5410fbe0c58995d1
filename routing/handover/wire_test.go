package handover

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var here = netip.MustParseAddr("127.0.0.1")

// patiently asks as a node does, and waits as long as a busy machine may take.
func patiently(at netip.AddrPort) asking { return asking{here, at, time.Minute} }

// takes is a node that takes requests, and is asked nothing else.
type takes func(netip.Addr, Request) error

func (f takes) PassOn(from netip.Addr, r Request) error { return f(from, r) }
func (f takes) Comes(netip.Addr, time.Duration) (bool, error) {
	return false, errors.New("not asked in this test")
}
func (f takes) Word(netip.Addr) (Word, error) { return Word{}, errors.New("not asked in this test") }

// talks is a node that is asked, not for passing on.
type talks struct {
	takes
	comes func(netip.Addr, time.Duration) (bool, error)
	word  func(netip.Addr) (Word, error)
}

func (n talks) Comes(from netip.Addr, d time.Duration) (bool, error) { return n.comes(from, d) }
func (n talks) Word(from netip.Addr) (Word, error)                   { return n.word(from) }

// served starts a node that takes requests.
func served(t *testing.T, take func(netip.Addr, Request) error) netip.AddrPort {
	t.Helper()
	return answering(t, takes(take))
}

func answering(t *testing.T, answers Answers) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, listener, answers) }()
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
	if err := patiently(at).pass(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if len(got.Moves) != 2 || got.Moves[0] != want.Moves[0] || got.Moves[1] != want.Moves[1] || got.Time() != 1500*time.Millisecond {
		t.Errorf("taken: %+v", got)
	}
	refusal = errors.New("node lb2 is being drained itself\nbecause")
	err := patiently(at).pass(t.Context(), want)
	if err == nil || !strings.Contains(err.Error(), "drained itself") || strings.Contains(err.Error(), "\n") {
		t.Errorf("refused: %v", err)
	}
	for _, late := range []int{0, -1, int(MaxTime.Milliseconds()) + 1} {
		if err := patiently(at).pass(t.Context(), Request{Moves: want.Moves, Milliseconds: late}); err == nil {
			t.Errorf("%d ms were taken", late)
		}
	}
}

// TestAskMore: the other two questions, and what is answered.
func TestAskMore(t *testing.T) {
	var refusal error
	ready := false
	at := answering(t, talks{
		comes: func(from netip.Addr, d time.Duration) (bool, error) {
			if from != here || d != 7*time.Second {
				t.Errorf("%s comes within %s", from, d)
			}
			return ready, refusal
		},
		word: func(from netip.Addr) (Word, error) {
			return Word{Node: "lb2", Fit: []string{"public"}, Serving: []string{"any"}}, refusal
		},
	})
	for _, want := range []bool{false, true} {
		ready = want
		if got, err := patiently(at).ready(t.Context(), 7*time.Second); got != want || err != nil {
			t.Errorf("ready %t, %v; want %t", got, err, want)
		}
	}
	word, err := patiently(at).word(t.Context())
	if err != nil || word.Node != "lb2" || !slices.Equal(word.Fit, []string{"public"}) || !slices.Equal(word.Serving, []string{"any"}) {
		t.Errorf("word %+v, %v", word, err)
	}
	refusal = errors.New("you are no node of ours")
	if _, err := patiently(at).word(t.Context()); err == nil || !strings.Contains(err.Error(), "no node of ours") {
		t.Errorf("word: %v", err)
	}
	if got, err := patiently(at).ready(t.Context(), 7*time.Second); got || err == nil || !strings.Contains(err.Error(), "no node of ours") {
		t.Errorf("ready: %t, %v", got, err)
	}
	if _, err := patiently(at).ready(t.Context(), MaxTime+time.Second); err == nil {
		t.Error("a node that comes some day was taken in")
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
	if err := patiently(at).pass(t.Context(), Request{Moves: []Move{{vip, other}}, Milliseconds: 1}); err != nil || taken != 1 {
		t.Errorf("a good request after them: %v, %d taken", err, taken)
	}
}
