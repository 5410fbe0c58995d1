package haproxy

import (
	"slices"
	"strings"
	"testing"
)

// FuzzAnswers gives any text to whatever reads an answer of HAProxy: its
// statistics, its processes, its alerts, its log.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		statAnswer, "# ", "# pxname,svname,scur,stot\ntodo,a,1,2\ntodo,BACKEND,1,2\n", "# svname\na\n", "# pxname,svname,scur\ntodo,\"a\n", "No such proxy.\n",
		"Name: HAProxy\nVersion: 2.6.12-1\nUptime_sec: x\n:\n",
		"#<PID>          <type>          <reloads>       <uptime>        <version>\n17              master          2 [failed: 1]   0d00h01m10s     2.6.12\n# workers\n21  worker  0  0d00h00m10s 2.6.12\n# old workers\n19 worker 1 0d0h 2.6.12\n",
		"0 master 0 [failed: \n# old\nx worker\n-1 worker\n",
		"[ALERT]    (17) : config : parsing [x:1] : unknown keyword\n  and more\n[WARNING] (1) : y\n[ALERT]\n",
		"<131>Nov 21 08:00:00 haproxy[1]: Server todo/a is DOWN, reason: Layer4 connection problem\n", "Server /x is UP", "Server a/b is UP",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseTraffic(text, "todo")
		sessions, err2 := parseSessions(text, "todo")
		if err == nil && err2 == nil && len(all) != len(sessions) {
			t.Errorf("traffic of %d servers, sessions of %d", len(all), len(sessions))
		}
		for _, err := range []error{err, err2} {
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\x00") {
				t.Errorf("unprintable: %q", err)
			}
		}
		_ = parseInfo(text)
		if p, _ := parseProc(text); p.worker == 0 && len(p.old) > 0 && p.failed < 0 {
			t.Errorf("%+v", p)
		}
		_ = complaints(text)
		if name := feedBackend(text); name != "" && !nameForm.MatchString(name) {
			t.Errorf("a backend named %q", name)
		}
	})
}

// FuzzRaw wants of a raw line that is taken that it stays one line of its section.
func FuzzRaw(f *testing.F) {
	for _, line := range []string{"http-request set-header X a", "balance roundrobin", "# x", "backend evil", "server a 1.1.1.1:1", "option httpchk\nbackend b", "stick-table type ip size 1m", "\"", "a\\\nb"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if err := CheckRaw(BackendSection, line); err == nil && (strings.ContainsAny(line, "\n\r\x00#") || slices.Contains(owned[BackendSection], strings.Fields(line)[0])) {
			t.Errorf("taken: %q", line)
		}
	})
}
