package gobgp

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/osrg/gobgp/v3/pkg/log"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/vipilot/vipilot/routing"
)

func (c change) String() string {
	var words []string
	for _, p := range c.withdraw {
		words = append(words, "-"+p.String())
	}
	for _, a := range c.drop {
		words = append(words, "-"+a.String())
	}
	for _, p := range c.announce {
		words = append(words, "+"+p.Prefix.String())
	}
	for _, n := range c.add {
		words = append(words, "+"+n.Address.String())
	}
	return strings.Join(words, " ")
}

// reach does what apply does, without a server.
func reach(have *state, c change) {
	for _, p := range c.withdraw {
		delete(have.prefixes, p)
	}
	for _, a := range c.drop {
		delete(have.sessions, a)
	}
	for _, p := range c.announce {
		have.prefixes[p.Prefix] = p
	}
	for _, n := range c.add {
		have.sessions[n.Address] = n
	}
}

func TestDiff(t *testing.T) {
	have := state{sessions: map[netip.Addr]session{}, prefixes: map[netip.Prefix]routing.Prefix{}}
	peer := func(last int) routing.Peer {
		a := netip.AddrFrom4([4]byte{10, 77, 0, byte(last)})
		return routing.Peer{Name: fmt.Sprint("r", last), Address: a, ASN: 65000}
	}
	renamed, secured := peer(1), peer(2)
	renamed.Name, secured.Password = "other", "secret"
	tagged := prefix("203.0.113.1/32")
	tagged.Communities = []string{"1:2"}
	moved := tagged
	moved.VIP, moved.WhileHeld = "w", true
	low, same := uint32(1), uint32(1)
	graded, again := tagged, tagged
	graded.MED, again.MED = &low, &same
	for _, step := range []struct {
		name     string
		peers    []routing.Peer
		prefixes []routing.Prefix
		restart  time.Duration
		want     string
	}{
		{"nothing", nil, nil, 0, ""},
		{"paths before peers", []routing.Peer{peer(1), peer(2)}, []routing.Prefix{prefix("203.0.113.1/32")}, 0, "+203.0.113.1/32 +10.77.0.1 +10.77.0.2"},
		{"the same", []routing.Peer{peer(1), peer(2)}, []routing.Prefix{prefix("203.0.113.1/32")}, 0, ""},
		{"a name is not a session", []routing.Peer{renamed, peer(2)}, []routing.Prefix{prefix("203.0.113.1/32")}, 0, ""},
		{"one session restarts", []routing.Peer{renamed, secured}, []routing.Prefix{prefix("203.0.113.1/32")}, 0, "-10.77.0.2 +10.77.0.2"},
		{"an attribute", []routing.Peer{peer(1)}, []routing.Prefix{tagged}, 0, "-10.77.0.2 +203.0.113.1/32"},
		{"not on the wire", []routing.Peer{peer(1)}, []routing.Prefix{moved}, 0, ""},
		{"med", []routing.Peer{peer(1)}, []routing.Prefix{graded}, 0, "+203.0.113.1/32"},
		{"an equal med", []routing.Peer{peer(1)}, []routing.Prefix{again}, 0, ""},
		{"withdraw before announce", []routing.Peer{peer(1)}, []routing.Prefix{prefix("2001:db8::1/128")}, 0, "-203.0.113.1/32 +2001:db8::1/128"},
		{"graceful restart is a session's", []routing.Peer{peer(1)}, []routing.Prefix{prefix("2001:db8::1/128")}, time.Second, "-10.77.0.1 +10.77.0.1"},
		{"leave", nil, nil, 0, "-2001:db8::1/128 -10.77.0.1"},
	} {
		want := routing.Config{Peers: step.peers, Prefixes: step.prefixes, GracefulRestart: step.restart}
		c := diff(have, want, func(_ routing.Peer, before netip.Addr) netip.Addr { return before })
		if c.String() != step.want {
			t.Errorf("%s: %q, want %q", step.name, c, step.want)
		}
		reach(&have, c)
	}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		msg    string
		fields log.Fields
		want   string
	}{
		{"failed to connect", log.Fields{"Error": fmt.Errorf("dial: %w", syscall.ECONNREFUSED)}, "connection refused"},
		{"failed to connect", log.Fields{"Error": fmt.Errorf("dial: %w", syscall.ETIMEDOUT)}, "password_file or ttl_security"},
		{"failed to connect", log.Fields{}, ""},
		{"received notification", log.Fields{"Code": uint8(6), "Subcode": uint8(2), "Communicated-Reason": "tea"}, `administrative shutdown), saying "tea"`},
		{"sent notification", log.Fields{"Data": bgp.NewMessageError(2, 2, nil, "")}, "ASNs configured here and there differ"},
		{"sent notification", log.Fields{"Data": "?"}, ""},
		{"hold timer expired", nil, "hold time expired"},
		{"sent notification", log.Fields{"Data": bgp.NewMessageError(4, 0, nil, "")}, "compare ttl_security"},
		{"Add a peer configuration", nil, ""},
	} {
		got := explain(test.msg, test.fields)
		if !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("explain(%q, %v) = %q, want %q", test.msg, test.fields, got, test.want)
		}
	}
}

// TestSpeakerWithoutRouter walks one speaker through its states; nobody
// answers at the peer's address.
func TestSpeakerWithoutRouter(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := wanted(prefix("203.0.113.10/32"), prefix("2001:db8::10/128"))
	c.Peers[0].Address, c.Peers[0].LocalAddress = netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1")
	announced := func(want string) {
		t.Helper()
		if got := fmt.Sprint(s.Announced()); got != want {
			t.Errorf("announced %s, want %s", got, want)
		}
	}
	if changed, err := s.Set(t.Context(), routing.Config{}); changed || err != nil {
		t.Errorf("nothing wanted: %v, %v", changed, err)
	}
	announced("[]")
	set(t, s, c)
	announced("[203.0.113.10/32 2001:db8::10/128]")
	bad := c
	bad.ASN = 0
	if _, err := s.Set(t.Context(), bad); err == nil {
		t.Error("took a config without an ASN")
	}
	announced("[203.0.113.10/32 2001:db8::10/128]")
	deadline := time.After(time.Minute)
	for !strings.Contains(s.Peers()["edge"].Error, "connection refused") {
		select {
		case <-s.Changes():
		case <-deadline:
			t.Fatalf("peers = %+v", s.Peers())
		}
	}
	c.ASN, c.Prefixes = 65011, c.Prefixes[:1]
	set(t, s, c)
	announced("[203.0.113.10/32]")
	set(t, s, routing.Config{})
	announced("[]")
	if len(s.Peers()) != 0 {
		t.Errorf("peers = %v", s.Peers())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Set(t.Context(), c); err == nil {
		t.Error("a closed speaker took orders")
	}
}
