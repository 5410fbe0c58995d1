package haproxy

import (
	"reflect"
	"testing"
)

func TestParseSessions(t *testing.T) {
	const head = "# pxname,svname,qcur,qmax,scur,smax,\n"
	got, err := parseSessions(head+"todo,a,0,0,3,4,\ntodo,b,0,0,0,4,\nother,c,0,0,9,9,\n", "todo")
	if want := map[string]int{"a": 3, "b": 0}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "Unknown command", "# pxname,svname\n", head + "todo,a,0,0,x,4,\n", head + "todo,a\n"} {
		if got, err := parseSessions(bad, "todo"); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
