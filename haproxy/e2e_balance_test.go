package haproxy

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// answers counts the applications that answer n requests for uri(i), each on
// a connection of its own.
func answers(t *testing.T, port uint16, n int, uri func(int) string) map[string]int {
	t.Helper()
	seen := make(map[string]int)
	for i := range n {
		status, body, _ := fetch(port, "x", uri(i))
		if status != 200 {
			t.Fatalf("request %d: %d %s", i, status, body)
		}
		name, _, _ := strings.Cut(body, " ")
		seen[name]++
	}
	return seen
}

func root(int) string { return "/" }

// weighing gives servers weights, in the order of their names.
func weighing(servers []Server, weights ...int) []Server {
	servers = slices.Clone(servers)
	for i := range servers {
		servers[i].Weight = weights[i]
	}
	return servers
}

// Every algorithm spreads requests as it promises, and weights count.
func TestE2EBalance(t *testing.T) {
	l := newLab(t)
	servers := []Server{app(t, "a"), app(t, "b"), app(t, "c")}
	ports := make(map[string]uint16)
	want := Config{MaxConn: 1000}
	for _, algorithm := range []string{"leastconn", "random", "roundrobin", "source", "uri"} {
		ports[algorithm] = freePort(t)
		b := calmBackend(algorithm, servers...)
		b.Balance = algorithm
		want.Frontends = append(want.Frontends, Frontend{Name: algorithm, Mode: HTTP, Binds: []Bind{{loopback, ports[algorithm]}}, Default: algorithm})
		want.Backends = append(want.Backends, b)
	}
	l.set(want)
	if got := answers(t, ports["roundrobin"], 90, root); got["a"] != 30 || got["b"] != 30 || got["c"] != 30 {
		t.Errorf("roundrobin: %v of 90, want 30 each", got)
	}
	for _, algorithm := range []string{"leastconn", "random"} { // by what a server has at the moment, one request at most
		for name, n := range answers(t, ports[algorithm], 300, root) {
			if n < 45 || n > 180 {
				t.Errorf("%s: %d of 300 for %s", algorithm, n, name)
			}
		}
	}

	by := func(uri string) string {
		for name := range answers(t, ports["uri"], 1, func(int) string { return uri }) {
			return name
		}
		return ""
	}
	byURI, bySource := make(map[string]string), make(map[netip.Addr]string)
	address := netip.MustParseAddr("127.1.0.0")
	for i := range 60 {
		uri := fmt.Sprintf("/page/%d", i)
		byURI[uri], address = by(uri), address.Next()
		bySource[address] = fetchFrom(t, address, loopback, ports["source"], "")
	}
	moved := func(gone string) (n int) {
		t.Helper()
		for uri, name := range byURI {
			if now := by(uri); now != name && name != gone {
				n++
			}
		}
		for address, name := range bySource {
			if now := fetchFrom(t, address, loopback, ports["source"], ""); now != name && name != gone {
				n++
			}
		}
		return n
	}
	seen := make(map[string]int)
	for _, name := range byURI {
		seen["uri "+name]++
	}
	for _, name := range bySource {
		seen["source "+name]++
	}
	if len(seen) != 6 {
		t.Errorf("not every server took part: %v", seen)
	}
	if n := moved(""); n > 0 {
		t.Errorf("%d addresses or paths went elsewhere the second time", n)
	}

	fewer, heavier := want, want
	fewer.Backends, heavier.Backends = nil, nil
	for _, b := range want.Backends {
		less, more := *b, *b
		less.Servers, more.Servers = b.Servers[:2], weighing(b.Servers, 200, 100, 0)
		fewer.Backends, heavier.Backends = append(fewer.Backends, &less), append(heavier.Backends, &more)
	}
	if change := l.set(fewer); change.Kind != Runtime {
		t.Fatalf("a server less: %+v", change)
	}
	if n := moved("c"); n > 0 {
		t.Errorf("%d addresses or paths moved whose server did not leave", n)
	}
	if change := l.set(heavier); change.Kind != Runtime {
		t.Fatalf("weights: %+v", change)
	}
	if got := answers(t, ports["roundrobin"], 90, root); got["a"] < 59 || got["a"] > 61 || got["a"]+got["b"] != 90 {
		t.Errorf("roundrobin, weights 200:100:0: %v of 90", got)
	}
	if got := answers(t, ports["random"], 600, root); got["a"] <= got["b"] || got["c"] > 0 { // 400 and 200, but for chance
		t.Errorf("random, weights 200:100:0: %v of 600", got)
	}
	if n := moved("b"); n == 0 {
		t.Error("with other weights no address or path moved")
	}
}

