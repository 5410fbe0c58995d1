package loopback

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/routing/routingtest"
)

func TestE2ELoopback(t *testing.T) {
	if routingtest.Enter(t) == nil {
		return
	}
	file := filepath.Join(t.TempDir(), "lo.json")
	shows := func(words ...string) {
		t.Helper()
		out := routingtest.Run(t, "ip -o addr show dev lo")
		for _, w := range words {
			want := !strings.HasPrefix(w, "!")
			if strings.Contains(out, strings.TrimPrefix(w, "!")) != want {
				t.Errorf("lo: want %s:\n%s", w, out)
			}
		}
	}
	want := addrs(t, "203.0.113.53 2001:db8::53")
	if changed, err := New(file).Set(t.Context(), want); !changed || err != nil {
		t.Fatalf("Set = %t, %v", changed, err)
	}
	shows("203.0.113.53/32 scope host", "2001:db8::53/128", "127.0.0.1/8")
	if changed, err := New(file).Set(t.Context(), want); changed || err != nil {
		t.Fatalf("Set again = %t, %v", changed, err)
	}
	routingtest.Run(t, "ip addr del 203.0.113.53/32 dev lo") // somebody else
	if changed, err := New(file).Set(t.Context(), want); !changed || err != nil {
		t.Fatalf("Set after a loss = %t, %v", changed, err)
	}
	shows("203.0.113.53/32")
	if err := New(file).Close(); err != nil {
		t.Fatal(err)
	}
	shows("!203.0.113.53", "!2001:db8::53", "127.0.0.1/8")
}
