package config

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// The forms of texts that end up in a daemon's file. They are narrow on
// purpose: what passes needs no quoting anywhere.
var (
	nameForm   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)
	labelForm  = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)
	pathForm   = regexp.MustCompile(`^/[A-Za-z0-9._~%!&()*+,=:@/-]*$`)
	queryForm  = regexp.MustCompile(`^/[A-Za-z0-9._~%!&()*+,=:@/?-]*$`)
	cookieForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	ifaceForm  = regexp.MustCompile(`^[A-Za-z0-9_.:@-]{1,15}$`)
)

func checkName(text string) *refusal {
	if nameForm.MatchString(text) {
		return nil
	}
	return &refusal{"is not a name", "1 to 63 letters, digits and ._-, the first a letter or digit"}
}

func asName(v value) (string, bool) { return checked("a name", checkName)(v) }

func asInterface(v value) (string, bool) {
	return checked("a network interface", func(text string) *refusal {
		if !ifaceForm.MatchString(text) || text == "." || text == ".." {
			return &refusal{"is not a network interface", "1 to 15 letters, digits and _.:@-"}
		}
		return nil
	})(v)
}

// parseHost checks a host name and lowers its case; wildcard allows "*.".
func parseHost(text string, wildcard bool) (string, *refusal) {
	host := strings.ToLower(text)
	name := host
	if wildcard {
		name = strings.TrimPrefix(host, "*.")
	}
	for label := range strings.SplitSeq(name, ".") {
		if labelForm.MatchString(label) {
			continue
		}
		hint := "labels of 1 to 63 letters, digits and hyphens, joined by dots"
		switch {
		case strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }):
			hint = "write an international name in its ASCII form, xn--…"
		case strings.Contains(name, "*"):
			hint = "a wildcard stands only at the front, as in *.example.net"
		case strings.Contains(name, ":") || strings.Contains(name, "/"):
			hint = "write the name alone, without scheme, port or path"
		}
		return "", &refusal{"is not a host name", hint}
	}
	if len(name) > 253 {
		return "", &refusal{"is longer than 253 characters", ""}
	}
	return host, nil
}

func asHostName(v value) (string, bool) {
	return parsed("a host name", func(text string) (string, *refusal) { return parseHost(text, true) })(v)
}

// asPath reads a path prefix. It stands for whole segments, so a slash at its
// end says nothing and is dropped.
func asPath(v value) (string, bool) {
	return parsed("a path", func(text string) (string, *refusal) {
		if why := checkPath(text, pathForm); why != nil {
			return "", why
		}
		if strings.Contains(text, "//") {
			return "", &refusal{"has an empty segment", ""}
		}
		if text == "/" {
			return text, nil
		}
		return strings.TrimSuffix(text, "/"), nil
	})(v)
}

// asCheckPath reads what a health check asks for; a query is fine.
func asCheckPath(v value) (string, bool) {
	return checked("a path", func(text string) *refusal { return checkPath(text, queryForm) })(v)
}

func checkPath(text string, form *regexp.Regexp) *refusal {
	switch {
	case !strings.HasPrefix(text, "/"):
		return &refusal{"does not begin with /", ""}
	case !form.MatchString(text):
		return &refusal{"has a character that a path must not have", "write it percent-encoded, such as %20 for a space"}
	case len(text) > 1024:
		return &refusal{"is longer than 1024 characters", ""}
	}
	return nil
}

func asCookie(v value) (string, bool) {
	return checked("a cookie name", func(text string) *refusal {
		if !cookieForm.MatchString(text) {
			return &refusal{"is not a cookie name", "1 to 64 letters, digits and _.-"}
		}
		return nil
	})(v)
}

func asGlob(v value) (string, bool) {
	return checked("a pattern", func(text string) *refusal {
		if _, err := path.Match(text, ""); err != nil || text == "" {
			return &refusal{"is not a pattern", "as in web-*; [ and \\ have a meaning"}
		}
		return nil
	})(v)
}

func asComposeService(v value) (string, bool) {
	return checked("project/service", func(text string) *refusal {
		project, service, ok := strings.Cut(text, "/")
		if !ok || checkName(project) != nil || checkName(service) != nil {
			return &refusal{"is not a Compose service", "write project/service"}
		}
		return nil
	})(v)
}

// asLabels reads labels and their values. A value may be written as any scalar,
// as in a Compose file, and counts as it is written.
func asLabels(v value) (map[string]string, bool) {
	if v.outlines(form{kind: kScalars, wanted: "labels and their values"}) {
		return nil, false
	}
	if !v.wantMapping() {
		return nil, false
	}
	labels, ok := make(map[string]string), true
	for _, e := range entries([]value{v}) {
		switch {
		case e.node.Kind != yaml.ScalarNode || e.node.ShortTag() == "!!null":
			e.faultf("wanted the value of a label, found %s", e.found())
			ok = false
		case e.name() == "" || strings.ContainsFunc(e.name()+e.node.Value, unicode.IsControl):
			e.faultf("a label has a name and no control characters")
			ok = false
		default:
			labels[e.name()] = e.node.Value
		}
	}
	return labels, ok
}

// The well-known communities of RFC 1997.
var wellKnown = map[string]string{"no-export": "65535:65281", "no-advertise": "65535:65282"}

// asCommunity reads a:b with 16 bits each, a:b:c with 32 bits each, or a
// well-known name, and gives numbers.
func asCommunity(v value) (string, bool) {
	return parsed("a community", func(text string) (string, *refusal) {
		if known, ok := wellKnown[text]; ok {
			return known, nil
		}
		parts := strings.Split(text, ":")
		bits, good := 16*(len(parts)-1), len(parts) == 2 || len(parts) == 3
		for i, part := range parts {
			n, err := strconv.ParseUint(part, 10, max(bits, 16))
			good = good && err == nil
			parts[i] = fmt.Sprint(n)
		}
		if !good {
			return "", &refusal{"is not a community", "write 65010:100 (16 bits each), 65010:1:2 (32 bits each), no-export or no-advertise"}
		}
		return strings.Join(parts, ":"), nil
	})(v)
}

func asPercent(v value) (int, bool) {
	if v.outlines(form{kind: kPercent}) {
		return 0, false
	}
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!int" {
		v.faultf("wanted a percentage, found the number %s", v.node.Value).Hint = fmt.Sprintf("write %s%%", v.node.Value)
		return 0, false
	}
	return parsed("a percentage", func(text string) (int, *refusal) {
		n, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
		if err != nil || !strings.HasSuffix(text, "%") || n < 0 || n > 100 {
			return 0, &refusal{"is not a percentage", "from 0% to 100%"}
		}
		return n, nil
	})(v)
}
