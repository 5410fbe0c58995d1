package haproxy

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// TestE2EHostNameFollowsDNS moves a host name to another address while
// HAProxy runs: no reload, no command, only its resolvers.
func TestE2EHostNameFollowsDNS(t *testing.T) {
	l := newLab(t)
	var answer atomic.Pointer[[4]byte]
	answer.Store(&[4]byte{127, 0, 0, 1})
	server := nameServer(t, &answer)
	l.opts.Binary = withResolvConf(t, l.opts.Binary, server)
	l.HAProxy = New(l.opts)
	l.run()
	port := freePort(t)
	first := app(t, "first").Address
	second := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 2}), first.Port())
	n, err := net.Listen("tcp4", second.String())
	if err != nil {
		t.Fatal(err)
	}
	serve(t, n, "second")
	l.set(simple(port, Server{Name: "db", Host: "db.example.net", Port: first.Port(), State: Ready, Weight: 100}))
	says := func(word string) func() bool {
		return func() bool { _, body, _ := fetch(port, "x", "/"); return strings.HasPrefix(body, word) }
	}
	l.eventually("the first address serves", says("first"))
	answer.Store(&[4]byte{127, 0, 0, 2})
	l.eventually("the second address serves", says("second"))
	if n := l.Status().Reloads; n != 0 {
		t.Errorf("%d reloads", n)
	}
}

// nameServer answers every question for an address with the one it is given.
func nameServer(t *testing.T, answer *atomic.Pointer[[4]byte]) string {
	conn, err := net.ListenPacket("udp", "127.0.77.53:53") // resolv.conf names no port
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				reply.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: *answer.Load()},
				}}
			}
			if packed, err := reply.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

// withResolvConf is a program that runs binary with another resolv.conf.
func withResolvConf(t *testing.T, binary, server string) string {
	dir := t.TempDir()
	conf, script := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "haproxy")
	host, _, _ := net.SplitHostPort(server)
	text := "#!/bin/sh\nexec unshare -m sh -c 'mount --bind " + conf + " /etc/resolv.conf && exec " + binary + " \"$@\"' haproxy \"$@\"\n"
	if err := os.WriteFile(conf, []byte("nameserver "+host+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return script
}
