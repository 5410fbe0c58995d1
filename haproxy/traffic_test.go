package haproxy

import (
	"context"
	"io"
	"strings"
	"testing"
)

func TestParseTraffic(t *testing.T) {
	const head = "# pxname,svname,qcur,scur,stot,bin,bout,econ,eresp,wretr,wredis,rate,hrsp_2xx,hrsp_5xx,cli_abrt,ttime,\n"
	all, err := parseTraffic(head+"app,a,0,1,7,10,20,1,2,3,4,5,6,1,2,9,\napp,BACKEND,0,1,8,,,,,,,,,,,,\nother,b,0,0,99,,,,,,,,,,,,\n", "app")
	if err != nil {
		t.Fatal(err)
	}
	if a := all["a"]; len(all) != 2 || a.Sessions != 7 || a.Responses != [5]uint64{1: 6, 4: 1} || a.Redirects != 4 || a.Took.Milliseconds() != 9 || all["BACKEND"].Sessions != 8 {
		t.Errorf("%+v", all)
	}
	sum := all["a"].plus(all["BACKEND"])
	if sum.Sessions != 15 || sum.Current != 2 || sum.Took != all["a"].Took {
		t.Errorf("sum %+v", sum)
	}
	for _, bad := range []string{"", "No such proxy.\n", head + "app,a,x,,,,,,,,,,,,,,\n", head + "app,a\n"} {
		if _, err := parseTraffic(bad, "app"); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestTrafficOfNobody(t *testing.T) {
	h := New(Options{RunDir: t.TempDir()})
	if _, _, err := h.Traffic(context.Background(), "app 6 -1; shutdown"); err == nil || !strings.Contains(err.Error(), "no backend's name") {
		t.Errorf("got %v", err)
	}
	if err := h.Export(context.Background(), io.Discard, false); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("got %v", err)
	}
}
