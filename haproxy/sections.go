package haproxy

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

const defaultRetries, defaultConnect = 3, 3 * time.Second

// hardStop is the longest life of an old worker: what a reload leaves on it
// lives as long as the most patient service lets an idle session, and no old
// worker lives for ever.
func (p Paths) hardStop(want Config) time.Duration {
	if p.HardStop > 0 {
		return p.HardStop
	}
	longest := time.Hour // the timeout of tunnels, below
	for _, b := range want.Backends {
		longest = max(longest, b.Tunnel, b.Server)
	}
	return longest
}

// writeGlobal writes the sections every configuration shares.
// HAProxy's own HTTP client, which nothing here uses, would read all of the
// system's CA certificates at every start and check: half of a reload's time.
func writeGlobal(w *strings.Builder, p Paths, maxconn int, want Config) {
	w.WriteString("global\n  default-path config\n  httpclient.ssl.verify none\n")
	if maxconn > 0 {
		fmt.Fprintf(w, "  maxconn %d\n", maxconn)
	}
	if peer := want.localPeer(); peer != "" {
		fmt.Fprintf(w, "  localpeer %s\n", peer)
	}
	if !want.resumes() {
		w.WriteString("  tune.ssl.cachesize 0\n")
	}
	fmt.Fprintf(w, "  stats socket %s mode 600 level admin expose-fd listeners\n", p.stats())
	fmt.Fprintf(w, "  hard-stop-after %s\n  mworker-max-reloads 50\n", millis(p.hardStop(want)))
	fmt.Fprintf(w, "  log %s len 1024 local0 notice\n", p.seen(p.log()))
	if p.Jail.closed() {
		p.Jail.write(w)
	}
	fmt.Fprintf(w, "  server-state-file %s\n", p.state())
	if want.offersQUIC() { // needed where OpenSSL itself knows no QUIC, harmless elsewhere
		w.WriteString("  limited-quic\n")
	}
	writeRaw(w, want.Raw.Global)
	fmt.Fprintf(w, `
defaults vipilot
  log global
  option redispatch 1
  option idle-close-on-response
  option http-keep-alive
  http-reuse safe
  retries %d
  timeout connect %s
  timeout client 60s
  timeout server 60s
  timeout queue 10s
  timeout http-request 10s
  timeout http-keep-alive 60s
  timeout tunnel 1h
  load-server-state-from-file global
`, defaultRetries, millis(defaultConnect))
	writeRaw(w, want.Raw.Defaults)
}

// writeResolvers has HAProxy ask this machine's name servers for the addresses
// of servers named by host, again and again. It is written only where there
// are such servers.
func writeResolvers(w *strings.Builder) {
	w.WriteString(`
resolvers vipilot
  parse-resolv-conf
  accepted_payload_size 8192
  resolve_retries 3
  timeout resolve 1s
  timeout retry 1s
  hold valid 5s
`)
}

// writeFrontend writes a frontend. It logs nothing: the log is the health
// feed, and a request must not pay for it.
func writeFrontend(w *strings.Builder, f Frontend, p Paths, want Config) {
	fmt.Fprintf(w, "\nfrontend %s from vipilot\n  mode %s\n  no log\n", f.Name, f.Mode)
	binds := f.Binds
	if f.Inside {
		f.writeInside(w, p)
		binds = nil
	}
	for _, b := range binds {
		fmt.Fprintf(w, "  bind %s%s transparent", netip.AddrPortFrom(b.Address, b.Port), f.UpTo())
		if b.Address.Is6() {
			w.WriteString(" v6only")
		}
		if len(f.Certificates) > 0 {
			w.WriteString(f.tlsKeywords())
		}
		w.WriteString("\n")
	}
	f.writeQUIC(w)
	if f.ClientTimeout > 0 {
		fmt.Fprintf(w, "  timeout client %s\n", millis(f.ClientTimeout))
	}
	if f.Mode == TCP {
		f.tcpRules(w)
		return
	}
	scheme := "http"
	if len(f.Certificates) > 0 {
		scheme = "https"
	}
	keep := ""
	if f.lookups().keep { // the backend is known first
		f.httpRules(w)
		keep = " unless { var(txn.route),field(3,/) -m str " + keepForwarded + " }"
	}
	// What a client claims of its origin is dropped before the truth is added.
	fmt.Fprintf(w, "  http-request del-header X-Forwarded- -m beg%s\n  http-request del-header Forwarded%s\n", keep, keep)
	fmt.Fprintf(w, "  http-request set-header X-Forwarded-Proto %s%s\n", scheme, keep)
	if keep == "" && !want.rewritesOrigin() {
		w.WriteString("  option forwardfor\n") // cheaper than the rule, and after all rules
	} else {
		fmt.Fprintf(w, "  http-request add-header X-Forwarded-For %%[src]%s\n", keep)
	}
	if want.Closing {
		w.WriteString("  http-after-response set-header Connection close\n")
	}
	if keep == "" {
		f.httpRules(w)
	}
}

