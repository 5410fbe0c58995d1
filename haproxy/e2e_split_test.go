package haproxy

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// within fails unless got of n is what a chance of percent gives, by six
// standard deviations: chance alone is outside once in some ten million times.
func within(t *testing.T, what string, got, n, percent int) {
	t.Helper()
	p := float64(percent) / 100
	mean, deviation := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	t.Logf("%s: %d of %d, wanted %.0f ± %.0f", what, got, n, mean, 6*deviation)
	if math.Abs(float64(got)-mean) > 6*deviation {
		t.Errorf("%s: %d of %d, wanted %.0f ± %.0f", what, got, n, mean, 6*deviation)
	}
}

// Shares are exact whatever the number of servers and the algorithm, change
// without a reload, and fall to the others where a set cannot serve.
func TestE2ESplit(t *testing.T) {
	for _, balance := range []string{"roundrobin", "leastconn"} {
		t.Run(balance, func(t *testing.T) {
			l := newLab(t)
			l.run()
			port := freePort(t)
			var servers []Server
			for i := range 5 {
				servers = append(servers, app(t, fmt.Sprintf("a%d", i)))
			}
			canary := inSet("v2", app(t, "b0"))
			config := func(percent int, servers ...Server) Config {
				want := splitConfig(percent, servers...)
				want.MaxConn, want.Frontends[0].Binds[0].Port = 1000, port
				want.Backends[0].Balance, want.Backends[0].Check = balance, calm
				return want
			}
			share := func(what string, percent int) {
				t.Helper()
				n, got := 1000, 0
				if percent == 0 || percent == 100 { // one that goes astray is enough
					n = 200
				}
				for range n {
					status, body, _ := fetch(port, "x", "/")
					if status != 200 {
						t.Fatalf("%s: %d %s", what, status, body)
					}
					if strings.HasPrefix(body, "b") {
						got++
					}
				}
				within(t, what, got, n, percent)
			}
			both := append(servers, canary)
			l.set(config(10, servers...))
			share("an empty set", 0)
			if change := l.set(config(10, both...)); change.Kind != Runtime {
				t.Fatalf("a canary: %+v", change)
			}
			share("10%", 10)
			for _, percent := range []int{50, 0, 100} {
				if change := l.set(config(percent, both...)); change.Kind != Runtime {
					t.Fatalf("%d%%: %+v", percent, change)
				}
				share(fmt.Sprint(percent, "%"), percent)
			}
			if h := l.Servers().Of("app", "b0"); h != Up {
				t.Errorf("health of the canary, by its service: %q", h)
			}
			if sessions, err := l.Sessions(t.Context(), "app"); err != nil || len(sessions) != 6 {
				t.Errorf("sessions %v, %v", sessions, err)
			}
			l.set(config(100, servers...))
			share("100% of nobody", 0)
			l.set(config(10, canary))
			share("only the canary is left", 100)
			if s := l.Status(); s.Reloads != 0 {
				t.Errorf("%d reloads", s.Reloads)
			}
			l.successor()
			if change := l.set(config(10, both...)); change.Kind != Adopted {
				t.Errorf("a successor: %+v", change)
			}
			share("after adoption", 10)
		})
	}
}

// A client stays with its set: by cookie or by address, while the set has a share.
func TestE2ESplitSticks(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	a, b := app(t, "a"), inSet("v2", app(t, "b"))
	config := func(percent int, change func(*Backend)) Config {
		want := splitConfig(percent, a, b)
		want.MaxConn, want.Frontends[0].Binds[0].Port = 1000, port
		want.Backends[0].Check = calm
		change(want.Backends[0])
		return want
	}
	byCookie := func(b *Backend) { b.StickyCookie = "SRV" }
	l.set(config(50, byCookie))
	jar := make(map[string]string) // name of the application: the cookie it came with
	for len(jar) < 2 {
		_, body, header := fetch(port, "x", "/")
		cookie, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
		jar[body[:1]] = cookie
	}
	stay := func(name string) (n int) {
		for range 50 {
			if _, body, _ := fetch(port, "x", "/", "Cookie: "+jar[name]); strings.HasPrefix(body, name) {
				n++
			}
		}
		return n
	}
	if x, y := stay("a"), stay("b"); x != 50 || y != 50 {
		t.Errorf("with a cookie %d and %d of 50 stayed", x, y)
	}
	l.set(config(1, byCookie))
	if n := stay("b"); n != 50 {
		t.Errorf("%d of 50 stayed when the share shrank", n)
	}
	l.set(config(0, byCookie))
	if n := stay("b"); n != 0 {
		t.Errorf("%d of 50 stayed with a set that has no share", n)
	}
	l.set(config(100, byCookie))
	if n := stay("a"); n != 0 {
		t.Errorf("%d of 50 stayed with the rest when it had nothing", n)
	}

	l.set(config(50, func(b *Backend) { b.StickySource = time.Minute }))
	client, seen := netip.MustParseAddr("127.1.0.0"), 0
	for range 200 {
		client = client.Next()
		first := fetchFrom(t, client, loopback, port, "")
		if first == "b" {
			seen++
		}
		if again := fetchFrom(t, client, loopback, port, ""); again != first {
			t.Errorf("client %s met %s, then %s", client, first, again)
		}
	}
	within(t, "by address", seen, 200, 50)
}

