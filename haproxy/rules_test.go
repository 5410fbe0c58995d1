package haproxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// hash is "secret", hashed with SHA-512.
const hash = Hash("$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1")

func networks(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, one := range list {
		out = append(out, netip.MustParsePrefix(one))
	}
	return out
}

// ruled are configurations with every rule there is.
func ruled() map[string]Config {
	all := Rules{
		Trusted: networks("10.0.0.0/8", "2001:db8::/32"), Deny: networks("10.9.0.0/16"), Allow: networks("198.18.0.0/15"),
		MaxSize: 10 << 20, Rate: Rate{100, 10 * time.Second}, Auth: &Auth{"Staff only", []User{{"joe", hash}}},
		Rewrite: Rewrite{"/api", "/v1"}, Compress: true,
		Request:  Headers{Delete: []string{"X-B"}, Set: []Header{{"X-A", `a "b" 'c' %d $HOME \ # ;`}}, Add: []Header{{"X-C", "d"}}},
		Response: Headers{Delete: []string{"Server"}, Set: []Header{{"Content-Security-Policy", "default-src 'self'"}}},
		Pages:    []Page{{429, []byte("slow down")}, {503, []byte("%[src] ${HOME}\n</html>")}},
	}
	for i := range 45 {
		all.Allow = append(all.Allow, netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32))
	}
	blue := When([]string{"POST", "GET"}, []Header{{"X-Tenant", `blue "1"`}, {"X-Any", "*"}})
	front := Frontend{Name: "public_80", Mode: HTTP, Binds: []Bind{bind("203.0.113.10:80")}, Guarded: true, Routes: []Route{
		{Host: "a.example.net", Path: "/", Backend: "plain"},
		{Host: "a.example.net", Path: "/api", Backend: "all", KeepForwarded: true},
		{Host: "a.example.net", Path: "/", Backend: "moved", If: blue},
		{Host: "*.example.net", Path: "/", Backend: "moved", If: When([]string{"HEAD"}, nil)},
		{Path: "/x", Backend: "moved", If: When(nil, []Header{{"X-Tenant", "-i"}})}}}
	http := func(name string, r Rules, raw ...string) *Backend {
		return &Backend{Name: name, Mode: HTTP, Rules: r, Raw: raw, Servers: []Server{ready("a", "10.77.0.11:1")}}
	}
	grpc := http("plain", Rules{})
	grpc.H2 = true
	return map[string]Config{
		"rules": {Frontends: []Frontend{front}, Backends: []*Backend{
			http("all", all, "http-request set-header X-Raw 'a b'", "http-send-name-header X-Server"),
			http("moved", Rules{Redirect: &Redirect{Host: "www.example.net", Code: 301}, Maintenance: true}), grpc,
			{Name: "tcp", Mode: TCP, Rules: Rules{Allow: networks("10.0.0.0/8"), Deny: networks("10.1.0.0/16")}}},
			Raw: Raw{Global: []string{"tune.ssl.cachesize 50000"}, Defaults: []string{"option splice-auto", "timeout tarpit 5s"}}},
	}
}

