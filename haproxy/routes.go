package haproxy

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// redirectTo stands in a map where a backend's name would: no backend can be
// called so, and the frontend's redirect rule looks for it.
const redirectTo = "@https"

// entry is one line of a frontend's map file.
type entry struct{ key, value string }

// mapName is the map file of a frontend, relative to haproxy.cfg; the runtime
// API knows it by the same name.
func (f Frontend) mapName() string { return "maps/" + f.Name + ".map" }

// key is what a route is looked up by. The tree behind map_beg finds the
// longest key that starts the request's "host/path/", so the slash at the end
// keeps /api from matching /apix.
func (f Frontend) key(r Route) string {
	host := cmp.Or(r.Host, "*")
	if f.Mode == TCP {
		return host
	}
	return host + routePath(r)
}

// routePath is the path prefix with exactly one slash at its end.
func routePath(r Route) string { return strings.TrimRight(r.Path, "/") + "/" }

// entries are the lines of the frontend's map, sorted by key. An http value
// carries the length of the matched path before the backend, so that a rule
// can tell the longest of several matches: as a number, "5/todo" reads 5.
func (f Frontend) entries() []entry {
	lines := make([]entry, 0, len(f.Routes)+len(f.Redirects))
	for _, r := range f.Routes {
		value := r.Backend
		if f.Mode == HTTP {
			value = strconv.Itoa(len(routePath(r))) + "/" + r.Backend
		}
		lines = append(lines, entry{f.key(r), value})
	}
	for _, r := range f.Redirects {
		lines = append(lines, entry{f.key(r), strconv.Itoa(len(routePath(r))) + "/" + redirectTo})
	}
	slices.SortFunc(lines, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return lines
}

// mapFile is the content of the frontend's map.
func (f Frontend) mapFile() []byte {
	var b strings.Builder
	for _, e := range f.entries() {
		b.WriteString(e.key + " " + e.value + "\n")
	}
	return []byte(b.String())
}

// lookups says which questions the frontend's rules must ask its map. While it
// stays the same, routes come and go as map entries.
type lookups struct{ exact, wildcard, any, redirect bool }

func (f Frontend) lookups() lookups {
	l := lookups{redirect: len(f.Redirects) > 0}
	for _, list := range [][]Route{f.Routes, f.Redirects} {
		for _, r := range list {
			switch {
			case r.Host == "":
				l.any = true
			case strings.HasPrefix(r.Host, "*."):
				l.wildcard = true
			default:
				l.exact = true
			}
		}
	}
	return l
}

// keys are the sample expressions of the needed lookups, most specific first:
// the host, the host with its first label replaced by *, and * itself.
func (l lookups) keys(host string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		i := 0
		for _, k := range []struct {
			need bool
			expr string
		}{{l.exact, host}, {l.wildcard, host + ",regsub(^[^.]*,*)"}, {l.any, "str(*)"}} {
			if !k.need {
				continue
			}
			if !yield(i, k.expr) {
				return
			}
			i++
		}
	}
}

// httpRules writes the rules that choose an http backend: the longest path
// wins, then the exact host over the wildcard over every host.
func (f Frontend) httpRules(w *strings.Builder) {
	l := f.lookups()
	if l == (lookups{}) && f.Default != "" {
		fmt.Fprintf(w, "  default_backend %s\n", f.Default)
		return
	}
	if l == (lookups{}) {
		fmt.Fprintf(w, "  http-request return status 404 content-type text/plain string \"no service here\\n\"\n")
		return
	}
	fmt.Fprintf(w, "  http-request set-var(txn.host) req.hdr(host),host_only,lower,rtrim(.)\n")
	fmt.Fprintf(w, "  http-request set-var(txn.path) path\n")
	fmt.Fprintf(w, "  http-request set-var(txn.route) str(0/)\n") // stays where a request without Host has nothing to look up
	for i, key := range l.keys("var(txn.host)") {
		name := "txn.route"
		if i > 0 {
			name = "txn.other"
		}
		fmt.Fprintf(w, "  http-request set-var(%s) %s,concat(,txn.path,/),map_beg(%s,0/)\n", name, key, f.mapName())
		if i > 0 { // longer only: at equal length the more specific host was first
			fmt.Fprintf(w, "  http-request set-var(txn.route) var(txn.other) if { var(txn.other),sub(txn.route) gt 0 }\n")
		}
	}
	if l.redirect {
		port := ""
		if f.RedirectPort != 0 && f.RedirectPort != 443 {
			port = fmt.Sprintf(":%d", f.RedirectPort)
		}
		fmt.Fprintf(w, "  http-request redirect prefix https://%%[var(txn.host)]%s code 308 if { var(txn.route),field(2,/) %s }\n", port, redirectTo)
	}
	if f.Default == "" {
		fmt.Fprintf(w, "  http-request return status 404 content-type text/plain string \"no service here\\n\" if { var(txn.route) -m str 0/ }\n")
	}
	fmt.Fprintf(w, "  use_backend %%[var(txn.route),field(2,/)] unless { var(txn.route) -m str 0/ }\n")
	if f.Default != "" {
		fmt.Fprintf(w, "  default_backend %s\n", f.Default)
	}
}

// tcpRules writes the rules that choose a tcp backend, by the server name in
// the TLS hello where routes are given. Nothing is decrypted.
func (f Frontend) tcpRules(w *strings.Builder) {
	l := f.lookups()
	if l != (lookups{}) {
		fmt.Fprintf(w, "  tcp-request inspect-delay 5s\n")
		fmt.Fprintf(w, "  tcp-request content accept if { req.ssl_hello_type 1 }\n")
	}
	if f.Default == "" {
		fmt.Fprintf(w, "  tcp-request content reject\n")
	}
	for _, key := range l.keys("req.ssl_sni,lower") {
		lookup := key + ",map(" + f.mapName() + ")"
		fmt.Fprintf(w, "  use_backend %%[%s] if { %s -m found }\n", lookup, lookup)
	}
	if f.Default != "" {
		fmt.Fprintf(w, "  default_backend %s\n", f.Default)
	}
}
