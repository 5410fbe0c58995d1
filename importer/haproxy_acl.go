package importer

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/haproxytech/client-native/v6/config-parser/common"
)

// acls are the named conditions of a section; a name that stands twice is an or.
type acls map[string][][]string // name: criterion and values, quotes taken away

// predefined are HAProxy's own.
var predefined = acls{
	"METH_GET": {{"method", "GET", "HEAD"}}, "METH_HEAD": {{"method", "HEAD"}}, "METH_POST": {{"method", "POST"}},
	"METH_PUT": {{"method", "PUT"}}, "METH_DELETE": {{"method", "DELETE"}}, "METH_OPTIONS": {{"method", "OPTIONS"}},
	"TRUE": {{"always_true"}}, "LOCALHOST": {{"src", "127.0.0.1/8"}},
}

// errTLS is what an ACL gives that only asks whether the client came by TLS.
var errTLS = errors.New("asks whether the client came by TLS")

// cases unfolds a condition: words side by side must all hold, `||` and `or`
// part the cases, braces hold a condition without a name.
func (a acls) cases(words []string) ([]match, error) {
	var done []match
	now := []match{{}}
	for i := 0; i < len(words); i++ {
		w := words[i]
		if w == "||" || w == "or" {
			done, now = append(done, now...), []match{{}}
			continue
		}
		no := false
		for strings.HasPrefix(w, "!") {
			if no, w = !no, w[1:]; w == "" && i+1 < len(words) {
				i++
				w = words[i]
			}
		}
		var terms [][]string
		if w == "{" {
			end := slices.Index(words[i:], "}")
			if end < 2 {
				return nil, errors.New("has a brace that is not closed")
			}
			terms = [][]string{plain(words[i+1 : i+end])}
			i += end
		} else if terms = a[w]; terms == nil {
			if terms = predefined[w]; terms == nil {
				return nil, fmt.Errorf("ACL %s is not declared", printable(w))
			}
		}
		var any []match
		for _, t := range terms {
			m, err := criterion(t)
			if err != nil {
				return nil, err
			}
			any = append(any, m)
		}
		if no {
			any = []match{not(any)}
		}
		var err error
		if now, err = all(now, any); err != nil {
			return nil, err
		}
	}
	if done = joined(append(done, now...)); len(done) == 0 {
		return nil, errors.New("no request fulfils it")
	}
	return done, nil
}

// not is what none of these takes: the clients of networks can be refused, all
// else stays a question (see except).
func not(any []match) match {
	var m match
	for _, one := range any {
		if one.onlySources() {
			m.denied = append(m.denied, one.sources...)
		} else {
			m.except = append(m.except, one)
		}
	}
	return m
}

func plain(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = unquoted(w)
	}
	return out
}

// plainWords splits a text like HAProxy and takes the quotes away.
func plainWords(text string) []string {
	words, _ := common.StringSplitWithCommentIgnoreEmpty(text)
	return plain(words)
}

// criterion reads one ACL: sample, flags, patterns.
func criterion(words []string) (match, error) {
	sample, method := words[0], ""
	fetch, converters, _ := strings.Cut(sample, ",")
	var values []string
	for i := 1; i < len(words); i++ {
		switch w := words[i]; {
		case len(values) == 0 && w == "-i" || w == "--" || w == "-n":
		case len(values) == 0 && w == "-m" && i+1 < len(words):
			i++
			method = words[i]
		case len(values) == 0 && w == "-f":
			return match{}, errors.New("reads its patterns from a file")
		case len(values) == 0 && strings.HasPrefix(w, "-") && len(w) == 2:
			return match{}, fmt.Errorf("has the flag %s", w)
		default:
			values = append(values, w)
		}
	}
	if converters != "" && converters != "lower" && converters != "field(1,:)" && converters != "field(1,:),lower" && converters != "host_only" {
		return match{}, fmt.Errorf("converts what it looks at (%s)", printable(converters))
	}
	name, argument, _ := strings.Cut(strings.TrimSuffix(fetch, ")"), "(")
	name = strings.TrimPrefix(name, "req.")
	for _, suffix := range []string{"_beg", "_end", "_dom", "_reg", "_sub", "_dir", "_str", "_len"} {
		if bare, ok := strings.CutSuffix(name, suffix); ok {
			name, method = bare, suffix[1:]
		}
	}
	return criterionOf(name, argument, method, values)
}

func criterionOf(name, argument, method string, values []string) (match, error) {
	exact := method == "" || method == "str"
	switch name {
	case "hdr", "fhdr", "hdr_val":
		if strings.EqualFold(argument, "host") {
			return hosts(values, method)
		}
		if method == "found" {
			return match{headers: map[string]string{http.CanonicalHeaderKey(argument): "*"}}, nil
		}
		if !exact || len(values) != 1 {
			return match{}, fmt.Errorf("a header is compared with one whole value in vipilot, this one by %q", printable(method))
		}
		return match{headers: map[string]string{http.CanonicalHeaderKey(argument): values[0]}}, nil
	case "ssl_sni", "req_ssl_sni", "ssl_fc_sni":
		return hosts(values, method)
	case "path", "path_beg":
		if method != "beg" && !exact {
			return match{}, fmt.Errorf("looks at the path by %s, and a route of vipilot at how it begins (http.paths)", printable(method))
		}
		return match{paths: below(values)}, nil
	case "method":
		return match{methods: values}, nil
	case "src":
		m := match{}
		for _, v := range values {
			n, err := network(v)
			if err != nil {
				return m, err
			}
			m.sources = append(m.sources, n)
		}
		return m, nil
	case "always_true":
		return match{}, nil
	case "ssl_fc":
		return match{}, errTLS
	}
	return match{}, fmt.Errorf("%s is nothing that a route of vipilot looks at", printable(name))
}

// wholeName tells a host's name from the mere beginning of one, such as "www.".
var wholeName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$`)

// hosts reads names of hosts, or ends of names.
func hosts(values []string, method string) (match, error) {
	var m match
	for _, v := range values {
		v, _, _ = strings.Cut(v, ":") // a port
		v = strings.ToLower(v)
		switch method {
		case "", "str":
			m.hosts = append(m.hosts, v)
		case "end":
			if !strings.HasPrefix(v, ".") {
				return m, fmt.Errorf("ends in %s, which is not a whole label", printable(v))
			}
			m.hosts = append(m.hosts, "*"+v)
		case "dom":
			m.hosts = append(m.hosts, strings.TrimPrefix(v, "."), "*."+strings.TrimPrefix(v, "."))
		case "beg":
			if !wholeName.MatchString(v) {
				return m, errors.New("takes every host that begins so: name the hosts, or a wildcard such as *.example.net")
			}
			m.hosts = append(m.hosts, v)
			m.notes = append(m.notes, "taken as the name "+v+"; in HAProxy it was the beginning of a name")
		default:
			return m, fmt.Errorf("looks at host names by %s: name the hosts, or a wildcard such as *.example.net", printable(method))
		}
	}
	return m, nil
}
