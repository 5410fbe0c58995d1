package haproxy

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChangedFields(t *testing.T) {
	two, three := 2, 3
	old := Backend{Balance: "leastconn", Check: Check{Path: "/a", Interval: time.Second}, Retries: &two, StickyCookie: "SRV"}
	for _, c := range []struct {
		change func(*Backend)
		want   string
	}{
		{func(*Backend) {}, ""},
		{func(b *Backend) { b.Balance = "source" }, "balance leastconn became source"},
		{func(b *Backend) { b.Check.Path, b.Check.Interval = "/b", 2*time.Second }, "check.path /a became /b, check.interval 1s became 2s"},
		{func(b *Backend) { b.Retries = &three }, "retries 2 became 3"},
		{func(b *Backend) { b.Retries = nil }, "retries changed"},
		{func(b *Backend) { b.StickyCookie = "" }, "sticky.cookie SRV became unset"},
		{func(b *Backend) { b.TLS = new(BackendTLS) }, "tls changed"},
		{func(b *Backend) { b.Balance = "x\ny" }, "balance changed"},
	} {
		changed := old
		c.change(&changed)
		if got := changedFields(old, changed); got != c.want {
			t.Errorf("changedFields = %q, want %q", got, c.want)
		}
	}
}

// What made a reload necessary is told by keys that an operator can find in
// the reference. A field that follows from several, or from none, is listed.
func TestReloadsNameKeys(t *testing.T) {
	text, err := os.ReadFile("../config/reference/3_services.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := func(key string) bool {
		for _, prefix := range []string{"", "backend.", "http.", "tcp."} {
			if strings.Contains(string(text), "\nservices.*."+prefix+key+": ") {
				return true
			}
		}
		return false
	}
	ours := []string{"name", "mode", "sticky_name", "place", "check.host", "check.port", "servers", "binds", "last_port", "routes", "default", "certificates", "redirects", "splits", "drain", "passthrough", "inside"}
	var walk func(path string, at reflect.Type)
	walk = func(path string, at reflect.Type) {
		for at.Kind() == reflect.Pointer {
			at = at.Elem()
		}
		if at.Kind() == reflect.Struct && at.NumField() > 0 && at.Field(0).IsExported() && at != reflect.TypeFor[BackendTLS]() {
			for i := range at.NumField() {
				walk(strings.TrimPrefix(path+"."+words(at.Field(i).Name), "."), at.Field(i).Type)
			}
			return
		}
		if key, ok := configured[path]; ok {
			for one := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSuffix(key, " of a path"), " or ", ", "), ", ") {
				if !known(one) {
					t.Errorf("%s is told as %s, which is no key", path, one)
				}
			}
		} else if !known(path) && !slices.Contains(ours, path) {
			t.Errorf("%s is no key: add what it comes from", path)
		}
	}
	walk("", reflect.TypeFor[Backend]())
	walk("", reflect.TypeFor[Frontend]())
}
