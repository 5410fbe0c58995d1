package sentinel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/routing/remote"
	"github.com/vipilot/vipilot/routing/routingtest"
)

// TestE2EKeepalived: a real keepalived follows the track file, through
// HAProxy's death and the sentinel's.
func TestE2EKeepalived(t *testing.T) {
	b := newBench(t)
	if b == nil {
		return
	}
	b.set(b.want())
	track := filepath.Join(b.dir, "track")
	config := filepath.Join(b.dir, "keepalived.conf")
	text := "global_defs {\n script_user root\n enable_script_security\n}\nvrrp_script watched {\n script \"/usr/bin/flock -s -n -E 0 " + filepath.Join(b.dir, remote.LockFile) +
		" /usr/bin/false\"\n interval 2\n fall 2\n}\nvrrp_track_file haproxy {\n file " + track + "\n weight 0\n}\nvrrp_instance V {\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority 100\n advert_int 0.2\n version 3\n" +
		" virtual_ipaddress {\n " + vip + "/32\n }\n track_file {\n haproxy\n }\n track_script {\n watched\n }\n}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(b.dir, "keepalived.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("keepalived", "-n", "-l", "-P", "-f", config, "-p", filepath.Join(b.dir, "k.pid"), "-r", filepath.Join(b.dir, "v.pid"))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log, _ := os.ReadFile(out.Name())
		t.Logf("keepalived's log:\n%s", log)
	})
	held := func() bool { return strings.Contains(routingtest.Run(t, "ip -o addr show dev eth0"), vip) }
	master := func(what string) {
		t.Helper()
		t.Logf("%s: master and announced after %s", what, b.Eventually(what, func() bool { return held() && b.HasRoute(vip) }))
	}
	fault := func(what string) {
		t.Helper()
		t.Logf("%s: VIP given up after %s", what, b.Eventually(what, func() bool { return !held() }))
		b.Eventually(what+": withdrawn", func() bool { return !b.HasRoute(vip) })
	}
	master("start")
	routingtest.Kill(t, b.gate.PID, syscall.SIGKILL)
	fault("HAProxy kill -9")
	b.startHAProxy()
	b.set(b.want())
	master("new HAProxy")
	b.cancel()
	routingtest.Kill(t, b.client.Status().PID, syscall.SIGKILL)
	fault("sentinel kill -9")
	b.connect()
	b.set(b.want())
	master("new sentinel")

	// Killed together with its dead man's switch and the controller: nobody is left
	// to write, and keepalived finds the lock free.
	b.cancel()
	pid := b.client.Status().PID
	child := 0
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // of each thread
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		_, _ = fmt.Sscan(string(children), &child)
	}
	if child == 0 {
		t.Fatal("there is no dead man's switch")
	}
	routingtest.Kill(t, pid, syscall.SIGSTOP) // or it would start another one
	routingtest.Kill(t, child, syscall.SIGKILL)
	routingtest.Kill(t, pid, syscall.SIGKILL)
	fault("all killed")
	if b.track() != "0" {
		t.Errorf("track file %q: somebody was left", b.track())
	}
}

// TestE2EGracefulRestart: with it on, a sentinel that comes back in time loses no route.
func TestE2EGracefulRestart(t *testing.T) {
	b := newBench(t)
	if b == nil {
		return
	}
	routingtest.Run(t, "ip addr add "+vip+"/32 dev lo")
	want := b.want()
	want.Routing.GracefulRestart = time.Minute
	b.set(want)
	b.route("start", vip, true)
	b.state("graceful restart agreed", func(s remote.State) bool { return s.Peers["edge"].KeepsRoutes })
	first := b.client.Status().PID
	routingtest.Kill(t, first, syscall.SIGKILL)
	held := func() {
		t.Helper()
		if !b.HasRoute(vip) {
			t.Fatal("the route was lost")
		}
	}
	took := b.Eventually("established again", func() bool {
		held()
		s, ok := b.client.State()
		return ok && s.PID != first && s.Peers["edge"].State == "established"
	})
	t.Logf("established again after %s", took)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		held() // also when the router has been told all
	}
	routingtest.Kill(t, b.gate.PID, syscall.SIGKILL)
	b.route("HAProxy kill -9", vip, false)
}