// UpTo is the rest of a range's text, -30100; "" for one port.
func (f Frontend) UpTo() string {
	if f.LastPort == 0 {
		return ""
	}
	return fmt.Sprintf("-%d", f.LastPort)
}

// addFiles adds the files the frontend refers to.
func (f Frontend) addFiles(files Files) {
	for _, m := range f.maps() {
		files[m.name] = m.file()
	}
	f.addTLSFiles(files)
}

// writeBackend writes a backend without its servers.
func writeBackend(w *strings.Builder, b *Backend, peers bool) {
	balance := balances[b.Balance]
	fmt.Fprintf(w, "\nbackend %s from vipilot\n  mode %s\n  balance %s\n", b.Name, b.Mode, balance)
	if balance == "source" || balance == "uri" {
		w.WriteString("  hash-type consistent\n") // the only kind that takes servers at run time
	}
	if b.Place == AtGate || b.Place == BehindIt {
		writeInTier(w, b)
	}
	if b.StickyCookie != "" && b.StickyName {
		writePins(w, b)
	} else if b.StickyCookie != "" {
		// The cookie is a hash of key, address and port: equal on every node.
		fmt.Fprintf(w, "  dynamic-cookie-key %s\n  cookie %s insert indirect nocache httponly dynamic\n", b.Name, b.StickyCookie)
	}
	b.writeTable(w, peers)
	b.writeRetries(w)
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"connect", b.Connect}, {"server", b.Server}, {"queue", b.Queue}, {"tunnel", b.Tunnel}} {
		if t.d > 0 {
			fmt.Fprintf(w, "  timeout %s %s\n", t.name, millis(t.d))
		}
	}
	b.tlsRules(w)
	if b.Check.Path != "" && b.Place == OnNode {
		fmt.Fprintf(w, "  option httpchk\n  http-check send meth GET uri %s ver HTTP/1.1 hdr Host %s\n", b.Check.Path, cmp.Or(b.Check.Host, "localhost"))
	}
	b.writeRules(w)
	writeRaw(w, b.Raw)
	b.writeTables(w)
}

// budget chooses maxconn so that HAProxy's descriptors fit the limit: two for
// each connection, one for each checked server and listener, and some for
// itself. HAProxy notices a budget that does not fit only when it starts.
func budget(want Config, limit int) (int, error) {
	if limit <= 0 {
		return want.MaxConn, nil
	}
	servers, binds := 0, 0
	for _, b := range want.Backends {
		servers += len(b.Servers)
	}
	for _, f := range want.Frontends {
		for range f.sockets() {
			binds++
		}
		if f.QUIC {
			binds += len(f.Binds)
		}
		if f.Inside {
			binds++
		}
	}
	if want.Tier != nil {
		binds += 2
	}
	fixed := servers + servers/4 + binds + 200 // a quarter more for servers that come at run time
	room := (limit - fixed) / 2
	if want.MaxConn > room {
		return 0, fmt.Errorf("maxconn %d needs %d open files (2 per connection, %d for servers, listeners and HAProxy itself), the limit is %d: lower maxconn or raise the limit (ulimit -n, LimitNOFILE)",
			want.MaxConn, 2*want.MaxConn+fixed, fixed, limit)
	}
	if room < 100 {
		return 0, fmt.Errorf("the limit of %d open files leaves no room for connections (%d go to servers, listeners and HAProxy itself): raise it (ulimit -n, LimitNOFILE)", limit, fixed)
	}
	if want.MaxConn > 0 {
		return want.MaxConn, nil
	}
	if room > 1000 {
		room -= room % 1000 // so that it does not change with every server
	}
	return min(room, 100_000), nil
}
