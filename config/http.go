package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// HTTP is the rule of an HTTP service.
type HTTP struct {
	Hosts     []string // lower case; "*.example.net" wildcards; empty = every host
	HostLabel string   // container label whose value stands for the * of Hosts, each with servers of its own; "" = none
	Paths     []string // path prefixes, never empty, each starts with /
	Methods   []string // sorted; empty = every method
	Headers   []Header // sorted by name; Value "*" = any
	Port      uint16
	TLS       *ServerTLS

	Redirect       *Redirect // the answer to every request; the service has no endpoints then
	Rewrite        Rewrite
	Request        Request
	Response       Response
	TrustedProxies []netip.Prefix // whose X-Forwarded headers are believed
	Deny, Allow    []netip.Prefix // clients; Deny goes first, an empty Allow is everybody
	BasicAuth      *BasicAuth
	Maintenance    bool   // every request is answered with the page for 503
	Pages          []Page // sorted by status
}

// Header is a field of a header, its name as HTTP writes it.
type Header struct{ Name, Value string }

// Redirect sends clients to another host; path and query stay.
type Redirect struct {
	Host string
	Code int
}

// Rewrite changes paths before they reach the servers.
type Rewrite struct {
	StripPrefix, AddPrefix string // "" = nothing
}

// Request is what happens to requests.
type Request struct {
	HeaderEdits
	MaxSize   int64 // bytes of the body; 0 = no limit
	RateLimit RateLimit
}

// RateLimit is the most requests of one client in any period of that length.
type RateLimit struct {
	Requests int // 0 = no limit
	Per      time.Duration
}

// Response is what happens to responses.
type Response struct {
	HeaderEdits
	Compress bool
}

// HeaderEdits are changes of a header: first Delete, then Set, then Add.
type HeaderEdits struct {
	Delete   []string
	Set, Add []Header // sorted by name
}

// BasicAuth asks clients for a name and a password.
type BasicAuth struct {
	Realm string
	Users []User // sorted by name
}

// User is one who may pass.
type User struct {
	Name string
	Hash Secret // as crypt(3) writes it
}

// Page is the HTML body of an answer that HAProxy gives itself.
type Page struct {
	Status int
	HTML   []byte
}

