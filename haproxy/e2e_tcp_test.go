package haproxy

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// echoApp is an application that sends back what comes.
func echoApp(t *testing.T, name string) Server {
	n := listenAnywhere(t)
	t.Cleanup(func() { n.Close() })
	go func() {
		for {
			conn, err := n.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return Server{Name: name, Address: netip.MustParseAddrPort(n.Addr().String()), State: Ready, Weight: 100}
}

// dialEcho opens a session with an echoApp.
func dialEcho(t *testing.T, port uint16) socket {
	t.Helper()
	conn, err := net.Dial("tcp4", netip.AddrPortFrom(loopback, port).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return socket{conn, ""}
}

// A silent session of a TCP service lasts as long as its own service says,
// not another's, and outlives a reload until then.
func TestE2ETimeoutsOfTCP(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	ports := map[string]uint16{"patient": freePort(t), "short": freePort(t)}
	want := Config{MaxConn: 1000}
	for name, port := range ports {
		b := calmBackend(name, echoApp(t, "echo"))
		b.Mode, b.Server = TCP, 500*time.Millisecond // HAProxy asks the tunnel's alone
		if b.Tunnel = time.Minute; name == "short" {
			b.Tunnel = 4 * time.Second
		}
		want.Backends = append(want.Backends, b)
		want.Frontends = append(want.Frontends, Frontend{Name: name, Mode: TCP, Binds: []Bind{{loopback, port}}, Default: name, ClientTimeout: 500 * time.Millisecond})
	}
	sortBackends(want.Backends)
	if want.Frontends[0].Name > want.Frontends[1].Name {
		want.Frontends[0], want.Frontends[1] = want.Frontends[1], want.Frontends[0]
	}
	l.set(want)
	patient, short := dialEcho(t, ports["patient"]), dialEcho(t, ports["short"])
	for _, s := range []socket{patient, short} {
		if err := s.echoes(); err != nil {
			t.Fatal(err)
		}
	}
	if err := short.ended(); err != nil {
		t.Errorf("silent for longer than its service allows: %v", err)
	}
	if err := patient.echoes(); err != nil {
		t.Errorf("within what its service allows: %v", err)
	}
	want.Raw.Defaults = []string{"option tcplog"}
	if change := l.set(want); change.Kind != Reload {
		t.Fatalf("%+v", change)
	}
	if err := patient.echoes(); err != nil {
		t.Errorf("after a reload: %v", err)
	}
}

// Reloads are a spacing apart, whatever is asked for meanwhile, and what only
// needs the runtime API does not wait, in the same backend too.
func TestE2EReloadsAreSpaced(t *testing.T) {
	l := newLab(t)
	l.opts.ReloadSpacing = 300 * time.Millisecond
	l.HAProxy = New(l.opts)
	port := freePort(t)
	a, b := app(t, "a"), app(t, "b")
	want := simple(port, a)
	l.set(want)
	var reloads []time.Time
	wishes := 0
	for began := time.Now(); len(reloads) < 4; wishes++ {
		if time.Since(began) > patience {
			t.Fatalf("%d wishes, %d reloads", wishes, len(reloads))
		}
		next := withServers(want, a, b)
		if wishes%2 == 0 {
			next = withServers(want, a)
		}
		next.Backends[0].Tunnel = time.Hour + time.Duration(wishes)*time.Second // only a reload makes it so
		change := l.set(next)
		switch change.Kind {
		case Reload:
			reloads = append(reloads, l.lastReload)
		case Runtime:
			if change.Retry <= 0 || change.Cause == "" {
				t.Fatalf("wish %d: %+v", wishes, change)
			}
		}
		if status, _, _ := fetch(port, "x", "/"); status != 200 {
			t.Errorf("wish %d: %d", wishes, status)
		}
		if _, list, err := l.showServers(t.Context(), "app"); err != nil || wishes%2 == 1 && len(list) != 2 {
			t.Errorf("wish %d: servers %v, %v: the new one waits for the reload", wishes, list, err)
		}
	}
	for i, at := range reloads[1:] {
		if apart := at.Sub(reloads[i]); apart < l.opts.ReloadSpacing {
			t.Errorf("reloads %d and %d are %v apart", i, i+1, apart)
		}
	}
	t.Logf("%d wishes, %d reloads", wishes, len(reloads))
}
