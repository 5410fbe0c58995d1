package handover

import (
	"bytes"
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// wire is a connection on which everything has been said.
type wire struct {
	net.Conn
	*bytes.Reader
	answer bytes.Buffer
}

func (w *wire) Read(b []byte) (int, error)  { return w.Reader.Read(b) }
func (w *wire) Write(b []byte) (int, error) { return w.answer.Write(b) }
func (w *wire) SetDeadline(time.Time) error { return nil }
func (w *wire) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// FuzzRequest: whatever comes to the port for hand-overs, what is taken has plain
// addresses, in pairs of one family, and an end.
func FuzzRequest(f *testing.F) {
	for _, said := range []string{
		`{"moves":[{"address":"203.0.113.10","via":"10.77.0.22"},{"address":"2001:db8::10","via":"2001:db8:77::22"}],"milliseconds":1500}`,
		`{"moves":[{"address":"fe80::1%eth0","via":"::ffff:10.77.0.22"}],"milliseconds":1}`,
		`{"milliseconds":30000,"comes":true}`, `{"word":true}`, `{"moves":null,"milliseconds":-1}`, `{"moves":[{}],"milliseconds":1e400}`, `[]`, `null`, "{\x00}", strings.Repeat("[", 10_000),
	} {
		f.Add([]byte(said))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		w := &wire{Reader: bytes.NewReader(said)}
		passOn := func(from netip.Addr, r Request) error {
			if from != here || r.Time() <= 0 || r.Time() > MaxTime {
				t.Errorf("taken from %s for %s", from, r.Time())
			}
			for _, m := range r.Moves {
				if m.Address.Is4() != m.Via.Is4() || m.Address.Zone()+m.Via.Zone() != "" {
					t.Errorf("taken: %s via %s", m.Address, m.Via)
				}
			}
			return nil
		}
		serve(w, talks{passOn, func(from netip.Addr, d time.Duration) (bool, error) {
			return true, passOn(from, Request{Milliseconds: int(d.Milliseconds())})
		}, func(netip.Addr) (Word, error) { return Word{Node: "lb1"}, nil }})
		if w.answer.Len() > 0 && !json.Valid(w.answer.Bytes()) {
			t.Errorf("answered %q", w.answer.Bytes())
		}
	})
}