// leastconn avoids a server that is busy, and gives twice the weight twice the
// connections.
func TestE2ELeastConn(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	slow, release := slowApp(t, "slow")
	defer close(release)
	slow.Weight = 100
	want := simple(port, slow)
	want.Backends[0].Balance, want.Backends[0].Check.Interval = "leastconn", time.Minute
	l.set(want)
	for range 3 {
		go fetch(port, "x", "/")
	}
	l.eventually("three requests are under way", func() bool { return queue(l, "app", "slow").current == 3 })
	l.set(withServers(want, slow, app(t, "free")))
	if got := answers(t, port, 20, root); got["free"] != 20 {
		t.Errorf("%v", got)
	}
	twice, released := slowApp(t, "twice")
	defer close(released)
	twice.Weight = 200
	l.set(withServers(want, slow, twice))
	// 3 are at slow: the next 9 make it 4 and 8. They come one after the other,
	// since HAProxy's threads choose side by side.
	for i := range 9 {
		go fetch(port, "x", "/")
		l.eventually("it has arrived", func() bool { return queue(l, "app", "slow").current+queue(l, "app", "twice").current == 4+i })
	}
	if n := queue(l, "app", "twice").current; n != 8 {
		t.Errorf("twice the weight has %d connections of 12, want 8", n)
	}
}

// depth is what stands at a server.
type depth struct{ queued, current int }

// queue asks HAProxy how many requests a server, or BACKEND, has and how many
// wait for it.
func queue(l *lab, backend, server string) (d depth) {
	text, err := l.cli.ask(l.t.Context(), "show stat")
	if err != nil {
		l.t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if f := strings.Split(line, ","); len(f) > 4 && f[0] == backend && f[1] == server {
			_, _ = fmt.Sscan(f[2], &d.queued)
			_, _ = fmt.Sscan(f[4], &d.current)
		}
	}
	return d
}

// A server never has more than maxconn requests; others wait in line and are
// answered, or are told after timeouts.queue that nobody has time.
func TestE2EQueue(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	var busy, most atomic.Int64
	release := make(chan struct{})
	n := listenAnywhere(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := busy.Add(1)
		defer busy.Add(-1)
		for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		<-release
		fmt.Fprint(w, "at last")
	})}
	server := serveWith(t, n, s)
	server.Name = "only"
	want := simple(port, server)
	want.Backends[0].MaxConn, want.Backends[0].Queue, want.Backends[0].Check.Interval = 2, time.Minute, time.Minute
	l.set(want)
	results := make(chan int, 8)
	ask := func(n int) {
		for range n {
			go func() { status, _, _ := fetch(port, "x", "/"); results <- status }()
		}
	}
	ask(8)
	l.eventually("six wait in line", func() bool {
		d := queue(l, "app", "only")
		return d.current == 2 && d.queued+queue(l, "app", "BACKEND").queued == 6
	})
	close(release)
	for range 8 {
		if status := <-results; status != 200 {
			t.Errorf("one that waited got %d", status)
		}
	}
	if most.Load() > 2 {
		t.Errorf("the server had %d requests at once, want 2", most.Load())
	}

	release = make(chan struct{})
	defer func() { close(release) }()
	short := *want.Backends[0]
	short.Queue = 100 * time.Millisecond
	want.Backends = []*Backend{&short}
	if change := l.set(want); change.Kind != Reload || !strings.Contains(change.Cause, "queue") {
		t.Fatalf("%+v", change)
	}
	ask(2)
	l.eventually("the server is full", func() bool { return queue(l, "app", "only").current == 2 })
	if status, body, _ := fetch(port, "x", "/"); status != 503 {
		t.Errorf("one that waited too long got %d %s", status, body)
	}
}

