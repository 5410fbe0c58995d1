package handover

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var (
	vip   = netip.MustParseAddr("203.0.113.10")
	vip6  = netip.MustParseAddr("2001:db8::10")
	other = netip.MustParseAddr("10.77.0.21")
)

// memory is a kernel that remembers.
type memory struct {
	held, passed []netip.Addr
	refuses      error
}

func (m *memory) hold(a netip.Addr) error {
	m.held = append(m.held, a)
	return m.refuses
}

func (m *memory) release(a netip.Addr) error {
	m.held = slices.DeleteFunc(m.held, func(b netip.Addr) bool { return a == b })
	return nil
}

func (m *memory) pass(moves []Move, _ time.Duration) error {
	for _, move := range moves {
		if !slices.Contains(m.passed, move.Address) { // or longer than before
			m.passed = append(m.passed, move.Address)
		}
	}
	return m.refuses
}

func (m *memory) stop(addresses []netip.Addr) error {
	m.passed = slices.DeleteFunc(m.passed, func(b netip.Addr) bool { return slices.Contains(addresses, b) })
	return nil
}

func (m *memory) reset() error { return nil }

func newHandover() (*Handover, *memory) {
	h, m := New(slog.New(slog.DiscardHandler)), new(memory)
	h.kernel = m
	return h, m
}

// TestEndsByItself: an address is held, or passed on, for a time, never both.
func TestEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, m := newHandover()
		check := func(what string, held, passed int) {
			t.Helper()
			synctest.Wait()
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(m.held) != held || len(m.passed) != passed {
				t.Errorf("%s: held %v, passed on %v; want %d and %d", what, m.held, m.passed, held, passed)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(h.Hold([]netip.Addr{vip, vip6}, 10*time.Second))
		check("held", 2, 0)
		time.Sleep(6 * time.Second)
		must(h.release([]netip.Addr{vip6}))
		must(h.Pass([]Move{{vip, other}}, time.Hour))
		check("the other way round", 0, 1)
		time.Sleep(6 * time.Second)
		check("the end of what was held before", 0, 1)
		must(h.Pass([]Move{{vip, other}}, 10*time.Second))
		check("again", 0, 1)
		time.Sleep(10 * time.Second)
		check("ended", 0, 0)
		must(h.Pass([]Move{{vip, other}}, time.Hour))
		time.Sleep(MaxTime)
		check("ended, asked for longer than is allowed", 0, 0)
		must(errors.Join(h.Pass([]Move{{vip, other}}, time.Second), h.Hold([]netip.Addr{vip6}, time.Second)))
		check("both kinds", 1, 1)
		must(errors.Join(h.Release([]netip.Addr{vip, vip6}), h.Close()))
		check("closed", 0, 0)
		time.Sleep(time.Minute)
		check("closed, and late", 0, 0)
	})
}

// TestKernelRefuses: what the kernel did not do is not counted as done.
func TestKernelRefuses(t *testing.T) {
	h, m := newHandover()
	m.refuses = errors.New("operation not supported")
	if err := h.Hold([]netip.Addr{vip}, time.Second); !errors.Is(err, m.refuses) || len(h.held) != 0 {
		t.Errorf("Hold = %v, %d held", err, len(h.held))
	}
	if err := h.Pass([]Move{{vip, other}}, time.Second); !errors.Is(err, m.refuses) || len(h.passed) != 0 {
		t.Errorf("Pass = %v, %d passed", err, len(h.passed))
	}
}
