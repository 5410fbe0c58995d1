package haproxy

import (
	"context"
	"strings"
	"testing"
	"time"
)

// An answer of HAProxy 2.6.12 to "show stat todo 4 -1", columns that nobody
// reads left out.
const statAnswer = `# pxname,svname,status,weight,lastchg,check_status,check_code,check_duration,last_chk,check_desc,mode,
todo,a,DOWN,1,3,L4CON,,0,Connection refused,Layer4 connection problem,http,
todo,b.c-1.0a,DOWN,1,3,L7STS,404,2,"File ""not"" found",Layer7 wrong status,http,
todo,c,MAINT,1,3,,,,,,http,
todo,d,UP 1/3,1,90,* L7OK,200,12,OK,Layer7 check passed,http,
other,a,UP,1,1,L4OK,,0,,Layer4 check passed,http,

`

func TestParseChecks(t *testing.T) {
	got, err := parseChecks(statAnswer, "todo")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got["d"].Since != 90*time.Second || got["d"].Status != "UP 1/3" {
		t.Errorf("results %+v", got)
	}
	for server, want := range map[string]string{
		"a":        `Layer4 connection problem (L4CON) "Connection refused" in 0 ms`,
		"b.c-1.0a": `Layer7 wrong status (L7STS) 404 "File \"not\" found" in 2 ms`,
		"c":        "not checked yet",
		"d":        `Layer7 check passed (L7OK) 200 "OK" in 12 ms`,
	} {
		if got := got[server].String(); got != want {
			t.Errorf("server %s: %s, want %s", server, got, want)
		}
	}
	for _, bad := range []string{
		"", "# ", "\nNo such proxy.\n", "# pxname,svname\ntodo,a\n",
		strings.Replace(statAnswer, ",404,", ",teapot,", 1), strings.Replace(statAnswer, "todo,a,", "todo,", 1), strings.Replace(statAnswer, `"File`, `x"File`, 1),
	} {
		if got, err := parseChecks(bad, "todo"); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

func TestCheckResultsRefusesACommand(t *testing.T) {
	h := New(Options{RunDir: t.TempDir()})
	if _, err := h.CheckResults(context.Background(), "todo 4 -1; shutdown"); err == nil || !strings.Contains(err.Error(), "no backend's name") {
		t.Errorf("error %v", err)
	}
}

func FuzzParseChecks(f *testing.F) {
	f.Add(statAnswer)
	f.Add("# pxname,svname,status,lastchg,check_status,check_code,check_duration,last_chk,check_desc\ntodo,\"a\nb\",,,,,,,\n")
	f.Fuzz(func(t *testing.T, text string) {
		results, err := parseChecks(text, "todo")
		if err != nil {
			return
		}
		for _, r := range results {
			if said := r.String(); strings.ContainsAny(said, "\n\r\x1b") {
				t.Errorf("unprintable: %q", said)
			}
		}
	})
}
