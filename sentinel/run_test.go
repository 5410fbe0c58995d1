package sentinel

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/remote"
)

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("not reached: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// standIn is any process, to stand for HAProxy where no ping is wanted.
func standIn(t *testing.T) (gate remote.Gate, kill func()) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(kill)
	started, err := supervise.StartTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return remote.Gate{PID: cmd.Process.Pid, StartTime: started}, kill
}

// recorded is a client whose record says that this very process is the sentinel.
func recorded(t *testing.T, dir string) *remote.Client {
	t.Helper()
	self, err := supervise.StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	record := fmt.Sprintf(`{"pid":%d,"start_time":%d}`, os.Getpid(), self)
	if err := os.WriteFile(filepath.Join(dir, remote.Record), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	return remote.NewClient(remote.ClientOptions{RunDir: dir})
}

func announced(s remote.State) string { return fmt.Sprint(s.Announced) }

// TestRun drives a whole sentinel, in this process, through the client that
// the controller uses. No root, no daemon: the speaker has no peer.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, testOptions(dir)) }()
	client := recorded(t, dir)

	gate, kill := standIn(t)
	track := filepath.Join(dir, "track")
	want := remote.Want{Gate: gate, TrackFile: track, Routing: routing.Config{
		ASN: 65010, RouterID: netip.MustParseAddr("10.77.0.1"),
		Prefixes: []routing.Prefix{
			{Prefix: netip.MustParsePrefix("127.0.0.1/32"), WhileHeld: true}, // lo is held everywhere
			{Prefix: netip.MustParsePrefix("198.18.0.0/24")},
			{Prefix: netip.MustParsePrefix("203.0.113.199/32"), WhileHeld: true},
		},
	}}
	for i, changed := range []bool{true, false} {
		if got, err := client.Set(ctx, want); err != nil || got != changed {
			t.Fatalf("Set %d = %t, %v", i, got, err)
		}
	}
	go func() { _ = client.Run(ctx) }()
	says := func(up bool, routes, value string) {
		t.Helper()
		eventually(t, fmt.Sprintf("up=%t routes=%s track=%s", up, routes, value), func() bool {
			s, ok := client.State()
			data, _ := os.ReadFile(track)
			return ok && s.HAProxyUp == up && announced(s) == routes && string(data) == value && s.Build == "test"
		})
	}
	says(true, "[127.0.0.1/32 198.18.0.0/24]", "0\n")
	if err := Run(ctx, testOptions(dir)); err == nil || !strings.Contains(err.Error(), "another one already runs") {
		t.Errorf("second sentinel: %v", err)
	}
	bad := want
	bad.Gate.PID = -1
	if _, err := client.Set(ctx, bad); err == nil || !strings.Contains(err.Error(), "is not a process id") {
		t.Errorf("bad orders: %v", err)
	}
	says(true, "[127.0.0.1/32 198.18.0.0/24]", "0\n")
	if _, err := client.Set(ctx, want); err != nil {
		t.Error(err)
	}
	kill()
	says(false, "[]", "1\n")
	reused := want
	reused.Gate.PID, reused.Gate.StartTime = os.Getpid(), 1 // lives, but is not it
	if _, err := client.Set(ctx, reused); err != nil {
		t.Error(err)
	}
	says(false, "[]", "1\n")
	none := want
	none.Gate = remote.Gate{}
	if _, err := client.Set(ctx, none); err != nil {
		t.Error(err)
	}
	eventually(t, "no HAProxy as ordered is no error", func() bool { s, ok := client.State(); return ok && s.Error == "" })
	want.Gate, _ = standIn(t)
	if _, err := client.Set(ctx, want); err != nil {
		t.Error(err)
	}
	says(true, "[127.0.0.1/32 198.18.0.0/24]", "0\n")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if data, _ := os.ReadFile(track); string(data) != "1\n" {
		t.Errorf("track file after the end: %q", data)
	}
	// A restart needs no controller: the orders and their gate still stand.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- Run(ctx, testOptions(dir)) }()
	eventually(t, "track file 0 after the restart", func() bool { data, _ := os.ReadFile(track); return string(data) == "0\n" })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestHostile: whatever comes over the socket, the sentinel lives on.
func TestHostile(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, testOptions(dir)) }()
	socket := filepath.Join(dir, remote.Socket)
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	eventually(t, "socket", func() bool { _, err := os.Stat(socket); return err == nil })
	for body, code := range map[string]int{
		"": 422, "null": 200, "[]": 422, `{"gate":{"pid":1e9}}`: 422, strings.Repeat("[", 1<<20): 422,
		`{"track_file":"/proc/1/mem/x"}`: 200,
		`{"routing":{"asn":1,"router_id":"1.1.1.1","peers":[{"name":"a","address":"0.0.0.0","asn":1}]}}`: 422,
		strings.Repeat(" ", maxWant+1): 413,
	} {
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://x"+remote.PathWant, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := web.Do(r)
		if err != nil {
			t.Fatalf("%.60s: %v", body, err)
		}
		response.Body.Close()
		if response.StatusCode != code {
			t.Errorf("%.60s: %s, want %d", body, response.Status, code)
		}
	}
	cancel()
	<-done // the last track file may not be writable: that is no crash
}

func TestTrackFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "track")
	for _, value := range []string{trackGood, trackBad} {
		if err := writeTrack(file, value); err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(file); string(data) != value {
			t.Errorf("%q, want %q", data, value)
		}
	}
	if err := os.WriteFile(file, []byte("long content\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeTrack(file, trackGood); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(file); string(data) != trackGood {
		t.Errorf("%q", data)
	}
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fifo, link, dir} {
		if err := writeTrack(name, trackBad); err == nil {
			t.Errorf("wrote to %s", name)
		}
	}
}

// TestDeadMan: the child writes when its sentinel dies, not when dismissed,
// and a second one waits for the first.
func TestDeadMan(t *testing.T) {
	track := filepath.Join(t.TempDir(), "track")
	argv := testOptions("").DeadMan
	read := func() string { data, _ := os.ReadFile(track); return string(data) }
	g, err := armGuard(t.Context(), argv, track)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeTrack(track, trackGood); err != nil {
		t.Fatal(err)
	}
	g.dismiss()
	<-g.done
	if read() != trackGood {
		t.Errorf("dismissed, but wrote %q", read())
	}
	if g, err = armGuard(t.Context(), argv, track); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := armGuard(short, argv, track); err == nil {
		t.Error("two on guard at once")
	}
	_ = g.pipe.Close() // as the sentinel's death does
	<-g.done
	if read() != trackBad {
		t.Errorf("sentinel dead, track file %q", read())
	}
	if g, err = armGuard(t.Context(), argv, track); err != nil {
		t.Fatal(err)
	}
	if err := writeTrack(track, trackGood); err != nil {
		t.Fatal(err)
	}
	g.beat()
	g.dismiss()
	if <-g.done; read() != trackGood {
		t.Errorf("dismissed after a beat, but wrote %q", read())
	}
	if _, err := armGuard(t.Context(), []string{"false"}, track); err == nil {
		t.Error("a child that ended counts as on guard")
	}
}

// TestSilence: a sentinel that hangs is as good as a dead one, if it ever spoke.
func TestSilence(t *testing.T) {
	track := filepath.Join(t.TempDir(), "track")
	if err := writeTrack(track, trackGood); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours := os.NewFile(uintptr(pair[0]), "sentinel")
	defer ours.Close()
	done, ended, withdrew := make(chan error, 1), false, false
	go func() {
		done <- guardTrack(track, os.NewFile(uintptr(pair[1]), "child"), time.Millisecond, estate{
			kill: func() { ended = true }, withdraw: func() error { withdrew = true; return nil },
		})
	}()
	if _, err := ours.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
		t.Error("one that never spoke counts as silent")
	case <-time.After(20 * time.Millisecond):
	}
	if _, err := ours.Write([]byte{alive}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !ended || !withdrew {
		t.Errorf("a sentinel that hangs: ended %t, withdrawn %t", ended, withdrew)
	}
	if data, _ := os.ReadFile(track); string(data) != trackBad {
		t.Errorf("silent, track file %q", data)
	}
}
