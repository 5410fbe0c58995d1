package controller

import (
	"strings"
	"testing"
	"time"
)

// Of a TCP service every timeout that is given bounds a silent session; of an
// HTTP service only that of tunnels bounds tunnels.
func TestTunnelOf(t *testing.T) {
	for timeouts, want := range map[string]time.Duration{
		"{connect: 1s, queue: 2s}":               0,
		"{client: 8h}":                           8 * time.Hour,
		"{server: 5m}":                           5 * time.Minute,
		"{client: 8h, server: 5m}":               5 * time.Minute,
		"{client: 8h, server: 5m, tunnel: 24h}":  24 * time.Hour,
		"{client: 30s, server: 30s, tunnel: 5s}": 5 * time.Second,
	} {
		yaml := strings.Replace(pair, `backend: {servers: ["10.77.0.40:53"`, `backend: {timeouts: `+timeouts+`, servers: ["10.77.0.40:53"`, 1)
		yaml = strings.Replace(yaml, "check: {path: /healthz}", "timeouts: "+timeouts+", check: {path: /healthz}", 1)
		yaml = strings.Replace(yaml, "vip: any", "vip: public", 1)
		in := input(t)
		in.Config = load(t, yaml)
		d := desire(t, in)
		if got := backend(t, d, "dns").Tunnel; got != want {
			t.Errorf("tcp, %s: %v, want %v", timeouts, got, want)
		}
		if got := backend(t, d, "todo").Tunnel; got != 0 && !strings.Contains(timeouts, "tunnel") {
			t.Errorf("http, %s: %v", timeouts, got)
		}
	}
}