// Connections are split too.
func TestE2ESplitTCP(t *testing.T) {
	l := newLab(t)
	port := freePort(t)
	want := Config{MaxConn: 1000,
		Frontends: []Frontend{{Name: "front", Mode: TCP, Binds: []Bind{{loopback, port}}, Default: "app"}},
		Backends:  []*Backend{{Name: "app", Mode: TCP, Split: []Share{{"v2", 20}}, Servers: []Server{app(t, "a"), inSet("v2", app(t, "b"))}}},
	}
	l.set(want)
	n := 0
	for range 1000 {
		if _, body, _ := fetch(port, "x", "/"); strings.HasPrefix(body, "b") {
			n++
		}
	}
	within(t, "20% over TCP", n, 1000, 20)
}

// A set whose servers are all down leaves its share to the others, its
// cookie's clients included, and takes it again when it is back: green and
// blue alike.
func TestE2ESplitWhileASetIsDown(t *testing.T) {
	l := newLab(t)
	l.run()
	port := freePort(t)
	at := make(map[string]net.Listener)
	start := func(name string) Server {
		var n net.Listener
		if before := at[name]; before != nil {
			n = listenAgain(t, before.Addr().String())
		} else {
			n = listenAnywhere(t)
		}
		at[name] = n
		return serve(t, n, name)
	}
	want := splitConfig(30, start("blue"), inSet("v2", start("green")))
	want.MaxConn, want.Frontends[0].Binds[0].Port = 1000, port
	want.Backends[0].Check, want.Backends[0].StickyCookie = frequent, "SRV"
	l.set(want)
	is := func(name string, h Health) {
		t.Helper()
		l.eventually(name+" is "+string(h), func() bool { return l.Servers().Of("app", name) == h })
	}
	cookies := make(map[string]string)
	share := func(when string, percent int) {
		t.Helper()
		green := 0
		for range 400 {
			status, body, header := fetch(port, "x", "/")
			if status != 200 {
				t.Fatalf("%s: %d %s", when, status, body)
			}
			name, _, _ := strings.Cut(body, " ")
			if cookies[name], _, _ = strings.Cut(header.Get("Set-Cookie"), ";"); name == "green" {
				green++
			}
		}
		within(t, when, green, 400, percent)
	}
	pinned := func(set, to string) {
		t.Helper()
		for range 10 {
			if status, body, _ := fetch(port, "x", "/", "Cookie: "+cookies[set]); status != 200 || !strings.HasPrefix(body, to+" ") {
				t.Errorf("a client of %s got %d %s, want %s", set, status, body, to)
			}
		}
	}
	share("both are up", 30)
	pinned("green", "green")
	at["green"].Close()
	is("green", Down)
	share("green is down", 0)
	pinned("green", "blue")
	start("green")
	is("green", Up)
	share("green is back", 30)
	at["blue"].Close()
	is("blue", Down)
	share("blue is down", 100)
	pinned("blue", "green")
	at["green"].Close()
	is("green", Down)
	if status, _, _ := fetch(port, "x", "/"); status != 503 {
		t.Errorf("nobody is left: %d", status)
	}
	start("blue")
	is("blue", Up)
	share("blue is back alone", 0)
	if s := l.Status(); s.Reloads != 0 {
		t.Errorf("%d reloads", s.Reloads)
	}
}
