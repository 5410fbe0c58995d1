package haproxy

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Those who speak the PROXY protocol are believed, and only they; the server is
// told in the same protocol.
func TestE2EProxyProtocolInAndOut(t *testing.T) {
	for version, prefix := range map[ProxyVersion]string{ProxyV1: "PROXY TCP4 ", ProxyV2: "\r\n\r\n\x00\r\nQUIT\n"} {
		t.Run(string(version), func(t *testing.T) {
			l := newLab(t)
			port := freePort(t)
			n := listenAnywhere(t)
			t.Cleanup(func() { n.Close() })
			go func() {
				for {
					conn, err := n.Accept()
					if err != nil {
						return
					}
					go func() { // says what it was told before "hello"
						defer conn.Close()
						told := untilHello(conn)
						fmt.Fprint(conn, told)
					}()
				}
			}()
			l.set(Config{MaxConn: 1000,
				Frontends: []Frontend{{Name: "front", Mode: TCP, Binds: []Bind{{loopback, port}}, Default: "app", AcceptProxy: []netip.Prefix{netip.MustParsePrefix("127.1.0.0/16")}}},
				Backends: []*Backend{{Name: "app", Mode: TCP, ProxyProtocol: version,
					Servers: []Server{{Name: "raw", Address: netip.MustParseAddrPort(n.Addr().String()), State: Ready, Weight: 100}}}},
			})
			ask := func(from, says string) string {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
				conn, err := d.DialContext(t.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				fmt.Fprint(conn, says)
				return untilHello(conn)
			}
			const claim = "PROXY TCP4 203.0.113.7 203.0.113.10 4711 5432\r\n"
			address := func(a string) string {
				if version == ProxyV1 {
					return a
				}
				b := netip.MustParseAddr(a).As4()
				return string(b[:])
			}
			told := ask("127.1.0.1", claim+"hello!")
			if !strings.HasPrefix(told, prefix) || !strings.Contains(told, address("203.0.113.7")) || !strings.HasSuffix(told, "hello!") || strings.Count(told, "PROXY") > 1 {
				t.Errorf("from a proxy: %q", told)
			}
			if told := ask("127.1.0.1", "hello!"); told != "" {
				t.Errorf("a proxy without the protocol was let in: %q", told)
			}
			told = ask("127.2.0.1", claim+"hello!")
			if !strings.Contains(told, address("127.2.0.1")) || !strings.HasSuffix(told, claim+"hello!") {
				t.Errorf("somebody else is not what they are: %q", told)
			}
		})
	}
}

// untilHello reads up to and with "hello!", or to the end.
func untilHello(r io.Reader) string {
	var told []byte
	one := make([]byte, 1)
	for !strings.HasSuffix(string(told), "hello!") {
		if n, err := r.Read(one); n == 0 || err != nil {
			break
		}
		told = append(told, one[0])
	}
	return string(told)
}
