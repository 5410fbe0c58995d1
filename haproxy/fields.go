package haproxy

import (
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"
)

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
