package acme

import (
	"context"
	"testing"
)

// Nobody is asked for a certificate before challenges are led to the client.
func TestOpen(t *testing.T) {
	c := New(Options{StateDir: t.TempDir()})
	issuer := Issuer{Name: "pebble", Directory: "https://127.0.0.1:1/dir", Storage: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	defer c.stop()
	defer cancel()
	asks := func(host string) bool {
		c.tend(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		o := c.orders[Key{"pebble", host}]
		return o.busy || o.Failures > 0
	}
	if err := c.Set([]Order{{issuer, "todo.example.net"}}); err != nil {
		t.Fatal(err)
	}
	if asks("todo.example.net") {
		t.Error("the authority is asked before Open")
	}
	c.Open()
	if !asks("todo.example.net") {
		t.Error("the authority is not asked after Open")
	}
	if err := c.Set([]Order{{issuer, "todo.example.net"}, {issuer, "blog.example.net"}}); err != nil {
		t.Fatal(err)
	}
	if asks("blog.example.net") {
		t.Error("the authority is asked for a new host before the next Open")
	}
}
