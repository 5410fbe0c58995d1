package haproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Rules are what a backend does with a request before a server sees it, and
// with the response before the client does. They stand in the backend's section, so
// that a service without them pays nothing. A tcp backend has Allow and Deny only.
type Rules struct {
	Trusted     []netip.Prefix // proxies whose X-Forwarded headers are believed; its routes have KeepForwarded
	Deny, Allow []netip.Prefix // clients, by address; Deny is looked at first, an empty Allow is everybody
	Maintenance bool           // every request gets the page for 503
	MaxSize     int64          // bytes in the body of a request; 0 = no limit
	Rate        Rate
	Auth        *Auth
	Rewrite     Rewrite
	Redirect    *Redirect // the answer to every request: no server is asked
	Request     Headers
	Response    Headers
	Compress    bool
	Pages       []Page // sorted by status: what HAProxy itself answers with
}

// Rate is how many requests one client, a single IPv4 address or an IPv6 /64,
// may make in any period of that length.
type Rate struct {
	Requests int // 0 = any number
	Per      time.Duration
}

// Auth asks for a user name and a password (RFC 7617).
type Auth struct {
	Realm string
	Users []User // at least one
}

// User is one who may pass.
type User struct {
	Name string
	Hash Hash
}

// Hash is a password as crypt(3) hashed it: $5$, $6$ or bcrypt. It is written into
// haproxy.cfg and nowhere else.
type Hash string

// String hides the hash.
func (Hash) String() string { return "***" }

// GoString hides the hash from %#v.
func (Hash) GoString() string { return "***" }

// Rewrite changes the path of a request: Strip is taken off the front, in whole
// segments, then Add is put there. "" = nothing.
type Rewrite struct{ Strip, Add string }

// Redirect sends clients to another host, with path and query as they are
// after the rewrite.
type Redirect struct {
	Host  string
	Port  uint16 // 0 = the scheme's own
	Code  int    // 301, 302, 303, 307 or 308
	HTTPS bool   // to https always; otherwise the scheme stays
}

// Headers are changes to the header: first Delete, then Set, then Add.
type Headers struct {
	Delete   []string
	Set, Add []Header
}

// Header is one field.
type Header struct{ Name, Value string }

// Page is the body of an answer that HAProxy gives itself. Its content stands in
// a file that HAProxy takes as it is: nothing in it is interpreted.
type Page struct {
	Status  int
	Content []byte
}

// MaxPage is the most a page may hold: an answer must fit HAProxy's buffer.
const MaxPage = 15 << 10

func (p Page) file() string {
	sum := sha256.Sum256(p.Content)
	return "pages/" + hex.EncodeToString(sum[:8]) + ".html"
}

// page gives the page for a status.
func (r Rules) page(status int) (Page, bool) {
	for _, p := range r.Pages {
		if p.Status == status {
			return p, true
		}
	}
	return Page{}, false
}

// answer is an answer that ends a request: the page for its status, or the text.
func (r Rules) answer(status int, text string) string {
	if p, ok := r.page(status); ok {
		return fmt.Sprintf("return status %d content-type \"text/html; charset=utf-8\" file %s", status, p.file())
	}
	return fmt.Sprintf("return status %d content-type text/plain string \"%s\\n\"", status, text)
}

// unsized is how much of a body HAProxy waits for when its length is not told;
// it fits the buffer whatever the header.
const unsized = 8 << 10

// writeRules writes the rules of a backend, in the order they are followed.
func (b *Backend) writeRules(w *strings.Builder) {
	r := b.Rules
	writeNetworks(w, "trusted", r.Trusted)
	writeNetworks(w, "denied", r.Deny)
	writeNetworks(w, "allowed", r.Allow)
	if b.Mode == TCP {
		for _, refuse := range r.refusals() {
			fmt.Fprintf(w, "  tcp-request content reject %s\n", refuse)
		}
		return
	}
	request := func(format string, args ...any) { fmt.Fprintf(w, "  http-request "+format+"\n", args...) }
	if len(r.Trusted) > 0 {
		r.writeOrigin(w)
	}
	for _, refuse := range r.refusals() {
		request("%s %s", r.answer(403, "you may not come from where you are"), refuse)
	}
	if r.Maintenance {
		request("%s", r.answer(503, "down for maintenance"))
	}
	if r.Rate.Requests > 0 {
		request("track-sc0 src,ipmask(32,64) table %s", b.rateTable())
		request("%s hdr Retry-After %d if { sc_http_req_rate(0) gt %d }", r.answer(429, "too many requests"),
			(r.Rate.Per+time.Second-1)/time.Second, r.Rate.Requests)
	}
	if r.MaxSize > 0 {
		r.writeMaxSize(w)
	}
	if r.Auth != nil {
		request("auth realm %s unless { http_auth(%s) }", quoted(r.Auth.Realm), b.Name)
	}
	r.Rewrite.write(w)
	if r.Redirect != nil {
		r.Redirect.write(w)
	}
	writeHeaders(w, "http-request", r.Request)
	writeHeaders(w, "http-after-response", r.Response) // of HAProxy's own answers as well
	r.writePages(w)
}

