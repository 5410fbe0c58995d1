package haproxy

import (
	"testing"
	"time"
)

func TestChangedFields(t *testing.T) {
	two, three := 2, 3
	old := Backend{Balance: "leastconn", Check: Check{Path: "/a", Interval: time.Second}, Retries: &two, StickyCookie: "SRV"}
	for _, c := range []struct {
		change func(*Backend)
		want   string
	}{
		{func(*Backend) {}, ""},
		{func(b *Backend) { b.Balance = "source" }, "balance leastconn became source"},
		{func(b *Backend) { b.Check.Path, b.Check.Interval = "/b", 2*time.Second }, "check.path /a became /b, check.interval 1s became 2s"},
		{func(b *Backend) { b.Retries = &three }, "retries 2 became 3"},
		{func(b *Backend) { b.Retries = nil }, "retries changed"},
		{func(b *Backend) { b.StickyCookie = "" }, "sticky_cookie SRV became unset"},
		{func(b *Backend) { b.TLS = new(BackendTLS) }, "tls changed"},
		{func(b *Backend) { b.Balance = "x\ny" }, "balance changed"},
	} {
		changed := old
		c.change(&changed)
		if got := changedFields(old, changed); got != c.want {
			t.Errorf("changedFields = %q, want %q", got, c.want)
		}
	}
}
