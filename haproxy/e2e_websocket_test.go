package haproxy

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// webSockets is an application that takes WebSockets (RFC 6455) and echoes what
// comes. Others are told with 426 that it takes nothing else.
func webSockets(t *testing.T, name string) Server {
	n := listenAnywhere(t)
	server := serveWith(t, n, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			http.Error(w, name, http.StatusUpgradeRequired)
			return
		}
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { conn.Close() })
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Name: %s\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			name, base64.StdEncoding.EncodeToString(sum[:]))
		_, _ = io.Copy(conn, buffered)
		conn.Close()
	})})
	server.Name = name
	return server
}

// socket is a WebSocket of a client, whatever carries it.
type socket struct {
	io.ReadWriteCloser
	name string // of the application
}

// echoes sends some bytes and wants them back.
func (s socket) echoes() error {
	if _, err := io.WriteString(s, "hello"); err != nil {
		return err
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(s, got); err != nil {
		return err
	}
	if string(got) != "hello" {
		return fmt.Errorf("echo of hello: %q", got)
	}
	return nil
}

// ended waits until the other side ends the session.
func (s socket) ended() error {
	_, err := s.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
		return fmt.Errorf("it lives: %v", err)
	}
	return nil
}

// dialWebSocket upgrades a connection of HTTP/1.1.
func dialWebSocket(t *testing.T, port uint16) socket {
	t.Helper()
	conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	fmt.Fprint(conn, "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("upgrade: %s, %v", response.Status, response.Header)
	}
	return socket{struct {
		io.Reader
		io.WriteCloser
	}{reader, conn}, response.Header.Get("X-Name")}
}

// stream is one stream of an HTTP/2 connection.
type stream struct {
	*http2.Framer
	net.Conn
	unread bytes.Buffer
}

func (s *stream) Read(p []byte) (int, error) {
	for s.unread.Len() == 0 {
		frame, err := s.ReadFrame()
		if err != nil {
			return 0, err
		}
		switch f := frame.(type) {
		case *http2.DataFrame:
			s.unread.Write(f.Data())
			if f.StreamEnded() {
				return 0, io.EOF
			}
		case *http2.RSTStreamFrame:
			return 0, io.EOF
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = s.WritePing(true, f.Data)
			}
		}
	}
	return s.unread.Read(p)
}

func (s *stream) Write(p []byte) (int, error) { return len(p), s.WriteData(1, false, p) }

// dialWebSocketH2 opens a WebSocket as a stream of HTTP/2 (RFC 8441), as
// browsers do where the connection is one already.
func dialWebSocketH2(t *testing.T, port uint16) socket {
	t.Helper()
	conn, err := tls.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	s := &stream{Framer: http2.NewFramer(conn, conn), Conn: conn}
	s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{{Name: ":method", Value: "CONNECT"}, {Name: ":protocol", Value: "websocket"}, {Name: ":scheme", Value: "https"},
		{Name: ":path", Value: "/chat"}, {Name: ":authority", Value: "x"}, {Name: "sec-websocket-version", Value: "13"}} {
		_ = encoder.WriteField(field)
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = s.WriteSettings()
	for {
		frame, err := s.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if f.IsAck() {
				continue
			}
			if allowed, ok := f.Value(http2.SettingEnableConnectProtocol); !ok || allowed != 1 {
				t.Fatal("HAProxy does not offer WebSockets over HTTP/2")
			}
			_ = s.WriteSettingsAck()
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
		case *http2.MetaHeadersFrame:
			if f.PseudoValue("status") != "200" {
				t.Fatalf("extended CONNECT: %v", f.Fields)
			}
			name := ""
			for _, field := range f.RegularFields() {
				if field.Name == "x-name" {
					name = field.Value
				}
			}
			return socket{s, name}
		}
	}
}