// rewritesOrigin reports whether rules of some backend, or raw lines, may have to do with
// what is told of the client's address, which must be there before them then.
// It is asked of all backends, so that no route decides it, which can change at run time.
func (c Config) rewritesOrigin() bool {
	is := func(name string) bool { return strings.EqualFold(name, "X-Forwarded-For") }
	isHeader := func(h Header) bool { return is(h.Name) }
	return len(c.Raw.Defaults) > 0 || slices.ContainsFunc(c.Backends, func(b *Backend) bool {
		r := b.Rules.Request
		return len(b.Raw) > 0 || slices.ContainsFunc(r.Delete, is) || slices.ContainsFunc(r.Set, isHeader) || slices.ContainsFunc(r.Add, isHeader)
	})
}

// refusals are the conditions under which a client is turned away.
func (r Rules) refusals() []string {
	var list []string
	if len(r.Deny) > 0 {
		list = append(list, "if denied")
	}
	if len(r.Allow) > 0 {
		list = append(list, "unless allowed")
	}
	return list
}

// writeOrigin takes the origin of a request from a trusted proxy: what such a
// proxy says of it stays, what anybody else says is dropped, and the peer is
// added. The client's address becomes that of the last hop that is not
// trusted, as far back as three proxies in a row.
func (r Rules) writeOrigin(w *strings.Builder) {
	w.WriteString(`  acl scheme_told req.fhdr(X-Forwarded-Proto) -m str http https
  http-request del-header X-Forwarded- -m beg unless trusted
  http-request del-header Forwarded unless trusted
  http-request set-header X-Forwarded-Proto https if { ssl_fc } !scheme_told
  http-request set-header X-Forwarded-Proto http if !{ ssl_fc } !scheme_told
  http-request add-header X-Forwarded-For %[src]
  http-request set-src hdr_ip(X-Forwarded-For,-2) if trusted
  http-request set-src hdr_ip(X-Forwarded-For,-3) if trusted { hdr_ip(X-Forwarded-For,-2) -m found }
  http-request set-src hdr_ip(X-Forwarded-For,-4) if trusted { hdr_ip(X-Forwarded-For,-3) -m found }
`)
}

// writeMaxSize refuses large bodies. One whose length is not told is waited
// for: it must end within what HAProxy can hold, for nothing counts it later.
func (r Rules) writeMaxSize(w *strings.Builder) {
	const untold = "!{ req.hdr(Content-Length) -m found } !{ method CONNECT }"
	fmt.Fprintf(w, "  http-request %s if { req.body_size gt %d }\n", r.answer(413, "the body is too large"), r.MaxSize)
	fmt.Fprintf(w, "  http-request wait-for-body time 10s at-least %d if %s\n", unsized, untold)
	fmt.Fprintf(w, "  http-request %s if { req.body_size gt %d }\n", r.answer(413, "the body is too large"), r.MaxSize)
	if r.MaxSize > unsized {
		fmt.Fprintf(w, "  http-request %s if { req.body_size ge %d } %s\n", r.answer(411, "say the length of the body"), unsized, untold)
	}
}

