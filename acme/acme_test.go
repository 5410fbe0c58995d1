package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// node is a Client that runs.
type node struct {
	*Client
	t    *testing.T
	stop func()
	log  *buffer
}

// buffer is a log that is read while it is written.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func newNode(t *testing.T, state string) *node {
	t.Helper()
	n := &node{t: t, log: new(buffer)}
	dir, err := os.MkdirTemp("", "acme-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	n.Client = New(Options{StateDir: state, Socket: filepath.Join(dir, "s"), FirstRetry: 50 * time.Millisecond, RenewInterval: 100 * time.Millisecond,
		LookInterval: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(n.log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	t.Cleanup(n.stop)
	return n
}

// want orders certificates, and leads challenges to the node.
func (n *node) want(issuer Issuer, hosts ...string) {
	n.t.Helper()
	n.set(issuer, hosts...)
	n.Open()
}

func (n *node) set(issuer Issuer, hosts ...string) {
	n.t.Helper()
	var orders []Order
	for _, h := range hosts {
		orders = append(orders, Order{issuer, h})
	}
	if err := n.Set(orders); err != nil {
		n.t.Fatal(err)
	}
}

// await waits until what the node has for a host is good.
func (n *node) await(host, what string, good func(Certificate) bool) Certificate {
	n.t.Helper()
	deadline := time.After(time.Minute)
	for {
		c := n.Certificates()[Key{"pebble", host}]
		if good(c) {
			return c
		}
		select {
		case <-deadline:
			n.t.Fatalf("never: %s: not after %s, temporary %v, %d failures, %v\n%s", what, c.NotAfter, c.Temporary, c.Failures, c.Err, n.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func obtained(c Certificate) bool { return !c.Temporary && len(c.PEM) > 0 }

// Two nodes want the same certificate: one orders, the challenge reaches
// whichever node, both have the same in the end.
func TestTwoNodes(t *testing.T) {
	p := newPebble(t, 90*24*time.Hour)
	a, b := newNode(t, t.TempDir()), newNode(t, t.TempDir())
	p.front.leadTo(b.opts.Socket, a.opts.Socket)
	const host = "todo.example.net"
	for _, n := range []*node{a, b} {
		n.set(p.issuer, host)
		if c := n.Certificates()[Key{"pebble", host}]; !c.Temporary || len(c.PEM) == 0 {
			t.Errorf("nothing to serve meanwhile: %+v", c)
		}
	}
	a.Open()
	b.Open()
	one, two := a.await(host, "a has it", obtained), b.await(host, "b has it", obtained)
	if !bytes.Equal(one.PEM, two.PEM) {
		t.Error("the nodes have different certificates")
	}
	pair, err := tls.X509KeyPair(one.PEM, one.PEM)
	if err != nil || pair.Leaf.VerifyHostname(host) != nil || len(pair.Certificate) < 2 {
		t.Errorf("%v, %d certificates", err, len(pair.Certificate))
	}
	for _, n := range []*node{a, b} {
		if strings.Contains(n.log.String(), "PRIVATE") {
			t.Error("a key is in the log")
		}
		info, err := os.Stat(n.file(Key{"pebble", host}))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	if p.front.requests(b.opts.Socket) == 0 {
		t.Error("no challenge reached the second node")
	}
}

// A certificate that the authority wants replaced is renewed, and the node that
// did not order takes the new one.
func TestRenewal(t *testing.T) {
	p := newPebble(t, 90*24*time.Hour)
	a, b := newNode(t, t.TempDir()), newNode(t, t.TempDir())
	p.front.leadTo(a.opts.Socket, b.opts.Socket)
	// certmagic remembers failures for the process, by host: a run that was
	// ended amid a renewal must not make the next one wait.
	host := fmt.Sprintf("todo%d.example.net", time.Now().UnixNano())
	b.want(p.issuer, host)
	a.want(p.issuer, host)
	first := a.await(host, "a has it", obtained)
	b.await(host, "b has it", obtained)
	p.calendar.renew()
	second := a.await(host, "renewed", func(c Certificate) bool { return !bytes.Equal(c.PEM, first.PEM) })
	b.await(host, "b has the new one", func(c Certificate) bool { return bytes.Equal(c.PEM, second.PEM) })
}

// Nobody answers: the attempts back off, say why, and succeed once somebody does.
func TestFailure(t *testing.T) {
	p := newPebble(t, time.Hour)
	n := newNode(t, t.TempDir())
	const host = "todo.example.net"
	n.want(p.issuer, host)
	c := n.await(host, "two failures", func(c Certificate) bool { return c.Failures >= 2 })
	if c.Err == nil || !c.Temporary {
		t.Errorf("%+v", c)
	}
	if text := n.log.String(); !strings.Contains(text, "certificate not obtained, trying again") || !strings.Contains(text, host) {
		t.Error(text)
	}
	p.front.leadTo(n.opts.Socket)
	if c := n.await(host, "obtained", obtained); c.Failures != 0 || c.Err != nil {
		t.Errorf("after success: %d failures, %v", c.Failures, c.Err)
	}
}

// A node whose shared storage is away serves what it had.
func TestStorageAway(t *testing.T) {
	p, state := newPebble(t, time.Hour), t.TempDir()
	a := newNode(t, state)
	p.front.leadTo(a.opts.Socket)
	const host = "todo.example.net"
	a.want(p.issuer, host)
	had := a.await(host, "obtained", obtained)
	a.stop()
	if err := os.RemoveAll(p.issuer.Storage); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.issuer.Storage, nil, 0o600); err != nil { // no directory can be there
		t.Fatal(err)
	}
	again := newNode(t, state)
	again.want(p.issuer, host)
	c := again.await(host, "a failure", func(c Certificate) bool { return c.Failures > 0 })
	if !bytes.Equal(c.PEM, had.PEM) {
		t.Error("it does not serve what it had")
	}
	again.want(p.issuer)
	if _, err := os.Stat(again.file(Key{"pebble", host})); !os.IsNotExist(err) {
		t.Errorf("a certificate that nobody wants is kept: %v", err)
	}
}
