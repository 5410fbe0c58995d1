package haproxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestE2EHostileClient sends what hostile clients send: requests that two
// programs could read as one and as two, headers without an end, and one byte a
// time. No application sees any of it, and others are served meanwhile.
func TestE2EHostileClient(t *testing.T) {
	l := newLab(t)
	l.run()
	var seen atomic.Int64
	server := app(t, "good")
	port := freePort(t)
	want := simple(port, server)
	l.set(want)
	spy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "smuggled") {
			seen.Add(1)
		}
	})}
	hidden := serveWith(t, listenAnywhere(t), spy)
	hiddenPort := freePort(t)
	other := simple(hiddenPort, hidden)
	other.Frontends[0].Binds = append(other.Frontends[0].Binds, Bind{loopback, port})
	l.set(other)
	slow := make([]net.Conn, 50) // slowloris: each keeps a header open
	for i := range slow {
		var err error
		if slow[i], err = net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
			t.Fatal(err)
		}
		defer slow[i].Close()
		fmt.Fprint(slow[i], "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	}
	second := "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, request := range map[string]string{
		"two lengths":           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 38\r\n\r\n" + second,
		"signed length":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n" + second,
		"chunked is not last":   "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + second,
		"space before colon":    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 38\r\n\r\n" + second,
		"line feed in a field":  "GET / HTTP/1.1\r\nHost: x\r\nX: a\nb\rc\r\n\r\n" + second,
		"chunk size overflows":  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n" + second,
		"nul in the path":       "GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n" + second,
		"header without an end": "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n" + second,
	} {
		status := l.sendRaw(port, request)
		if status < 400 || status > 499 {
			t.Errorf("%s: status %d, want a refusal", name, status)
		}
	}
	if n := seen.Load(); n != 0 {
		t.Errorf("%d smuggled requests reached the application", n)
	}
	if status, _, _ := fetch(hiddenPort, "x", "/"); status != 200 {
		t.Errorf("a friendly client gets %d meanwhile", status)
	}
}

func serveWith(t *testing.T, n net.Listener, s *http.Server) Server {
	go func() { _ = s.Serve(n) }()
	t.Cleanup(func() { s.Close() })
	addr := n.Addr().(*net.TCPAddr).AddrPort()
	return Server{Name: "spy", Address: addr, State: Ready, Weight: 100}
}

// sendRaw gives the status of the first answer; the connection ends after it.
func (l *lab) sendRaw(port uint16, request string) (status int) {
	l.t.Helper()
	conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		l.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.Copy(conn, strings.NewReader(request)) }() // it may be refused before its end
	var answer bytes.Buffer
	_, _ = io.Copy(&answer, conn)
	_, _ = fmt.Sscanf(answer.String(), "HTTP/1.%d %d", new(int), &status)
	return status
}