// write changes the path. A path with dot segments could leave what is put
// before it, so it is refused.
func (r Rewrite) write(w *strings.Builder) {
	if r == (Rewrite{}) {
		return
	}
	fmt.Fprintf(w, "  http-request deny deny_status 400 if { path,url_dec -m reg %s }\n", dotSegment)
	if r.Strip != "" {
		fmt.Fprintf(w, "  http-request set-path / if { path %s }\n", r.Strip)
		fmt.Fprintf(w, "  http-request set-path %%[path,bytes(%d)] if { path -m beg %s/ }\n", len(r.Strip), r.Strip)
	}
	if r.Add != "" {
		fmt.Fprintf(w, "  http-request set-path %s%%[path]\n", strings.ReplaceAll(r.Add, "%", "%%"))
	}
}

// dotSegment finds . and .. among the segments of a path.
const dotSegment = `(^|[/\\\\])[.][.]?([/\\\\]|$)`

func (r Redirect) write(w *strings.Builder) {
	host := r.Host
	if r.Port != 0 {
		host = fmt.Sprintf("%s:%d", r.Host, r.Port)
	}
	if r.HTTPS {
		fmt.Fprintf(w, "  http-request redirect prefix https://%s code %d\n", host, r.Code)
		return
	}
	fmt.Fprintf(w, "  http-request redirect prefix https://%s code %d if { ssl_fc }\n", host, r.Code)
	fmt.Fprintf(w, "  http-request redirect prefix http://%s code %d\n", host, r.Code)
}

func writeHeaders(w *strings.Builder, rule string, h Headers) {
	for _, name := range h.Delete {
		fmt.Fprintf(w, "  %s del-header %s\n", rule, name)
	}
	for _, one := range h.Set {
		fmt.Fprintf(w, "  %s set-header %s %s\n", rule, one.Name, literal(one.Value))
	}
	for _, one := range h.Add {
		fmt.Fprintf(w, "  %s add-header %s %s\n", rule, one.Name, literal(one.Value))
	}
}

// writePages has HAProxy answer with the pages where it fails to get an answer
// itself, and compresses what servers send plainly.
func (r Rules) writePages(w *strings.Builder) {
	for _, p := range r.Pages {
		if errorStatus[p.Status] {
			fmt.Fprintf(w, "  http-error status %d content-type \"text/html; charset=utf-8\" file %s\n", p.Status, p.file())
		}
	}
	if r.Compress {
		w.WriteString("  compression algo gzip\n  compression type text/html text/plain text/css text/xml text/javascript" +
			" application/javascript application/json application/xml application/wasm image/svg+xml\n")
	}
}

// errorStatus are the statuses that http-error knows, on 2.6 as on 3.0.
var errorStatus = map[int]bool{400: true, 401: true, 403: true, 404: true, 405: true, 407: true, 408: true, 410: true, 413: true,
	421: true, 422: true, 425: true, 429: true, 500: true, 501: true, 502: true, 503: true, 504: true}

// writeNetworks writes an acl, in lines that HAProxy's parser has room for.
func writeNetworks(w *strings.Builder, name string, networks []netip.Prefix) {
	const perLine = 20
	for i, p := range networks {
		if i%perLine == 0 {
			if i > 0 {
				w.WriteString("\n")
			}
			fmt.Fprintf(w, "  acl %s src", name)
		}
		w.WriteString(" " + p.String())
	}
	if len(networks) > 0 {
		w.WriteString("\n")
	}
}

// rateTable is the name of the table that counts a backend's clients. A proxy
// has one table only, which may be wanted for other things, so it has a section of its own.
func (b *Backend) rateTable() string { return b.Name + "::rate" }

// writeTables writes what a backend's rules refer to.
func (b *Backend) writeTables(w *strings.Builder) {
	if r := b.Rules.Rate; r.Requests > 0 && b.Mode == HTTP {
		fmt.Fprintf(w, "\nbackend %s from vipilot\n  stick-table type ipv6 size 100k expire %s store http_req_rate(%s)\n",
			b.rateTable(), millis(r.Per), millis(r.Per))
	}
	if a := b.Rules.Auth; a != nil && b.Mode == HTTP {
		fmt.Fprintf(w, "\nuserlist %s\n", b.Name)
		for _, u := range a.Users {
			fmt.Fprintf(w, "  user %s password %s\n", u.Name, string(u.Hash))
		}
	}
}

// quoted is text as one word of HAProxy's language, to be taken as it is.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(text) + `"`
}

// literal is text where HAProxy expects a format: nothing in it is replaced.
func literal(text string) string { return quoted(strings.ReplaceAll(text, "%", "%%")) }