// A backup serves only while every other server is down, and the second one
// only while the first is down too.
func TestE2EBackup(t *testing.T) {
	l := newLab(t)
	l.run()
	port := freePort(t)
	addresses, stop := make(map[string]Server), make(map[string]func())
	start := func(name string) {
		var n net.Listener
		if before, ok := addresses[name]; ok {
			n = listenAgain(t, before.Address.String())
		} else {
			n = listenAnywhere(t)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name+" /") })}
		addresses[name] = serveWith(t, n, s)
		stop[name] = func() { s.Close() }
	}
	var servers []Server
	for i, name := range []string{"a", "b", "y", "z"} {
		start(name)
		server := addresses[name]
		server.Name, server.Backup = name, i > 1
		servers = append(servers, server)
	}
	l.set(checked(simple(port, servers...)))
	is := func(when string, want ...string) {
		t.Helper()
		for name := range answers(t, port, 20, root) {
			if !slices.Contains(want, name) {
				t.Errorf("%s: %s answers, want %v alone", when, name, want)
			}
		}
	}
	end := func(name string) {
		stop[name]()
		l.eventually(name+" is down", func() bool { return l.Servers().Of("app", name) == Down })
	}
	is("all are up", "a", "b")
	end("a")
	is("one is left", "b")
	end("b")
	is("none is left", "y")
	end("y")
	is("the first backup is down too", "z")
	start("b")
	l.eventually("b is up", func() bool { return l.Servers().Of("app", "b") == Up })
	is("one is back", "b")
	for i := range servers { // one that an operator takes out is no better than one that is down
		if servers[i].Name == "b" {
			servers[i].State = Maint
		}
	}
	l.set(checked(simple(port, servers...)))
	is("b is out too", "z")
	if s := l.Status(); s.Reloads != 0 {
		t.Errorf("%d reloads", s.Reloads)
	}
}

// A client of a TCP service keeps its server by its address, across runtime
// updates and a reload, and gets another one when that leaves.
func TestE2EStickySourceOfTCP(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	port := freePort(t)
	a, b, c := app(t, "a"), app(t, "b"), app(t, "c")
	back := calmBackend("app", a, b)
	back.Mode, back.StickySource = TCP, time.Hour
	want := Config{MaxConn: 1000, Frontends: []Frontend{{Name: "front", Mode: TCP, Binds: []Bind{{loopback, port}}, Default: "app"}}, Backends: []*Backend{back},
		Peers: Peers{Local: "lb1", Port: freePort(t), Nodes: []Peer{{"lb1", loopback}}}}
	l.set(want)
	served := make(map[netip.Addr]string)
	client := netip.MustParseAddr("127.1.0.0")
	for range 30 {
		client = client.Next()
		served[client] = fetchFrom(t, client, loopback, port, "")
	}
	stay := func(when, gone string) {
		t.Helper()
		for client, name := range served {
			now := fetchFrom(t, client, loopback, port, "")
			if now != name && name != gone || now == gone {
				t.Errorf("%s: %s was served by %s, now by %s", when, client, name, now)
			}
			served[client] = now
		}
	}
	want = withServers(want, a, b, c)
	if change := l.set(want); change.Kind != Runtime {
		t.Fatalf("%+v", change)
	}
	stay("a server more", "")
	// A worker that has just been started with HAProxy waits some seconds for
	// somebody to teach it; before that it has nothing to teach, says 2.6.
	l.eventually("the worker expects no teacher any more", func() bool {
		text, err := l.cli.ask(t.Context(), "show peers")
		_, text, _ = strings.Cut(text, " flags=0x")
		flags, _, _ := strings.Cut(text, " ")
		return err == nil && strings.HasSuffix(flags, "3")
	})
	other := *want.Backends[0]
	other.Tunnel = time.Hour
	want.Backends = []*Backend{&other}
	if change := l.set(want); change.Kind != Reload || change.Cause == "" {
		t.Fatalf("%+v", change)
	}
	l.eventually("the new worker knows every client", func() bool {
		text, err := l.cli.ask(t.Context(), "show table app")
		return err == nil && strings.Count(text, " key=") == len(served)
	})
	stay("after a reload", "")
	l.set(withServers(want, b, c))
	stay("a left", "a")
}
