package importer

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// protecting are middlewares that keep clients out.
var protecting = []string{"basicauth", "digestauth", "forwardauth", "ipallowlist", "ipwhitelist", "inflightreq", "ratelimit", "passtlsclientcert", "plugin"}

// filter takes the middlewares of a router, in their order. It says whether
// they send clients to https.
func (t *traefik) filter(s *service, list, place string) (redirects bool) {
	s.files = nil
	for i, name := range t.unchained(words(list), 0) {
		m, ok := t.middlewares[strings.TrimSuffix(name, "@docker")]
		if !ok {
			t.remark(place, "middlewares="+name, "is not described by any label; the service is closed until you have read it")
			s.closeUntilSeen("the middleware " + name + " is not known, and it may have kept clients out")
			continue
		}
		if i >= maxTerms {
			break
		}
		at := "container " + m.place + ", traefik.http.middlewares." + name
		if _, ok := m.of["redirectscheme.scheme"]; ok {
			redirects = redirects || m.of["redirectscheme.scheme"] == "https"
			continue
		}
		for _, key := range m.order {
			why := t.middleware(s, name, key, m.of)
			if why == "" {
				continue
			}
			t.remark(at, key+"="+concealed(key, m.of[key]), why)
			kind, _, _ := strings.Cut(key, ".")
			if slices.Contains(protecting, kind) {
				s.closeUntilSeen("middleware " + name + " (" + kind + ") was not carried over as it was: " + why)
			}
		}
	}
	return redirects
}

// concealed hides what may be a password.
func concealed(key, value string) string {
	if strings.Contains(key, "users") || strings.Contains(strings.ToLower(key), "authorization") || strings.Contains(key, "secret") {
		return "***"
	}
	return value
}

// unchained replaces chains by what they are made of.
func (t *traefik) unchained(names []string, depth int) []string {
	var out []string
	for _, n := range names {
		if chain := t.middlewares[strings.TrimSuffix(n, "@docker")].of["chain.middlewares"]; chain != "" && depth < 4 {
			out = append(out, t.unchained(words(chain), depth+1)...)
		} else if len(out) < maxTerms {
			out = append(out, n)
		}
	}
	return out
}

// middleware takes one label of a middleware; otherwise it says why not.
func (t *traefik) middleware(s *service, name, key string, of map[string]string) (why string) {
	value, f := of[key], &s.filters
	switch {
	case key == "stripprefix.prefixes":
		if list := words(value); len(list) == 1 {
			f.strip = strings.TrimSuffix(list[0], "/")
			return ""
		}
		return "one prefix can be stripped"
	case key == "stripprefix.forceslash":
	case key == "addprefix.prefix":
		f.prefix = strings.TrimSuffix(value, "/")
	case key == "basicauth.users":
		file := "secrets/" + named(name)
		s.keep(file, []byte(strings.Join(strings.FieldsFunc(value, func(c rune) bool { return c == ',' || c == '\n' }), "\n")+"\n"))
		f.usersFile = file
	case key == "basicauth.realm":
		f.realm = value
	case key == "basicauth.removeheader":
		if strings.EqualFold(value, "true") {
			f.reqDelete = append(f.reqDelete, "Authorization")
		}
	case key == "ipallowlist.sourcerange" || key == "ipwhitelist.sourcerange":
		return s.allowOnly(words(value))
	case strings.HasPrefix(key, "ratelimit."):
		return s.rate(key, of)
	case key == "compress" || strings.HasPrefix(key, "compress."):
		f.compress = !strings.EqualFold(value, "false")
	case key == "buffering.maxrequestbodybytes":
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			return "is not a number of bytes"
		}
		f.maxSize = value + "B"
	case key == "retry.attempts":
		n, err := strconv.Atoi(value)
		if err != nil {
			return "is not a number"
		}
		s.backend.retries = &n
	case key == "retry.initialinterval":
	case strings.HasPrefix(key, "headers."):
		return f.header(strings.TrimPrefix(key, "headers."), value)
	default:
		return "vipilot has nothing like it"
	}
	return ""
}

// allowOnly lets only these networks in.
func (s *service) allowOnly(list []string) (why string) {
	var networks []string
	for _, text := range list {
		n, err := network(text)
		if err != nil {
			return err.Error()
		}
		networks = append(networks, n)
	}
	s.match.sources, s.match.never = shared(s.match.sources, networks, false)
	if s.match.never {
		return "no client fulfils all its lists of networks"
	}
	return ""
}

// rate takes average requests in a period. A burst on top is not carried over.
func (s *service) rate(key string, of map[string]string) (why string) {
	if key != "ratelimit.average" {
		if key == "ratelimit.period" || key == "ratelimit.burst" {
			return ""
		}
		return "clients are told apart by their address here"
	}
	n, err := strconv.Atoi(of[key])
	per := time.Second
	if p := of["ratelimit.period"]; p != "" && err == nil {
		per, err = traefikTime(p)
	}
	if err != nil || n < 1 {
		return "is not a number of requests"
	}
	s.filters.rateRequests, s.filters.ratePer = n, per
	if burst, err := strconv.Atoi(of["ratelimit.burst"]); err == nil && burst > n { // what Traefik lets through at once
		s.notes = append(s.notes, "the rate limit had a burst of "+strconv.Itoa(burst))
	}
	return ""
}

// header takes one setting of a headers middleware.
func (f *filters) header(key, value string) (why string) {
	low := strings.ToLower(key)
	for prefix, into := range map[string]struct {
		set *map[string]string
		del *[]string
	}{
		"customrequestheaders.": {&f.reqSet, &f.reqDelete}, "customresponseheaders.": {&f.respSet, &f.respDelete},
	} {
		if !strings.HasPrefix(low, prefix) {
			continue
		}
		name := http.CanonicalHeaderKey(key[len(prefix):])
		if value == "" {
			*into.del = append(*into.del, name)
			return ""
		}
		put(into.set, name, value)
		return ""
	}
	switch low {
	case "stsseconds":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > 1<<31 {
			return "is not a number of seconds"
		}
		f.hstsFor = time.Duration(n) * time.Second
	case "framedeny":
		return f.fixed(value, "X-Frame-Options", "DENY")
	case "contenttypenosniff":
		return f.fixed(value, "X-Content-Type-Options", "nosniff")
	case "customframeoptionsvalue":
		put(&f.respSet, "X-Frame-Options", value)
	case "referrerpolicy":
		put(&f.respSet, "Referrer-Policy", value)
	case "permissionspolicy":
		put(&f.respSet, "Permissions-Policy", value)
	case "contentsecuritypolicy":
		put(&f.respSet, "Content-Security-Policy", value)
	default:
		return "vipilot has nothing like it"
	}
	return ""
}

func (f *filters) fixed(value, name, text string) string {
	if strings.EqualFold(value, "true") {
		put(&f.respSet, name, text)
	}
	return ""
}

func put(m *map[string]string, name, value string) {
	if *m == nil {
		*m = make(map[string]string)
	}
	(*m)[name] = value
}
