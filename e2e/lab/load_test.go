package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKind(t *testing.T) {
	for want, err := range map[string]error{
		"refused":     &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"reset":       fmt.Errorf("read: %w", syscall.ECONNRESET),
		"closed":      fmt.Errorf("get: %w", io.EOF),
		"timeout":     &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"unreachable": &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH},
		"status 503":  errors.New("status 503"),
	} {
		if got := kind(err); got != want {
			t.Errorf("kind(%v) = %q, want %q", err, got, want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var sorted []time.Duration
	for i := range 100 {
		sorted = append(sorted, time.Duration(i+1))
	}
	for p, want := range map[float64]time.Duration{50: 51, 99: 100, 100: 100, 0: 1} {
		if got := Percentile(sorted, p); got != want {
			t.Errorf("Percentile(%v) = %d, want %d", p, got, want)
		}
	}
	if got := Percentile(nil, 99); got != 0 {
		t.Errorf("Percentile of nothing = %v", got)
	}
}

func TestParseRoutes(t *testing.T) {
	got, err := parseRoutes([]byte(`[
{"dst":"203.0.113.10","gateway":"10.77.0.21","dev":"eth0"},
{"dst":"203.0.113.53","nexthops":[{"gateway":"10.77.0.22","weight":1},{"gateway":"10.77.0.21","weight":1}]},
{"dst":"198.51.100.0/24","gateway":"10.77.0.22"}]`))
	if err != nil {
		t.Fatal(err)
	}
	lb1, lb2 := netip.MustParseAddr("10.77.0.21"), netip.MustParseAddr("10.77.0.22")
	want := []Route{
		{netip.MustParsePrefix("203.0.113.10/32"), []netip.Addr{lb1}},
		{netip.MustParsePrefix("203.0.113.53/32"), []netip.Addr{lb1, lb2}},
		{netip.MustParsePrefix("198.51.100.0/24"), []netip.Addr{lb2}},
	}
	equal := func(a, b Route) bool { return a.Prefix == b.Prefix && slices.Equal(a.NextHops, b.NextHops) }
	if diff := cmp.Diff(want, got, cmp.Comparer(equal)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if _, err := parseRoutes([]byte("not JSON")); err == nil {
		t.Error("accepted what is not JSON")
	}
}
