package haproxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// As HAProxy 2.6.12 prints it.
const stateText = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 be_a 1 s1 127.0.0.1 2 0 100 100 0 1 0 2 6 0 0 0 - 19001 - 0 0 - - 0
3 be_a 2 s2 127.0.0.1 2 8 0 1 0 1 0 2 6 0 0 0 - 19002 - 0 0 - - 0
3 be_a 3 t1 2001:db8::1 0 1 1 1 0 1 3 0 2 0 0 0 - 19002 - 1 0 - - 0
8 be_b 1 vm 127.0.0.1 0 0 1 1 1 6 2 4 6 0 0 0 vm.lan 19001 - 0 0 - - 0

`

func TestParseState(t *testing.T) {
	list, err := parseState(stateText)
	if err != nil || len(list) != 4 {
		t.Fatalf("parseState = %d, %v", len(list), err)
	}
	for i, want := range []struct {
		target string
		state  ServerState
		health Health
	}{{"127.0.0.1:19001", Ready, Up}, {"127.0.0.1:19002", Drain, Up}, {"[2001:db8::1]:19002", Maint, Up}, {"vm.lan:19001", Ready, Down}} {
		if o := list[i]; o.server.target() != want.target || o.server.State != want.state || o.health != want.health {
			t.Errorf("server %d: %+v, want %+v", i, o, want)
		}
	}
	// The state file keeps wanted servers with their wanted address only.
	want := Config{Backends: []*Backend{{Name: "be_a", Servers: []Server{ready("s1", "127.0.0.1:19001"), ready("s2", "127.0.0.1:9")}}}}
	kept := string(stateFile(stateText, list, want))
	if !strings.HasPrefix(kept, "1\n# be_id") || !strings.Contains(kept, " s1 ") || strings.Contains(kept, " s2 ") || strings.Contains(kept, " t1 ") {
		t.Errorf("stateFile:\n%s", kept)
	}
}

func TestParseProc(t *testing.T) {
	got, ok := parseProc(`#<PID>          <type>          <reloads>       <uptime>        <version>
21980           master          2 [failed: 1]   0d00h00m02s     3.0.11-1+deb13u3
# workers
22121           worker          1               0d00h00m01s     3.0.11-1+deb13u3
# old workers
21984           worker          2               0d00h00m02s     3.0.11-1+deb13u3
# programs

`)
	if !ok || got.worker != 22121 || got.failed != 1 || !slices.Equal(got.old, []int{21984}) {
		t.Errorf("parseProc = %+v", got)
	}
	if _, ok := parseProc(""); ok {
		t.Error("parseProc took nothing for an answer")
	}
}

// Replies as 2.6.12 and 3.0.11 end them: with one newline, or two.
func TestSplitReplies(t *testing.T) {
	got, err := splitReplies("\n> \n> [6]: New server registered.\n\n> \n> [6]: Server deleted.\n> [3]: No such server.\n> ", 6)
	want := []string{"", "", "New server registered.", "", "Server deleted.", "No such server."}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("splitReplies = %q, %v", got, err)
	}
	for _, bad := range []string{"", "\n> ", "\n> \n> [6]: New", "\n> \n> \n> \n> "} {
		if got, err := splitReplies(bad, 3); err == nil {
			t.Errorf("splitReplies(%q) = %q", bad, got)
		}
	}
}

func FuzzSplitReplies(f *testing.F) {
	f.Add("\n> \n> [6]: Server deleted.\n> ", 3)
	f.Fuzz(func(t *testing.T, all string, n int) {
		if n < 0 || n > 1000 {
			return
		}
		if got, err := splitReplies(all, n); err == nil && len(got) != n {
			t.Errorf("%d replies for %d commands", len(got), n)
		}
	})
}

func FuzzParseState(f *testing.F) {
	f.Add(stateText)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseState(text)
		if err != nil && list != nil {
			t.Error("servers beside an error")
		}
		_, _ = parseProc(text)
		complaints(text)
		feedBackend(text)
	})
}

func TestFeedBackend(t *testing.T) {
	for line, want := range map[string]string{
		"<133>Nov 21 02:37:41 haproxy[21350]: Server todo/app1.web-1 is DOWN, reason: Layer4 connection problem": "todo",
		"<133>Nov 21 02:37:41 haproxy[21350]: Server todo/app1.web-1 is UP, reason: Layer7 check passed":         "todo",
		"Server be/s1 is going DOWN for maintenance":                                                             "",
		"Server b;e/s1 is DOWN":                     "",
		"backend 'be_src' has no server available!": "",
	} {
		if got := feedBackend(line); got != want {
			t.Errorf("feedBackend(%q) = %q", line, got)
		}
	}
}

func TestProbe(t *testing.T) {
	n, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	address := netip.MustParseAddrPort(n.Addr().String())
	want := Config{Frontends: []Frontend{{Name: "f", Binds: []Bind{{address.Addr(), address.Port()}}}}}
	if err := probe(want, nil, nil); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), address.String()) {
		t.Errorf("probe of a taken port = %v", err)
	}
	if taken := Taken(fmt.Errorf("start haproxy: %w", probe(want, nil, nil))); len(taken) != 1 || !taken[want.Frontends[0].Name] {
		t.Errorf("taken: %v", taken)
	}
	if taken := Taken(errors.New("another failure")); len(taken) != 0 {
		t.Errorf("taken by another failure: %v", taken)
	}
	if err := probe(want, []int{syscall.Getpid()}, nil); err != nil {
		t.Errorf("probe of an own port = %v", err)
	}
	if err := probe(want, nil, boundBy("frontend f\n  bind "+address.String()+" transparent\n")); err != nil {
		t.Errorf("probe of a port that HAProxy was started with = %v", err)
	}
}

func TestBoundBy(t *testing.T) {
	b := boundBy(`frontend a from vipilot
  bind 203.0.113.10:80 transparent
  bind [2001:db8::10]:30000-30100 transparent v6only
  bind unix@/run/vipilot/haproxy/metrics.sock mode 600
  bind quic4@203.0.113.10:443 transparent
  description bind 203.0.113.11:80`)
	for address, want := range map[string]bool{
		"203.0.113.10:80": true, "203.0.113.10:81": false, "203.0.113.11:80": false, "203.0.113.10:443": false,
		"[2001:db8::10]:29999": false, "[2001:db8::10]:30000": true, "[2001:db8::10]:30100": true, "[2001:db8::10]:30101": false,
	} {
		if got := b.covers(netip.MustParseAddrPort(address)); got != want {
			t.Errorf("%s is covered: %t", address, got)
		}
	}
}
