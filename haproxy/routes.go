package haproxy

import (
	"cmp"
	"fmt"
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

// keepForwarded, behind the backend of a map's value, leaves what the client
// said of its origin to the backend to judge.
const keepForwarded = "keep"

// routeMap is a map file and what it holds, sorted by key.
type routeMap struct {
	name    string
	entries []entry
}

func (m *routeMap) sort() {
	slices.SortFunc(m.entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
}

// file is the content of the map.
func (m routeMap) file() []byte {
	var b strings.Builder
	for _, e := range m.entries {
		b.WriteString(e.key + " " + e.value + "\n")
	}
	return []byte(b.String())
}

// maps are the maps of the frontend: routes without conditions, and those with.
func (f Frontend) maps() []routeMap {
	if len(f.Routes)+len(f.Redirects) == 0 {
		return f.splitMaps(nil)
	}
	list := []routeMap{{f.mapName(), f.entries()}}
	if conditions := f.conditions(); len(conditions) > 0 {
		list = append(list, f.conditionalMap(conditions))
	}
	return f.splitMaps(list)
}

// value is what a map says of a route. For http it carries the length of the
// matched path before the backend, so that a rule can tell the longest of several
// matches: as a number, "5/todo" reads 5.
func (f Frontend) value(r Route) string {
	if f.Mode == TCP {
		return r.Backend
	}
	value := strconv.Itoa(len(routePath(r))) + "/" + r.Backend
	if r.KeepForwarded {
		value += "/" + keepForwarded
	}
	return value
}

func (f Frontend) redirectValue(r Route) string {
	return strconv.Itoa(len(routePath(r))) + "/" + redirectTo
}

// entries are the lines of the frontend's map, sorted by key.
func (f Frontend) entries() []entry {
	m := routeMap{entries: make([]entry, 0, len(f.Routes)+len(f.Redirects))}
	for _, r := range f.Routes {
		if r.If == (Condition{}) {
			m.entries = append(m.entries, entry{f.key(r), f.value(r)})
		}
	}
	for _, r := range f.Redirects {
		if r.If == (Condition{}) {
			m.entries = append(m.entries, entry{f.key(r), f.redirectValue(r)})
		}
	}
	m.sort()
	return m.entries
}

// lookups says which questions the frontend's rules must ask its maps. While it
// stays the same, routes come and go as map entries.
type lookups struct {
	hosts          hostKinds // of routes without conditions
	redirect, keep bool
	conditional    string // the kinds of hosts each condition is asked for
	only           string // the backend that all routes lead to, where the plainest rules do
}

// plainest reports whether only exact hosts are in question, and nothing besides.
func (l lookups) plainest() bool {
	l.only = ""
	return l == lookups{hosts: hostKinds{exact: true}}
}

// hostKinds are the kinds of hosts among routes.
type hostKinds struct{ exact, wildcard, any bool }

func (k *hostKinds) add(host string) {
	switch {
	case host == "":
		k.any = true
	case strings.HasPrefix(host, "*."):
		k.wildcard = true
	default:
		k.exact = true
	}
}

// kinds are the kinds of hosts among the routes with this condition.
func (f Frontend) kinds(c Condition) hostKinds {
	var k hostKinds
	for _, list := range [][]Route{f.Routes, f.Redirects} {
		for _, r := range list {
			if r.If == c {
				k.add(r.Host)
			}
		}
	}
	return k
}

func (f Frontend) lookups() lookups {
	l := lookups{redirect: len(f.Redirects) > 0, hosts: f.kinds(Condition{})}
	l.keep = slices.ContainsFunc(f.Routes, func(r Route) bool { return r.KeepForwarded })
	for _, c := range f.conditions() {
		l.conditional += fmt.Sprintln(f.kinds(c), c.expression())
	}
	if f.isPlainest(l) {
		l.only = f.onlyBackend()
	}
	return l
}

// isPlainest reports whether writeExact has all the rules the frontend needs.
func (f Frontend) isPlainest(l lookups) bool {
	return f.Mode == HTTP && l.plainest() && !f.Guarded && f.Default == "" && len(f.Splits) == 0
}

// onlyBackend is the backend that all routes lead to, "" where there are more.
func (f Frontend) onlyBackend() string {
	first := f.Routes[0].Backend
	if slices.ContainsFunc(f.Routes, func(r Route) bool { return r.Backend != first }) {
		return ""
	}
	return first
}

// keys are the sample expressions of the needed lookups, most specific first:
// the host, the host with its first label replaced by *, and * itself.
func (k hostKinds) keys(host string) [3]string {
	var keys [3]string
	if k.exact {
		keys[0] = host
	}
	if k.wildcard {
		keys[1] = host + ",regsub(^[^.]*,*)"
	}
	if k.any {
		keys[2] = "str(*)"
	}
	return keys
}

// httpRules writes the rules that choose an http backend: the longest path
// wins, then the exact host over the wildcard over every host, then the most
// conditions.
func (f Frontend) httpRules(w *strings.Builder) {
	l := f.lookups()
	if l == (lookups{}) && f.Default != "" {
		f.splitRules(w, func(string) string { return "" })
		f.useSet(w)
		fmt.Fprintf(w, "  default_backend %s\n", f.Default)
		return
	}
	if l == (lookups{}) {
		fmt.Fprintf(w, "  http-request return status 404 content-type text/plain string \"no service here\\n\"\n")
		return
	}
	if f.isPlainest(l) {
		f.writeExact(w, l.only)
		return
	}
	fmt.Fprintf(w, "  http-request set-var(txn.route) str(0/)\n") // stays where a request without Host has nothing to look up
	if l.plainest() && !f.Guarded {
		f.writeExactLookup(w)
	} else {
		fmt.Fprintf(w, "  http-request set-var(txn.host) %s\n", canonicalHost)
		f.writePath(w)
		f.writeLookups(w)
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
	f.splitRules(w, func(backend string) string {
		if backend == f.Default {
			return "{ var(txn.route) -m str 0/ }"
		}
		return "{ var(txn.route),field(2,/) -m str " + backend + " }"
	})
	f.useSet(w)
	fmt.Fprintf(w, "  use_backend %%[var(txn.route),field(2,/)] unless { var(txn.route) -m str 0/ }\n")
	if f.Default != "" {
		fmt.Fprintf(w, "  default_backend %s\n", f.Default)
	}
}

// writePath takes the path to look for: as the client sent it, or, where a path
// guards something, as a server may read it. There, one that could be read as
// yet another is refused.
func (f Frontend) writePath(w *strings.Builder) {
	if !f.Guarded {
		fmt.Fprintf(w, "  http-request set-var(txn.path) path\n")
		return
	}
	fmt.Fprintf(w, "  http-request set-var(txn.path) path,url_dec,regsub(/+,/,g)\n")
	fmt.Fprintf(w, "  http-request deny deny_status 400 if { var(txn.path) -m reg %s } or { path -m sub %%00 }\n", dotSegment)
}

// canonicalHost is the host of a request as maps have it.
const canonicalHost = "req.hdr(host),host_only,lower,rtrim(.)"

// writeExact writes the rules of the plainest frontend, where every rule more
// is a part of what a request costs: a request whose host the map has as it
// came needs none of the others. A backend named in the rule costs less than
// one that is looked up by name, so the only one there is is named.
func (f Frontend) writeExact(w *strings.Builder, only string) {
	asItCame := "base,concat(/),map_beg(" + f.mapName() + ")"
	canonical := "var(txn.key),map_beg(" + f.mapName() + ")"
	const other = "{ var(txn.key) -m found }"
	fmt.Fprintf(w, "  http-request set-var-fmt(txn.key) \"%%[%s]%%[path]/\" unless { %s -m found }\n", canonicalHost, asItCame)
	fmt.Fprintf(w, "  http-request return status 404 content-type text/plain string \"no service here\\n\" if %s !{ %s -m found }\n", other, canonical)
	if only != "" {
		fmt.Fprintf(w, "  default_backend %s\n", only)
		return
	}
	fmt.Fprintf(w, "  use_backend %%[%s,field(2,/)] unless %s\n", asItCame, other)
	fmt.Fprintf(w, "  use_backend %%[%s,field(2,/)]\n", canonical)
}

// writeExactLookup asks the map where only exact hosts are in question. Nearly
// every client writes the host as the map does, so that is tried as it came,
// and what it takes to make it canonical is spent on the others.
func (f Frontend) writeExactLookup(w *strings.Builder) {
	const missed = "if { var(txn.route) -m str 0/ }"
	fmt.Fprintf(w, "  http-request set-var(txn.route) base,concat(/),map_beg(%s,0/)\n", f.mapName())
	fmt.Fprintf(w, "  http-request set-var(txn.host) %s %s\n", canonicalHost, missed)
	fmt.Fprintf(w, "  http-request set-var(txn.path) path %s\n", missed)
	fmt.Fprintf(w, "  http-request set-var(txn.route) var(txn.host),concat(,txn.path,/),map_beg(%s,0/) %s\n", f.mapName(), missed)
}

// writeLookups asks the maps, the more specific first: of what is found, only a
// longer path replaces what was found before.
func (f Frontend) writeLookups(w *strings.Builder) {
	const host = "var(txn.host)"
	first := true
	ask := func(key, expression, condition string) {
		name := "txn.other"
		if first {
			name = "txn.route"
		}
		if condition != "" {
			condition = " if " + condition
		}
		fmt.Fprintf(w, "  http-request set-var(%s) %s,concat(,txn.path,/),%s%s\n", name, key, expression, condition)
		if !first {
			fmt.Fprintf(w, "  http-request set-var(txn.route) var(txn.other) if { var(txn.other),sub(txn.route) gt 0 }\n")
		}
		first = false
	}
	conditions := f.conditions()
	for kind := range 3 {
		for i, c := range conditions {
			if key := f.kinds(c).keys(host)[kind]; key != "" {
				first = false
				fmt.Fprintf(w, "  http-request set-var(txn.key) %s\n", key)
				ask(fmt.Sprintf("str(%d/),concat(,txn.key,)", i), fmt.Sprintf("map_beg(maps/%s.if.map,0/)", f.Name), c.expression())
			}
		}
		if key := f.kinds(Condition{}).keys(host)[kind]; key != "" {
			ask(key, fmt.Sprintf("map_beg(%s,0/)", f.mapName()), "")
		}
	}
}

// tcpRules writes the rules that choose a tcp backend, by the server name in
// the TLS hello where routes are given. Nothing is decrypted.
func (f Frontend) tcpRules(w *strings.Builder) {
	f.writeAcceptProxy(w)
	l := f.lookups()
	if l != (lookups{}) {
		fmt.Fprintf(w, "  tcp-request inspect-delay 5s\n")
		f.splitByName(w, l)
		fmt.Fprintf(w, "  tcp-request content accept if { req.ssl_hello_type 1 }\n")
	}
	if f.Default == "" {
		fmt.Fprintf(w, "  tcp-request content reject\n")
	}
	if l == (lookups{}) {
		f.splitRules(w, func(string) string { return "" })
	}
	f.useSet(w)
	for _, key := range l.hosts.keys("req.ssl_sni,lower") {
		if key == "" {
			continue
		}
		lookup := key + ",map(" + f.mapName() + ")"
		fmt.Fprintf(w, "  use_backend %%[%s] if { %s -m found }\n", lookup, lookup)
	}
	if f.Default != "" {
		fmt.Fprintf(w, "  default_backend %s\n", f.Default)
	}
}
