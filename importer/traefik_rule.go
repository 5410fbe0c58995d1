package importer

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

// maxNesting bounds the depth of parentheses in a rule.
const maxNesting = 32

// ruleParser reads the rule language of Traefik 2 and 3:
//
//	or = and { "||" and } ; and = one { "&&" one } ; one = "!" one | "(" or ")" | Name "(" text { "," text } ")"
type ruleParser struct {
	rest  string
	depth int
	notes []string // what is not exactly as it was
}

// parseRule unfolds a rule into cases, one of which must hold.
func parseRule(text string) ([]match, []string, error) {
	p := &ruleParser{rest: text}
	cases, err := p.or()
	if err != nil {
		return nil, nil, err
	}
	if p.space(); p.rest != "" {
		return nil, nil, fmt.Errorf("%q is left over in the rule", printable(p.rest))
	}
	cases = joined(cases)
	if len(cases) == 0 {
		return nil, nil, errors.New("no request fulfils the rule")
	}
	return cases, p.notes, nil
}

func (p *ruleParser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

// takes removes token from the front, where it stands.
func (p *ruleParser) takes(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return ok
}

func (p *ruleParser) or() ([]match, error) {
	cases, err := p.and()
	for err == nil && p.takes("||") {
		var more []match
		more, err = p.and()
		if cases = append(cases, more...); len(cases) > maxTerms {
			return nil, fmt.Errorf("unfolds to more than %d cases", maxTerms)
		}
	}
	return cases, err
}

func (p *ruleParser) and() ([]match, error) {
	cases, err := p.one()
	for err == nil && p.takes("&&") {
		var more []match
		if more, err = p.one(); err == nil {
			cases, err = all(cases, more)
		}
	}
	return cases, err
}

func (p *ruleParser) one() ([]match, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, fmt.Errorf("is nested deeper than %d", maxNesting)
	}
	defer func() { p.depth-- }()
	if p.takes("!") {
		return nil, errors.New("has a negation, and a route of vipilot cannot say no")
	}
	if p.takes("(") {
		cases, err := p.or()
		if err == nil && !p.takes(")") {
			err = errors.New("a parenthesis is not closed")
		}
		return cases, err
	}
	p.space()
	name := p.rest[:len(p.rest)-len(strings.TrimLeft(p.rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))]
	p.rest = p.rest[len(name):]
	if name == "" || !p.takes("(") {
		return nil, fmt.Errorf("a matcher was expected at %q", printable(name+p.rest))
	}
	args, err := p.texts()
	if err != nil {
		return nil, err
	}
	m, err := p.matcher(name, args)
	return []match{m}, err
}

// texts reads quoted texts up to the parenthesis.
func (p *ruleParser) texts() ([]string, error) {
	var args []string
	for {
		p.space()
		if p.rest == "" || !strings.ContainsRune("`\"'", rune(p.rest[0])) {
			return nil, errors.New("a quoted text was expected")
		}
		text, rest, ok := strings.Cut(p.rest[1:], p.rest[:1])
		if !ok {
			return nil, errors.New("a quoted text does not end")
		}
		args, p.rest = append(args, text), rest
		if p.takes(")") {
			return args, nil
		}
		if !p.takes(",") {
			return nil, errors.New("a comma was expected")
		}
	}
}

// anySub is what people write for one label or more in front of a domain.
var anySub = regexp.MustCompile(`^\^?(?:\{[a-z]+:[^{}]*\}|\(?(?:\[[^\]]+\]|\.)[+*]\)?)\\?\.([a-zA-Z0-9.\\-]+)\$?$`)

func (p *ruleParser) matcher(name string, args []string) (match, error) {
	switch name {
	case "Host", "HostHeader":
		return match{hosts: lower(args)}, nil
	case "HostSNI":
		if slices.Equal(args, []string{"*"}) {
			return match{}, nil
		}
		return match{hosts: lower(args)}, nil
	case "PathPrefix":
		return match{paths: below(args)}, nil
	case "Path":
		p.notes = append(p.notes, "Path matches one path in Traefik; here it is a prefix, and what lies below is served as well")
		return match{paths: below(args)}, nil
	case "Method":
		for i := range args {
			args[i] = strings.ToUpper(args[i])
		}
		return match{methods: args}, nil
	case "ClientIP":
		p.notes = append(p.notes, "other clients get 403 here; in Traefik the next rule is tried")
		m := match{}
		for _, a := range args {
			n, err := network(a)
			if err != nil {
				return m, err
			}
			m.sources = append(m.sources, n)
		}
		return m, nil
	}
	return p.pattern(name, args)
}

// pattern takes the matchers whose arguments are patterns, where these say no
// more than vipilot can.
func (p *ruleParser) pattern(name string, args []string) (match, error) {
	switch {
	case name == "HostRegexp" || name == "HostSNIRegexp":
		var m match
		for _, a := range args {
			found := anySub.FindStringSubmatch(a)
			if found == nil {
				return m, fmt.Errorf("%s(%s) is no wildcard such as *.example.net", name, printable(a))
			}
			m.hosts = append(m.hosts, "*."+strings.ToLower(strings.ReplaceAll(found[1], `\`, "")))
		}
		p.notes = append(p.notes, "a wildcard stands for exactly one label; the pattern was "+strings.Join(args, ", "))
		return m, nil
	case (name == "Headers" || name == "Header") && len(args) == 2:
		return match{headers: map[string]string{textproto.CanonicalMIMEHeaderKey(args[0]): args[1]}}, nil
	case (name == "HeadersRegexp" || name == "HeaderRegexp") && len(args) == 2 && slices.Contains([]string{".*", ".+", "^.*$", "^.+$"}, args[1]):
		return match{headers: map[string]string{http.CanonicalHeaderKey(args[0]): "*"}}, nil
	}
	known := map[string]string{"PathRegexp": "patterns of paths", "Query": "conditions on the query", "QueryRegexp": "conditions on the query", "ALPN": "conditions on ALPN",
		"HeadersRegexp": "patterns of header values", "HeaderRegexp": "patterns of header values"}
	if what, ok := known[name]; ok {
		return match{}, fmt.Errorf("%s: vipilot has no %s", name, what)
	}
	return match{}, fmt.Errorf("%s is not a matcher that is known; known are Host, HostRegexp, HostSNI, Path, PathPrefix, Method, ClientIP, %s",
		printable(name), strings.Join(slices.Sorted(maps.Keys(known)), ", "))
}
