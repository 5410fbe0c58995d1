package acme

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// The lock of an order is a file in the directory that nodes share: while
// another machine holds it nobody orders, and of those that wait one does.
func TestLockInSharedDirectory(t *testing.T) {
	p := newPebble(t, 90*24*time.Hour)
	a, b := newNode(t, t.TempDir()), newNode(t, t.TempDir())
	p.front.leadTo(a.opts.Socket, b.opts.Socket)
	const held, free = "held.example.net", "free.example.net"
	elsewhere := &certmagic.FileStorage{Path: p.issuer.Storage}
	if err := elsewhere.Lock(t.Context(), "issue_cert_"+held); err != nil {
		t.Fatal(err)
	}
	a.want(p.issuer, held, free)
	b.want(p.issuer, held, free)
	same := func(host string) {
		t.Helper()
		if one, two := a.await(host, "a has it", obtained), b.await(host, "b has it", obtained); !bytes.Equal(one.PEM, two.PEM) {
			t.Errorf("the nodes have different certificates for %s", host)
		}
	}
	same(free)
	for _, n := range []*node{a, b} {
		if c := n.Certificates()[Key{"pebble", held}]; !c.Temporary {
			t.Errorf("%s was ordered past the lock", held)
		}
	}
	if orders := p.calendar.orders.Load(); orders != 1 {
		t.Errorf("%d orders for one certificate", orders)
	}
	if err := elsewhere.Unlock(t.Context(), "issue_cert_"+held); err != nil {
		t.Fatal(err)
	}
	same(held)
	if orders := p.calendar.orders.Load(); orders != 2 {
		t.Errorf("%d orders for two certificates", orders)
	}
}

// A node that died with the lock does not keep the others waiting for ever.
func TestLockOfTheDead(t *testing.T) {
	p := newPebble(t, 90*24*time.Hour)
	n := newNode(t, t.TempDir())
	p.front.leadTo(n.opts.Socket)
	const host = "todo.example.net"
	lock := filepath.Join(p.issuer.Storage, "locks", "issue_cert_"+host+".lock")
	long := time.Now().Add(-time.Minute).Format(time.RFC3339)
	if err := os.MkdirAll(filepath.Dir(lock), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lock, fmt.Appendf(nil, `{"created": %q, "updated": %q}`, long, long), 0o600); err != nil {
		t.Fatal(err)
	}
	n.want(p.issuer, host)
	n.await(host, "it has it", obtained)
}