func TestRulesRefuse(t *testing.T) {
	for _, test := range []struct {
		rules Rules
		mode  Mode
		want  string
	}{
		{Rules{Compress: true}, TCP, "need mode http"},
		{Rules{Request: Headers{Set: []Header{{"X A", ""}}}}, HTTP, "impossible character"},
		{Rules{Request: Headers{Set: []Header{{"X-A", "a\nb"}}}}, HTTP, "impossible character"},
		{Rules{Response: Headers{Delete: []string{"a if"}}}, HTTP, "header name"},
		{Rules{Rewrite: Rewrite{Strip: "/a b"}}, HTTP, "path prefix"},
		{Rules{Rewrite: Rewrite{Add: "/%[src]"}}, HTTP, "path prefix"},
		{Rules{Redirect: &Redirect{Host: "a b", Code: 301}}, HTTP, "redirect"},
		{Rules{Redirect: &Redirect{Host: "a", Code: 200}}, HTTP, "redirect"},
		{Rules{Auth: &Auth{Realm: "a\"", Users: []User{{"a", hash}}}}, HTTP, "realm"},
		{Rules{Auth: &Auth{Realm: "a", Users: []User{{"a b", hash}}}}, HTTP, "user"},
		{Rules{Auth: &Auth{Realm: "a", Users: []User{{"a", "x y"}}}}, HTTP, "user"},
		{Rules{Rate: Rate{1, 0}}, HTTP, "limit"},
		{Rules{Pages: []Page{{503, make([]byte, MaxPage+1)}}}, HTTP, "larger"},
		{Rules{Trusted: []netip.Prefix{{}}}, HTTP, "network"},
	} {
		err := test.rules.faults(test.mode)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.rules, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "$6$") {
			t.Errorf("the hash is in %v", err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", hash, Auth{Users: []User{{"a", hash}}}, User{"a", hash}); strings.Contains(text, "saltsalt") {
		t.Errorf("the hash is in %s", text)
	}
}

func TestCheckRaw(t *testing.T) {
	for _, test := range []struct {
		section Section
		line    string
		want    string // "" = taken
	}{
		{BackendSection, "http-request set-header X-A 'b c'", ""},
		{BackendSection, "option http-no-delay", ""},
		{BackendSection, "timeout check 2s", ""},
		{GlobalSection, "tune.bufsize 32768", ""},
		{DefaultsSection, "option splice-auto", ""},
		{BackendSection, "frontend evil", "no line"},
		{BackendSection, "listen evil", "no line"},
		{BackendSection, "global", "no line"},
		{BackendSection, "userlist x", "no line"},
		{BackendSection, "a b\nfrontend evil", "not printable"},
		{BackendSection, "a\rb", "not printable"},
		{BackendSection, "frobnicate 5", "no line"},
		{BackendSection, "tune.bufsize 32768", "no line"},
		{BackendSection, "server evil 10.0.0.1:80", "vipilot's own"},
		{BackendSection, "mode tcp", "vipilot's own"},
		{BackendSection, "option external-check", "vipilot's own"},
		{BackendSection, "http-request set-header X-A \"${HOME}\"", "double quotes"},
		{BackendSection, ".if defined(X)", "no keyword"},
		{BackendSection, "# nothing", "no keyword"},
		{BackendSection, "  ", "empty"},
		{GlobalSection, "lua-load /tmp/x.lua", "vipilot's own"},
		{GlobalSection, "stats socket /tmp/x", "vipilot's own"},
		{GlobalSection, "no daemon", "vipilot's own"},
		{DefaultsSection, "mode tcp", "vipilot's own"},
		{DefaultsSection, "bind :80", "no line"},
	} {
		err := CheckRaw(test.section, test.line)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %q: %v, want %q", test.section, test.line, err, test.want)
		}
	}
}

// A hash never leaves haproxy.cfg, not even to say what changed.
func TestHashStaysHidden(t *testing.T) {
	files, err := Render(ruled()["rules"], testPaths)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(files[ConfigFile]), string(hash)) || strings.Contains(loaded(files), "saltsalt") {
		t.Error("the hash must be in haproxy.cfg, and not in the note of what is loaded")
	}
}

// Conditions take part in the diff: another value is another map entry or rule.
func TestConditionsAreStructure(t *testing.T) {
	front := func(c Condition, hosts ...string) Frontend {
		f := Frontend{Name: "f", Mode: HTTP}
		for _, h := range hosts {
			f.Routes = append(f.Routes, Route{Host: h, Path: "/", Backend: "b", If: c})
		}
		return f
	}
	get := When([]string{"GET"}, nil)
	a, b := front(get, "a.test"), front(get, "a.test", "b.test")
	if cause := frontendCause(&a, &b); cause != "" {
		t.Errorf("one host more of the same condition: %q", cause)
	}
	c := front(When([]string{"PUT"}, nil), "a.test")
	if cause := frontendCause(&a, &c); cause == "" {
		t.Error("another condition, and no reload")
	}
	if get.Count() != 1 || When([]string{"GET"}, []Header{{"A", "b"}, {"C", "d"}}).Count() != 3 || (Condition{}).Count() != 0 {
		t.Error("conditions are counted wrongly")
	}
}

// The client's address is told by the option, unless rules of a service have
// to find it.
func TestOriginIsThereForRules(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"":        func(*Config) {},
		"other":   func(c *Config) { c.Backends[0].Rules.Request.Set = []Header{{"X-Tenant", "blue"}} },
		"deleted": func(c *Config) { c.Backends[0].Rules.Request.Delete = []string{"x-forwarded-for"} },
		"set":     func(c *Config) { c.Backends[0].Rules.Request.Set = []Header{{"X-Forwarded-For", "unknown"}} },
		"added":   func(c *Config) { c.Backends[0].Rules.Request.Add = []Header{{"X-Forwarded-For", "unknown"}} },
		"raw": func(c *Config) {
			c.Backends[0].Raw = []string{"http-request set-header X-A %[req.hdr(X-Forwarded-For)]"}
		},
		"global": func(c *Config) { c.Raw.Defaults = []string{"option forwardfor if-none"} },
	} {
		want := base()
		change(&want)
		files, err := Render(want, testPaths)
		if err != nil {
			t.Fatal(err)
		}
		_, front, _ := strings.Cut(string(files[ConfigFile]), "\nfrontend f ")
		front, _, _ = strings.Cut(front, "\nfrontend ")
		byOption, byRule := strings.Contains(front, "  option forwardfor\n"), strings.Contains(front, "add-header X-Forwarded-For %[src]")
		if byOption == byRule || byOption != (name == "" || name == "other") {
			t.Errorf("%q: by the option %v, by a rule %v", name, byOption, byRule)
		}
	}
}