// hopByHop are the fields that say how a message is framed: whoever changes
// them lets two programs read one request as two.
var hopByHop = []string{"Connection", "Content-Length", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// readHTTP reads services.<name>.http.
func readHTTP(v value) *HTTP {
	h := HTTP{Paths: []string{"/"}, Port: 80}
	networks := someOf(asNetwork)
	object([]value{v}, keys{
		"hosts":           into(&h.Hosts, someOf(asHostName)),
		"host_label":      into(&h.HostLabel, checked("a container label", checkLabelKey)),
		"paths":           into(&h.Paths, someOf(asPath)),
		"methods":         into(&h.Methods, someOf(checked("an HTTP method", checkMethod))),
		"headers":         into(&h.Headers, asHeaders(1)),
		"port":            into(&h.Port, asPort),
		"tls":             func(t value) { h.TLS = readServerTLS(t) },
		"redirect":        func(r value) { h.Redirect = readRedirect(r) },
		"rewrite":         within(keys{"strip_prefix": into(&h.Rewrite.StripPrefix, asRewritePrefix), "add_prefix": into(&h.Rewrite.AddPrefix, asRewritePrefix)}),
		"request":         func(r value) { readRequest(r, &h.Request) },
		"response":        func(r value) { readResponse(r, &h.Response) },
		"trusted_proxies": into(&h.TrustedProxies, networks),
		"allow":           into(&h.Allow, networks),
		"deny":            into(&h.Deny, networks),
		"basic_auth":      func(a value) { h.BasicAuth = readBasicAuth(a) },
		"maintenance":     func(m value) { readMaintenance(m, &h) },
		"error_pages":     func(p value) { readPages(p, &h) },
	})
	slices.Sort(h.Methods)
	if h.TLS != nil { // what it must cover may stand behind it
		h.TLS.findCertificates(v.dig("tls"), h.Hosts)
	}
	if h.TLS != nil && h.TLS.Port == h.Port {
		v.dig("tls", "port").faultf("port %d is the plain port as well", h.Port)
	}
	if h.HostLabel != "" && (len(h.Hosts) == 0 || slices.ContainsFunc(h.Hosts, func(host string) bool { return !strings.HasPrefix(host, "*.") })) {
		v.dig("host_label").faultf("the value of a label stands for the * of a wildcard: every one of hosts must have one").Hint = "as in hosts: [\"*.preview.example.net\"]"
	}
	if v.has("maintenance") && v.dig("maintenance").has("page_file") && v.dig("error_pages").has("503") {
		v.dig("maintenance", "page_file").faultf("there is a page for 503 already, at %s", v.dig("error_pages", "503").pos())
	}
	slices.SortFunc(h.Pages, func(a, b Page) int { return a.Status - b.Status })
	return &h
}

func readRedirect(v value) *Redirect {
	r := Redirect{Code: 301}
	object([]value{v}, keys{
		"host": into(&r.Host, asPlainHostName),
		"code": into(&r.Code, asInt(301, 308)),
	}, "host")
	if !slices.Contains([]int{301, 302, 303, 307, 308}, r.Code) {
		v.dig("code").faultf("%d is no redirect", r.Code).Hint = "one of 301, 302, 303, 307 and 308"
	}
	return &r
}

func readRequest(v value, r *Request) {
	object([]value{v}, keys{
		"set": into(&r.Set, asHeaders(0)), "add": into(&r.Add, asHeaders(0)), "delete": into(&r.Delete, someOf(asHeaderName)),
		"max_size": into(&r.MaxSize, asSize),
		"rate_limit": within(keys{
			"requests": into(&r.RateLimit.Requests, asInt(1, 1_000_000)),
			"per":      into(&r.RateLimit.Per, asDuration(time.Second, time.Hour, time.Second)),
		}, "requests", "per"),
	})
}

func readResponse(v value, r *Response) {
	object([]value{v}, keys{
		"set": into(&r.Set, asHeaders(0)), "add": into(&r.Add, asHeaders(0)), "delete": into(&r.Delete, someOf(asHeaderName)),
		"compress": into(&r.Compress, asBool),
	})
}

var (
	methodForm   = regexp.MustCompile(`^[A-Z]{1,20}$`)
	fieldForm    = regexp.MustCompile(`^[A-Za-z0-9-]{1,100}$`)
	fieldText    = regexp.MustCompile(`^[ -~]{0,1000}$`)
	rewriteForm  = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)
	labelKeyForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)
)

func checkMethod(text string) *refusal {
	if !methodForm.MatchString(text) {
		return &refusal{"is not an HTTP method", "in capitals, such as GET"}
	}
	return nil
}

func checkLabelKey(text string) *refusal {
	if !labelKeyForm.MatchString(text) {
		return &refusal{"is not the name of a container label", "1 to 128 letters, digits and ._/-"}
	}
	return nil
}

func asRewritePrefix(v value) (string, bool) {
	return checked("a path", func(text string) *refusal {
		if !rewriteForm.MatchString(text) || slices.ContainsFunc(strings.Split(text, "/"), func(s string) bool { return s == "." || s == ".." }) {
			return &refusal{"is not a path prefix", "as in /api: letters, digits and ._~- in segments, no slash at the end"}
		}
		return nil
	})(v)
}

// conditions are the extra conditions of a rule as text: equal for equal ones.
func (h *HTTP) conditions() string {
	var parts []string
	if len(h.Methods) > 0 {
		parts = append(parts, "method "+strings.Join(h.Methods, " or "))
	}
	for _, f := range h.Headers {
		parts = append(parts, "header "+f.Name+": "+f.Value)
	}
	return strings.Join(parts, ", ")
}
