package status

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// public runs a server on a TCP listener of its own, which waits for clients as
// long as a busy machine takes.
func public(t *testing.T, opts ServerOptions) (address string) {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.Patience = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- NewServer(opts).Serve(ctx, l, false) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// say sends bytes as they are, from an address, and gives the answer's head and
// body; status 0 is a connection that was closed without one.
func say(t *testing.T, from, address, request string) (status int, rest string) {
	t.Helper()
	d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	go func() { _, _ = io.WriteString(conn, request) }() // it may be refused before its end
	r := bufio.NewReader(conn)
	line, _ := r.ReadString('\n')
	_, _ = fmt.Sscanf(line, "HTTP/1.%d %d", new(int), &status)
	body, _ := io.ReadAll(io.LimitReader(r, 1<<20))
	return status, string(body)
}

// TestHostileClient sends what no reader of a status sends. It is refused, or
// answered as anybody; nothing is changed, nothing echoed as HTML, and others
// are answered afterwards.
func TestHostileClient(t *testing.T) {
	changed := func(what string) func() {
		return func() { t.Errorf("a client without a token has done %s", what) }
	}
	address := public(t, ServerOptions{Board: boardWith(example(t)), Token: "hushhush-token", WebhookSecret: "hushhush-hook", Poke: changed("a poke"),
		Sync:    func(context.Context) error { changed("a sync")(); return nil },
		Approve: func(context.Context, string) (string, error) { changed("an approval")(); return "", nil },
		Plan:    func(context.Context, PlanRequest) (Plan, error) { changed("a plan")(); return Plan{}, nil },
		Actions: map[string]http.Handler{"drain": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { changed("a drain")() })},
	})
	const end = "Host: x\r\nConnection: close\r\n"
	chunks := strings.Repeat("1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n", 2048) + "0\r\n\r\n" // 8 MiB
	for name, c := range map[string]struct {
		request string
		want    string // statuses
	}{
		"what is not HTTP":            {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400"},
		"HTTP/0.9":                    {"GET /v1/status\r\n\r\n", "400"},
		"HTTP/3.0":                    {"GET /v1/status HTTP/3.0\r\n" + end + "\r\n", "400 505"},
		"a path of a MiB":             {"GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\n" + end + "\r\n", "431"},
		"a header of a MiB":           {"GET / HTTP/1.1\r\n" + end + "X: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", "431"},
		"100,000 headers":             {"GET / HTTP/1.1\r\n" + end + strings.Repeat("X: a\r\n", 100_000) + "\r\n", "431"},
		"a header without a name":     {"GET / HTTP/1.1\r\n" + end + ": a\r\n\r\n", "400"},
		"a NUL in a header":           {"GET / HTTP/1.1\r\n" + end + "X: a\x00b\r\n\r\n", "400"},
		"two hosts":                   {"GET / HTTP/1.1\r\nHost: a\r\n" + end + "\r\n", "400"},
		"no host":                     {"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"},
		"two lengths":                 {"POST /v1/sync HTTP/1.1\r\n" + end + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n", "400"},
		"a length below zero":         {"POST /v1/sync HTTP/1.1\r\n" + end + "Content-Length: -1\r\n\r\n", "400"},
		"a strange encoding":          {"POST /v1/sync HTTP/1.1\r\n" + end + "Transfer-Encoding: chunked, gzip\r\n\r\n", "400 501"},
		"a body of 8 MiB":             {"POST /v1/drain HTTP/1.1\r\n" + end + "Transfer-Encoding: chunked\r\n\r\n" + chunks, "401"},
		"a body where none is read":   {"GET /v1/status HTTP/1.1\r\n" + end + "Content-Length: 5\r\n\r\nhello", "200"},
		"a length and no body":        {"POST /v1/plan HTTP/1.1\r\n" + end + "Content-Length: 1000000000000\r\n\r\n", "401"},
		"a wrong token":               {"POST /v1/drain HTTP/1.1\r\n" + end + "Authorization: Bearer hushhush-tokenx\r\n\r\n", "401"},
		"a token of 10 KiB":           {"POST /v1/approve?revision=x HTTP/1.1\r\n" + end + "Authorization: Bearer " + strings.Repeat("a", 10<<10) + "\r\n\r\n", "401"},
		"a wrong signature":           {"POST /v1/sync HTTP/1.1\r\n" + end + "X-Hub-Signature-256: sha256=" + strings.Repeat("0", 64) + "\r\n\r\n", "401"},
		"a signature of nothing":      {"POST /v1/sync HTTP/1.1\r\n" + end + "X-Hub-Signature-256: sha256=\r\n\r\n", "401"},
		"another site":                {"POST /v1/drain HTTP/1.1\r\n" + end + "Origin: http://evil.example.net\r\nSec-Fetch-Site: cross-site\r\n\r\n", "403"},
		"a method of no kind":         {"BREW /v1/status HTTP/1.1\r\n" + end + "\r\n", "405"},
		"CONNECT":                     {"CONNECT 203.0.113.1:80 HTTP/1.1\r\n" + end + "\r\n", "404 405 301 307"},
		"somebody else's URL":         {"GET http://evil.example.net/etc/passwd HTTP/1.1\r\n" + end + "\r\n", "404"},
		"out of the tree":             {"GET /../../../etc/passwd HTTP/1.1\r\n" + end + "\r\n", "301 307 404"},
		"out of the tree, escaped":    {"GET /services/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + end + "\r\n", "404"},
		"markup for a service":        {"GET /services/%3Cscript%3Ealert(1)%3C%2Fscript%3E HTTP/1.1\r\n" + end + "\r\n", "404"},
		"markup in a question":        {"GET /v1/explain?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E HTTP/1.1\r\n" + end + "\r\n", "400 404 501"},
		"markup for an event":         {"GET /v1/events?after=%3Cscript%3E HTTP/1.1\r\n" + end + "\r\n", "400"},
		"a limit past the last":       {"GET /v1/events?limit=99999999999999999999 HTTP/1.1\r\n" + end + "\r\n", "400"},
		"an event from the far past":  {"GET /v1/events?limit=1&after=0 HTTP/1.1\r\n" + end + "\r\n", "200"},
		"a broken escape":             {"GET /%zz HTTP/1.1\r\n" + end + "\r\n", "400"},
		"a query of nothing but junk": {"GET /v1/traffic?service=%00%ff&service=" + strings.Repeat("&", 8000) + " HTTP/1.1\r\n" + end + "\r\n", "400 404 501"},
	} {
		status, rest := say(t, "127.0.0.1", address, c.request)
		if !strings.Contains(" "+c.want+" ", fmt.Sprintf(" %d ", status)) {
			t.Errorf("%s: status %d, want %s:\n%.300s", name, status, c.want, rest)
		}
		if strings.Contains(rest, "<script>alert") || strings.Contains(rest, "hushhush-") || strings.Contains(rest, "root:x:") {
			t.Errorf("%s: the answer holds what it must not:\n%.2000s", name, rest)
		}
		if ok, _ := say(t, "127.0.0.1", address, "GET /healthz HTTP/1.1\r\n"+end+"\r\n"); ok != 200 {
			t.Fatalf("after %s: healthz is %d", name, ok)
		}
	}
}

// TestThrong opens more connections than one client may have: the rest of its
// own are closed at once, another client is answered, and there is room again
// when they are gone.
func TestThrong(t *testing.T) {
	address := public(t, ServerOptions{Board: boardWith(example(t))})
	const healthz = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	open := make([]net.Conn, maxOfOne)
	for i := range open {
		var err error
		if open[i], err = net.Dial("tcp", address); err != nil {
			t.Fatal(err)
		}
		defer open[i].Close()
	}
	if status, _ := say(t, "127.0.0.1", address, healthz); status != 0 {
		t.Errorf("connection %d of one client got %d", maxOfOne+1, status)
	}
	if status, _ := say(t, "127.0.0.2", address, healthz); status != 200 {
		t.Errorf("another client got %d", status)
	}
	for _, conn := range open {
		conn.Close()
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if status, _ := say(t, "127.0.0.1", address, healthz); status == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the throng is gone, and there is still no room")
		}
	}
	c := &throng{most: 2, ofOne: 2, each: map[netip.Prefix]int{}}
	for i, text := range []string{"203.0.113.1:1", "[2001:db8::1]:1", "198.18.0.1:1"} {
		if ok := c.enter(origin(remote(text))); ok != (i < 2) {
			t.Errorf("client %d of a throng of 2: %t", i+1, ok)
		}
	}
	if a, b := origin(remote("[2001:db8::1]:1")), origin(remote("[2001:db8::ffff:2%eth0]:9")); a != b {
		t.Errorf("%v and %v count as two clients", a, b)
	}
}

// TestSlowloris has clients that send a byte every second: each is cut off in
// time, however far it got.
func TestSlowloris(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- NewServer(ServerOptions{Board: boardWith(example(t)), Token: "t", Sync: func(context.Context) error { return nil }}).Serve(ctx, l, false)
		}()
		start := time.Now()
		var all sync.WaitGroup
		for name, c := range map[string]struct {
			begin, again string
			most         time.Duration
		}{
			"nothing":          {"", "", 6 * time.Second},
			"a request line":   {"", "G", 6 * time.Second},
			"a header":         {"GET / HTTP/1.1\r\nHost: x\r\nX: ", "x", 6 * time.Second},
			"many headers":     {"GET / HTTP/1.1\r\nHost: x\r\n", "X: y\r\n", 6 * time.Second},
			"a body":           {"POST /v1/sync HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Length: 100000\r\n\r\n", "x", actionTimeout + writeTimeout + time.Second},
			"a body for a GET": {"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", "x", 11 * time.Second},
		} {
			ours, theirs := net.Pipe()
			l.accept <- theirs
			all.Go(func() { _, _ = io.Copy(io.Discard, ours) })
			all.Go(func() {
				defer ours.Close()
				_, err := io.WriteString(ours, c.begin)
				for err == nil {
					time.Sleep(time.Second)
					_, err = io.WriteString(ours, c.again)
				}
				if took := time.Since(start); took > c.most {
					t.Errorf("%s: cut off after %s, want %s", name, took, c.most)
				}
			})
		}
		all.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pipes is a listener for connections in memory.
type pipes struct {
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// remote is a connection that has an address and nothing else.
func remote(address string) net.Conn { return from{address: address} }

type from struct {
	net.Conn
	address string
}

func (f from) RemoteAddr() net.Addr { return f }
func (f from) Network() string      { return "tcp" }
func (f from) String() string       { return f.address }
