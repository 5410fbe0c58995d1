package haproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fetchFrom is the name of the application that answers a client at from.
func fetchFrom(t *testing.T, from, to netip.Addr, port uint16, header string) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: patience}
	conn, err := d.DialContext(t.Context(), "tcp4", netip.AddrPortFrom(to, port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", header)
	status, body, _ := readResponse(conn)
	if status != 200 {
		t.Fatalf("client %s: %d %s", from, status, body)
	}
	name, _, _ := strings.Cut(body, " ")
	return name
}

// A client keeps its server by its address, across a reload and on the other node.
func TestE2EStickySourceSurvivesReloadAndMove(t *testing.T) {
	ports, peers := freePort(t), freePort(t)
	nodes := []Peer{{"lb1", loopback}, {"lb2", netip.MustParseAddr("127.0.0.2")}}
	a, b, c := app(t, "a"), app(t, "b"), app(t, "c")
	var labs []*lab
	var wants []Config
	for _, n := range nodes {
		l := newLab(t)
		want := simple(ports, a, b)
		want.Frontends[0].Binds = []Bind{{n.Address, ports}}
		want.Backends[0].StickySource = time.Hour
		want.Peers = Peers{Local: n.Name, Port: peers, Nodes: nodes}
		l.set(want)
		if change := l.set(withServers(want, a, b, c)); change.Kind != Runtime {
			t.Fatalf("a third server: %+v", change)
		}
		labs, wants = append(labs, l), append(wants, withServers(want, a, b, c))
	}
	served, seen := make(map[netip.Addr]string), make(map[string]int)
	client := netip.MustParseAddr("127.1.0.0")
	for range 60 {
		client = client.Next()
		served[client] = fetchFrom(t, client, nodes[0].Address, ports, "")
		seen[served[client]]++
	}
	if len(seen) != 3 {
		t.Fatalf("not every server took part: %v", seen)
	}
	stay := func(when string, node Peer) {
		t.Helper()
		moved := 0
		for client, name := range served {
			if got := fetchFrom(t, client, node.Address, ports, ""); got != name {
				moved++
			}
		}
		if moved > 0 {
			t.Errorf("%s: %d of %d clients met another server", when, moved, len(served))
		}
	}
	stay("again", nodes[0])
	entries := func(l *lab) int {
		text, err := l.cli.ask(t.Context(), "show table app")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(text, " key=")
	}
	// Two that call each other at the same moment both hang up and wait for
	// some seconds, perhaps more than once.
	for deadline := time.Now().Add(2 * patience); entries(labs[1]) < len(served) && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	if got := entries(labs[1]); got != len(served) {
		t.Fatalf("the other node knows %d of %d clients", got, len(served))
	}
	stay("on the other node", nodes[1])

	other := Frontend{Name: "other", Mode: HTTP, Binds: []Bind{{loopback, freePort(t)}}, Default: "app"}
	wants[0].Frontends = append(wants[0].Frontends, other)
	if change := labs[0].set(wants[0]); change.Kind != Reload {
		t.Fatalf("%+v", change)
	}
	labs[0].eventually("the new worker knows every client", func() bool { return entries(labs[0]) == len(served) })
	stay("after a reload", nodes[0])
}

// A server that comes takes its share slowly.
func TestE2ESlowStart(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	a, b := app(t, "a"), app(t, "b")
	share := func() float64 {
		n := 0
		for range 200 {
			if _, body, _ := fetch(port, "x", "/"); strings.HasPrefix(body, "b ") {
				n++
			}
		}
		return float64(n) / 200
	}
	arrives := func(within time.Duration) {
		t.Helper()
		want := simple(port, a)
		want.Backends[0].SlowStart = within
		l.set(want)
		if change := l.set(withServers(want, a, b)); change.Kind != Runtime {
			t.Fatalf("%+v", change)
		}
	}
	arrives(time.Hour) // 200 requests take no time of that, however busy the machine
	if first := share(); first > 0.1 {
		t.Errorf("the newcomer had %.0f%% at once", 100*first)
	}
	arrives(2 * time.Second)
	l.eventually("half of the requests", func() bool { s := share(); return s > 0.48 && s < 0.52 })
}

// A server whose answers are errors is taken out, though its checks pass.
func TestE2EOutlierIsEjected(t *testing.T) {
	l := newLab(t)
	l.run()
	port := freePort(t)
	var sick atomic.Bool
	sick.Store(true)
	n := listenAnywhere(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, "sick /")
	})}
	go func() { _ = s.Serve(n) }()
	t.Cleanup(func() { s.Close() })
	good, bad := app(t, "good"), Server{Name: "sick", Address: netip.MustParseAddrPort(n.Addr().String()), State: Ready, Weight: 100}
	want := simple(port, good)
	want.Backends[0].Outlier, want.Backends[0].Check = Outlier{Errors: 5, Observe: "layer7"}, Check{Interval: 2 * time.Second, Rise: 10, Fall: 2}
	l.set(want)
	l.set(withServers(want, good, bad)) // once it is out, ten checks take five seconds: long enough to be seen
	failed := 0
	l.eventually("the sick one is down", func() bool {
		if status, _, _ := fetch(port, "x", "/"); status == 500 {
			failed++
		}
		return l.Servers().Of("app", "sick") == Down
	})
	if failed < 5 || failed > 8 {
		t.Errorf("%d clients met it, want about 5", failed)
	}
	sick.Store(false)
	l.eventually("it is back once its checks pass", func() bool { return l.Servers().Of("app", "sick") == Up })
}

// A request whose server hangs up without an answer is sent to another one
// only where that is safe.
func TestE2ERetriesAreSafeByMethod(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	n := listenAnywhere(t)
	t.Cleanup(func() { n.Close() })
	var posts atomic.Int64
	go func() {
		for {
			conn, err := n.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body) // what is not read would make the end a reset
				if r.Method == http.MethodPost {
					posts.Add(1)
				}
			}
			conn.Close()
		}
	}()
	l.set(simple(port, app(t, "good"), Server{Name: "rude", Address: netip.MustParseAddrPort(n.Addr().String()), State: Ready, Weight: 100}))
	ask := func(method string) (failed int) {
		for range 20 {
			req, _ := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d/", port), strings.NewReader("x=1"))
			req.Close = true
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				failed++
			}
		}
		return failed
	}
	if failed := ask(http.MethodPut); failed > 0 {
		t.Errorf("%d of 20 PUTs were lost", failed)
	}
	failed := ask(http.MethodPost)
	if got := posts.Load(); failed == 0 || got != int64(failed) {
		t.Errorf("%d POSTs failed, the server that hangs up saw %d: a POST must not be sent twice", failed, got)
	}
}
