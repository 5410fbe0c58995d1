package haproxy

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// configured are the keys of the configuration whose words are not those of
// the fields they end in: in a service, or its backend.
var configured = map[string]string{
	"sticky_cookie":         "sticky.cookie",
	"sticky_source":         "sticky.source",
	"max_conn":              "maxconn",
	"connect":               "timeouts.connect",
	"server":                "timeouts.server",
	"queue":                 "timeouts.queue",
	"tunnel":                "timeouts.tunnel",
	"client_timeout":        "timeouts.client",
	"h2":                    "protocol",
	"profile":               "http.tls.profile",
	"redirect_port":         "http.tls.port",
	"quic":                  "http.tls.http3",
	"guard.hsts":            "http.tls.hsts",
	"guard.client":          "http.tls.client",
	"guard.http3":           "http.tls.http3",
	"guarded":               "http.allow, http.deny or http.basic_auth of a path",
	"rules.trusted":         "http.trusted_proxies",
	"rules.deny":            "deny",
	"rules.allow":           "allow",
	"rules.maintenance":     "http.maintenance",
	"rules.max_size":        "http.request.max_size",
	"rules.rate.requests":   "http.request.rate_limit.requests",
	"rules.rate.per":        "http.request.rate_limit.per",
	"rules.auth":            "http.basic_auth",
	"rules.auth.realm":      "http.basic_auth.realm",
	"rules.auth.users":      "http.basic_auth.users_file",
	"rules.rewrite.strip":   "http.rewrite.strip_prefix",
	"rules.rewrite.add":     "http.rewrite.add_prefix",
	"rules.redirect":        "http.redirect",
	"rules.redirect.host":   "http.redirect.host",
	"rules.redirect.port":   "http.redirect",
	"rules.redirect.code":   "http.redirect.code",
	"rules.redirect.https":  "http.redirect",
	"rules.request.set":     "http.request.set",
	"rules.request.add":     "http.request.add",
	"rules.request.delete":  "http.request.delete",
	"rules.response.set":    "http.response.set",
	"rules.response.add":    "http.response.add",
	"rules.response.delete": "http.response.delete",
	"rules.compress":        "http.response.compress",
	"rules.pages":           "http.error_pages or http.maintenance.page_file",
}

// changedFields names the fields in which two values of one struct type
// differ, in the words of the configuration: "check.path /a became /b, balance
// changed". Only plain values are shown, nothing that may hold a secret.
func changedFields(old, new any) string {
	return strings.Join(fieldChanges("", reflect.ValueOf(old), reflect.ValueOf(new)), ", ")
}

func fieldChanges(path string, o, n reflect.Value) []string {
	if !o.CanInterface() || reflect.DeepEqual(o.Interface(), n.Interface()) {
		return nil
	}
	if o.Kind() == reflect.Pointer && !o.IsNil() && !n.IsNil() {
		return fieldChanges(path, o.Elem(), n.Elem())
	}
	if o.Kind() == reflect.Struct && o.Type().NumField() > 0 && o.Type().Field(0).IsExported() {
		var changes []string
		for i := range o.NumField() {
			name := strings.TrimPrefix(path+"."+words(o.Type().Field(i).Name), ".")
			changes = append(changes, fieldChanges(name, o.Field(i), n.Field(i))...)
		}
		return changes
	}
	path = cmp.Or(configured[path], path)
	was, is := plain(o), plain(n)
	if was == "" || is == "" {
		return []string{path + " changed"}
	}
	return []string{fmt.Sprintf("%s %s became %s", path, was, is)}
}

// plain is a value as it is written, "" for what is not shown.
func plain(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		return d.String()
	}
	switch v.Kind() {
	case reflect.Bool, reflect.Int, reflect.Uint16:
		return fmt.Sprint(v.Interface())
	case reflect.String:
		s := v.String()
		if s == "" {
			return "unset"
		}
		if pathForm.MatchString(s) || nameForm.MatchString(s) {
			return s
		}
	}
	return ""
}

// words writes a field's name as the configuration would: StickyCookie is
// sticky_cookie.
func words(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) && unicode.IsLower(rune(name[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
