package acme

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// pebble is Let's Encrypt's test authority, inside this process. It asks on
// the port of front, which leads to one node after the other.
type pebble struct {
	issuer   Issuer
	front    *front
	calendar *calendar
}

func newPebble(t *testing.T, life time.Duration) *pebble {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	front := newFront(t)
	quiet := log.New(io.Discard, "", 0)
	names := nameServer(t)
	store := db.NewMemoryStore()
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "test", ValidityPeriod: uint64(life.Seconds())}})
	validator := va.New(quiet, front.port(), 0, false, names, store)
	api := wfe.New(quiet, store, validator, authority, []string{"pebble.test"}, false, false, 1, 1)
	calendar := &calendar{Handler: api.Handler(), made: time.Now(), due: make(map[string]bool)}
	server := httptest.NewTLSServer(calendar)
	t.Cleanup(server.Close)
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return &pebble{front: front, calendar: calendar, issuer: Issuer{Name: "pebble", Directory: server.URL + wfe.DirectoryPath, Storage: sharedStorage(t), CA: string(root)}}
}

// sharedStorage is a directory that nodes share. Renewals that certmagic has
// under way when it is stopped may still write there for a moment.
func sharedStorage(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "storage")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(30 * time.Second); os.RemoveAll(dir) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s cannot be removed", dir)
				return
			}
		}
	})
	return dir
}

// nameServer answers that every host is on loopback, over TCP, as Pebble asks.
// It listens when the function returns.
func nameServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, question *dns.Msg) {
		answer := new(dns.Msg).SetReply(question)
		if q := question.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: q.Qclass}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(answer)
	})}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// calendar says when the authority wants its certificates renewed (RFC 9773):
// those it was asked about before the last call of renew at once, others later.
type calendar struct {
	http.Handler
	made time.Time
	mu   sync.Mutex
	due  map[string]bool // by the path they are asked about at

	orders atomic.Int64 // that were placed
}

// renew wants every certificate that was asked about replaced.
func (c *calendar) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for path := range c.due {
		c.due[path] = true
	}
}

func (c *calendar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/renewalInfo/") {
		if r.Method == http.MethodPost && r.URL.Path == "/order-plz" {
			c.orders.Add(1)
		}
		pauseless{c.Handler}.ServeHTTP(w, r)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.due[r.URL.Path]
	c.due[r.URL.Path] = due
	from := c.made.Add(30 * 24 * time.Hour)
	if due {
		from = c.made.Add(-24 * time.Hour)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "1")
	_ = json.NewEncoder(w).Encode(map[string]any{"suggestedWindow": map[string]time.Time{"start": from, "end": from.Add(time.Hour)}})
}

// pauseless is the authority without its advice to ask again later, and
// without its fault to forget orders whose serial number begins with a byte
// above 0x7f: the client is told to do without the reference to them.
type pauseless struct{ http.Handler }

func (p pauseless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	said := httptest.NewRecorder()
	p.Handler.ServeHTTP(said, r)
	said.Header().Del("Retry-After")
	maps.Copy(w.Header(), said.Header())
	if strings.Contains(said.Body.String(), "could not find an order for the given certificate") {
		w.Header().Del("Content-Length")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"type": "urn:ietf:params:acme:error:alreadyReplaced", "detail": "never heard of it"}`)
		return
	}
	w.WriteHeader(said.Code)
	_, _ = w.Write(said.Body.Bytes())
}

// front is the VIP: each request goes to the next node.
type front struct {
	server *httptest.Server
	mu     sync.Mutex
	nodes  []string // sockets
	asked  map[string]int
}

func newFront(t *testing.T) *front {
	f := &front{asked: make(map[string]int)}
	f.server = httptest.NewServer(http.HandlerFunc(f.forward))
	t.Cleanup(f.server.Close)
	return f
}

func (f *front) port() int { return f.server.Listener.Addr().(*net.TCPAddr).Port }

func (f *front) leadTo(nodes ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = nodes
}

// requests counts those that went to a node so far.
func (f *front) requests(node string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[node]
}

func (f *front) forward(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if len(f.nodes) == 0 || !strings.HasPrefix(r.URL.Path, "/.well-known/acme-challenge/") {
		f.mu.Unlock()
		http.Error(w, "nobody is there", http.StatusServiceUnavailable)
		return
	}
	node := f.nodes[0]
	f.nodes = append(f.nodes[1:], node)
	f.asked[node]++
	f.mu.Unlock()
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", node)
	}}}
	out, _ := http.NewRequestWithContext(r.Context(), r.Method, "http://node"+r.URL.Path, nil)
	out.Host = r.Host
	resp, err := client.Do(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}
