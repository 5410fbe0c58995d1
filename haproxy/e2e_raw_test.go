package haproxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Raw lines act where they stand: in a service's backend on that service alone,
// in defaults on all.
func TestE2ERawLines(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	want := rules(t, port, map[string]Rules{"plain": {}, "raw": {}})
	l.set(want)
	want.Raw = Raw{Global: []string{"tune.http.maxhdr 64"}, Defaults: []string{"option http-no-delay"}}
	changed := *want.Backends[1]
	changed.Raw = []string{"http-response set-header X-Raw %[src]", "timeout server 7s"}
	want.Backends = []*Backend{want.Backends[0], &changed}
	if change := l.set(want); change.Kind != Reload || !strings.Contains(change.Cause, "raw") {
		t.Errorf("%+v", change)
	}
	for host, says := range map[string]string{"plain": "", "raw": "127.0.0.1"} {
		if status, _, header := fetch(port, host+".test", "/"); status != 200 || header.Get("X-Raw") != says {
			t.Errorf("%s: %d, X-Raw %q, want %q", host, status, header.Get("X-Raw"), says)
		}
	}
	many := make([]string, 70)
	for i := range many {
		many[i] = fmt.Sprintf("X-%d: 1", i)
	}
	if status, _, _ := fetch(port, "plain.test", "/", many...); status != 400 {
		t.Errorf("70 header fields where 64 are taken: %d", status)
	}
}

// CORS is the application's: preflights reach it, and what it answers reaches
// the browser.
func TestE2ECORS(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	n := listenAnywhere(t)
	server := serveWith(t, n, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
		w.WriteHeader(http.StatusNoContent)
	})})
	want := simple(port, server)
	want.Backends[0].Rules = Rules{Response: Headers{Set: []Header{{"X-Frame-Options", "DENY"}}}}
	l.set(want)
	status, _, header := send(t, port, "OPTIONS /api HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: https://shop.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n")
	if status != 204 || header.Get("Access-Control-Allow-Origin") != "https://shop.test" || header.Get("Access-Control-Allow-Methods") != "PUT" {
		t.Errorf("a preflight: %d %v", status, header)
	}
}