// WebSockets pass, over HTTP/1.1 and HTTP/2. They outlive the timeouts of
// requests and a reload, whose old worker is counted, and end after
// timeouts.tunnel without a word.
func TestE2EWebSocket(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.run()
	const request, brief = 4 * time.Second, 6 * time.Second // how long a request may be silent, and a session of the one service
	server, certificates := webSockets(t, "a"), []Certificate{{Name: "a", PEM: testPEM(t, "x")}}
	want, ports := Config{MaxConn: 1000}, make(map[string]uint16)
	for name, tunnel := range map[string]time.Duration{"brief": brief, "patient": 2 * patience} {
		b := calmBackend(name, server)
		b.Server, b.Tunnel = request, tunnel
		want.Backends = append(want.Backends, b)
		for front, list := range map[string][]Certificate{name: nil, name + "-tls": certificates} {
			ports[front] = freePort(t)
			want.Frontends = append(want.Frontends, Frontend{Name: front, Mode: HTTP, Binds: []Bind{{loopback, ports[front]}}, Default: name,
				ClientTimeout: request, Certificates: list})
		}
	}
	sortBackends(want.Backends)
	slices.SortFunc(want.Frontends, func(a, b Frontend) int { return strings.Compare(a.Name, b.Name) })
	l.set(want)
	if status, body, _ := fetch(ports["patient"], "x", "/chat"); status != http.StatusUpgradeRequired {
		t.Errorf("a request that is no upgrade: %d %s", status, body)
	}
	dial := func(service string) map[string]socket {
		return map[string]socket{"HTTP/1.1": dialWebSocket(t, ports[service]), "HTTP/2": dialWebSocketH2(t, ports[service+"-tls"])}
	}
	echo := func(when string, sockets map[string]socket) {
		t.Helper()
		for version, s := range sockets {
			if err := s.echoes(); err != nil {
				t.Errorf("%s, over %s: %v", when, version, err)
			}
		}
	}
	old, silent := dial("patient"), dial("brief")
	echo("at once", old)
	lastWord := time.Now()
	echo("at once", silent)
	<-time.After(request + time.Second)
	echo("after a silence", old)

	want.Frontends = append(slices.Clone(want.Frontends), Frontend{Name: "z", Mode: HTTP, Binds: []Bind{{loopback, freePort(t)}}, Default: "patient"})
	if change := l.set(want); change.Kind != Reload {
		t.Fatalf("%+v", change)
	}
	if n := l.Status().OldWorkers; n != 1 {
		t.Errorf("%d old workers, want the one with the sessions", n)
	}
	echo("after a reload", old)
	echo("new after a reload", dial("patient"))
	for version, s := range silent {
		if err := s.ended(); err != nil {
			t.Errorf("silent for longer than the tunnel's timeout, over %s: %v", version, err)
		}
		if lasted := time.Since(lastWord); lasted < brief-100*time.Millisecond { // HAProxy's clock may be a millisecond or so behind
			t.Errorf("over %s it was cut after %v of silence, its service gives it %v", version, lasted, brief)
		}
	}
	for _, s := range old {
		s.Close()
	}
	l.eventually("the old worker ends", func() bool { return l.Status().OldWorkers == 0 })
}

// A server that leaves gets no new session; its old ones last as long as
// `drain` allows, and then it is removed.
func TestE2EDrainEndsSessions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.opts.DeleteDelay = 50 * time.Millisecond
	l.HAProxy = New(l.opts)
	l.run()
	port := freePort(t)
	a, b := webSockets(t, "a"), webSockets(t, "b")
	want := simple(port, a)
	none := 0
	want.Backends[0].Retries, want.Backends[0].Connect, want.Backends[0].Drain = &none, time.Second, 10*time.Second
	l.set(want)
	s := dialWebSocket(t, port)
	left := time.Now()
	if change := l.set(withServers(want, b)); change.Kind != Runtime {
		t.Fatalf("%+v", change)
	}
	if err := s.echoes(); err != nil {
		t.Errorf("as soon as the server left: %v", err)
	}
	for range 5 {
		if name := dialWebSocket(t, port).name; name != "b" {
			t.Errorf("a new session met %s", name)
		}
	}
	if carried, err := l.Sessions(t.Context(), "app"); err != nil || carried["a"] != 1 {
		t.Errorf("sessions %v, %v", carried, err)
	}
	if err := s.ended(); err != nil {
		t.Error(err)
	}
	if lasted := time.Since(left); lasted < 10*time.Second {
		t.Errorf("the session was cut after %v, its service gives it 10s", lasted)
	}
	l.eventually("the server is removed", func() bool {
		_, list, err := l.showServers(t.Context(), "app")
		return err == nil && len(list) == 1
	})
}
