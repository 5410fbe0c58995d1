package haproxy

import (
	"net/netip"
	"slices"
	"testing"
)

func TestCompare(t *testing.T) {
	backend := func(balance string, addresses ...string) *Backend {
		b := &Backend{Name: "todo", Mode: HTTP, Balance: balance}
		for _, a := range addresses {
			b.Servers = append(b.Servers, Server{Name: a, Address: netip.MustParseAddrPort(a)})
		}
		return b
	}
	config := func(maxconn int, backends ...*Backend) Config { return Config{MaxConn: maxconn, Backends: backends} }
	old := config(100, backend("leastconn", "10.77.0.11:80"))
	for name, c := range map[string]struct {
		want   Config
		kind   ChangeKind
		causes []string
	}{
		"equal":        {config(100, backend("leastconn", "10.77.0.11:80")), None, nil},
		"a new server": {config(100, backend("leastconn", "10.77.0.11:80", "10.77.0.12:80")), Runtime, nil},
		"all at once": {config(200, backend("random", "10.77.0.12:80"), &Backend{Name: "web"}), Reload,
			[]string{"maxconn 100 became 200", "backend todo: balance leastconn became random", "backend web added"}},
	} {
		if kind, causes := Compare(old, c.want); kind != c.kind || !slices.Equal(causes, c.causes) {
			t.Errorf("%s: %s %q, want %s %q", name, kind, causes, c.kind, c.causes)
		}
	}
}
