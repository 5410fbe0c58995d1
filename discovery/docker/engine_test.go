package docker

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/discovery"
)

// lab is a real dockerd in a network namespace of its own.
type lab struct {
	t    *testing.T
	dir  string
	ns   string
	args []string // of dockerd, beside the usual
	cmd  *exec.Cmd
}

func newLab(t *testing.T, args ...string) *lab {
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to test against a real dockerd (needs root)")
	}
	dir, err := os.MkdirTemp("", "disc")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: dir, ns: fmt.Sprintf("discovery-%d", os.Getpid()), args: args}
	t.Cleanup(l.remove)
	l.run("ip", "netns", "add", l.ns)
	t.Cleanup(func() { l.run("ip", "netns", "del", l.ns) })
	l.run("ip", "-n", l.ns, "link", "set", "lo", "up")
	l.run("ip", "-n", l.ns, "link", "add", "up0", "type", "veth", "peer", "name", "up1")
	l.run("ip", "-n", l.ns, "link", "set", "up0", "up")
	t.Cleanup(l.removeCgroups)
	l.start()
	t.Cleanup(l.end)
	return l
}

// reachable joins the namespace to this one by a cable; its ends have these addresses.
func (l *lab) reachable(here, there string) {
	l.t.Helper()
	cable := fmt.Sprintf("disc%d", os.Getpid())
	l.run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", l.ns)
	l.t.Cleanup(func() { l.run("ip", "link", "del", cable) })
	l.run("ip", "addr", "add", here, "dev", cable)
	l.run("ip", "link", "set", cable, "up")
	l.run("ip", "-n", l.ns, "addr", "add", there, "dev", "eth0")
	l.run("ip", "-n", l.ns, "link", "set", "eth0", "up")
}

func (l *lab) url() string { return "unix://" + l.dir + "/d.sock" }

func (l *lab) run(name string, args ...string) {
	l.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (l *lab) docker(args string) {
	l.t.Helper()
	l.run("docker", append([]string{"-H", l.url()}, strings.Fields(args)...)...)
}

func (l *lab) start() {
	l.t.Helper()
	// Where nobody reaps orphans, the containerd of a killed dockerd stays a
	// zombie that the next dockerd takes for a running one.
	_ = os.Remove(l.dir + "/exec/containerd/containerd.pid")
	l.cmd = exec.Command("nsenter", append([]string{"--net=/run/netns/" + l.ns, "dockerd", "--data-root", l.dir + "/data", "--exec-root", l.dir + "/exec",
		"--pidfile", l.dir + "/pid", "-H", l.url(), "--cgroup-parent", "/" + l.ns, "--exec-opt", "native.cgroupdriver=cgroupfs"}, l.args...)...)
	log, err := os.OpenFile(l.dir+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	defer log.Close()
	l.cmd.Stdout, l.cmd.Stderr = log, log
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) signal(s syscall.Signal, wait bool) {
	l.t.Helper()
	if err := l.cmd.Process.Signal(s); err != nil {
		l.t.Fatalf("signal dockerd: %v", err)
	}
	if wait {
		_ = l.cmd.Wait()
	}
}

// end leaves no container, process or mount behind.
func (l *lab) end() {
	if log, err := os.ReadFile(l.dir + "/log"); err == nil && l.t.Failed() {
		l.t.Logf("end of dockerd's log:\n%s", log[max(0, len(log)-3000):])
	}
	_ = l.cmd.Process.Signal(syscall.SIGCONT) // a test may have failed while it was held
	_ = exec.Command("sh", "-c", "docker -H "+l.url()+" ps -aq | xargs -r docker -H "+l.url()+" rm -f").Run()
	l.signal(syscall.SIGTERM, true)
	l.sweep()
}

// remove removes the lab's directory with what is mounted in it, once those who
// were killed have let it go.
func (l *lab) remove() {
	for end := time.Now().Add(longest); ; time.Sleep(50 * time.Millisecond) {
		_ = exec.Command("sh", "-c", "grep -o ' "+l.dir+"[^ ]*' /proc/mounts | sort -r | xargs -r umount").Run()
		err := os.RemoveAll(l.dir)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			l.t.Error(err)
			return
		}
	}
}

// sweep ends what a killed dockerd left: its shims and their children.
func (l *lab) sweep() {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		if line, err := os.ReadFile(path); err != nil || !strings.Contains(string(line), l.dir) {
			continue
		}
		pid := filepath.Base(filepath.Dir(path))
		children, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		for _, p := range append(strings.Fields(string(children)), pid) {
			_ = exec.Command("kill", "-9", p).Run()
		}
	}
}

// removeCgroups removes the control groups, which outlive their processes.
func (l *lab) removeCgroups() {
	_ = exec.Command("sh", "-c", "find /sys/fs/cgroup -depth -type d -path '*/"+l.ns+"*' -exec rmdir {} +").Run()
}

// image is one static program on port 8080; "stubborn" ignores SIGTERM.
func (l *lab) image() {
	l.t.Helper()
	const source = `package main
import ("net/http"; "os"; "os/signal"; "syscall")
func main() {
	if len(os.Args) > 1 && os.Args[1] == "check" { if _, err := os.Stat("/sick"); err == nil { os.Exit(1) }; return }
	if len(os.Args) > 1 && os.Args[1] == "sick" { os.WriteFile("/sick", nil, 0o600) }
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGHUP)
	go func() { for s := range c { if s == syscall.SIGTERM && len(os.Args) == 1 { os.Exit(0) } } }()
	http.ListenAndServe(":8080", http.NotFoundHandler())
}`
	if err := os.WriteFile(filepath.Join(l.dir, "main.go"), []byte(source), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.await()
	l.run("sh", "-ec", "cd "+l.dir+"; CGO_ENABLED=0 go build -o bin main.go; "+
		"tar c bin | docker -H "+l.url()+" import -c 'ENTRYPOINT [\"/bin\"]' -c 'EXPOSE 8080' - echo:1")
}

func line(s discovery.Snapshot) string {
	var b strings.Builder
	for _, c := range s.Containers {
		b.WriteString(printed(c) + "\n")
	}
	return b.String()
}

// TestRealEngine compares after every operation what events made of the
// watcher's view with what a fresh list says.
func TestRealEngine(t *testing.T) {
	l := newLab(t)
	l.image()
	opts := Options{URL: l.url(), Relist: time.Hour, Ping: 500 * time.Millisecond, Timeout: 2 * time.Second}
	w := watch(t, opts)
	w.untilIs("connected", func(s discovery.Snapshot) bool { return s.Connected })
	// same waits until the view has want in it and equals a fresh list, which is
	// taken again where the engine was still at work.
	same := func(what, want string) {
		t.Helper()
		has := func(s discovery.Snapshot) bool { return s.Connected && strings.Contains(line(s), want) }
		if !has(w.last) {
			w.untilIs(what+" ⇒ "+want, has)
		}
		for end := time.Now().Add(longest); ; {
			f := watch(t, opts)
			fresh := line(f.untilIs("fresh list", func(s discovery.Snapshot) bool { return s.Connected }))
			f.stop()
			as := func(s discovery.Snapshot) bool { return s.Connected && line(s) == fresh }
			if w.news(time.Second, as); as(w.last) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: the view is\n%s\na fresh list\n%s", what, line(w.last), fresh)
			}
		}
	}
	for _, step := range []struct{ do, want string }{
		{"network create web --subnet 10.77.240.0/24", ""},
		{"network create -d macvlan --subnet 10.77.241.0/24 -o parent=up0 lan", ""},
		{"run -d --name aa -p 18080:8080 -l app=todo echo:1", "aa running echo:1 bridge/bridge:172.17.0.2@172.17.0.0/16 8080=0.0.0.0:18080 8080=:::18080 exposed[8080] app=todo"},
		{"run -d --name ba --network web -P echo:1", "ba running echo:1 web/bridge:10.77.240.2@10.77.240.0/24 8080=0.0.0.0:"},
		{"run -d --name cc --network host echo:1", "cc running echo:1 host-mode exposed[8080]"},
		{"run -d --name dd --network none echo:1", "dd running echo:1 no-network"},
		{"run -d --name ee --network lan echo:1", "ee running echo:1 lan/macvlan:10.77.241.2@"},
		{"network connect web aa", "web/bridge:10.77.240.3"},
		{"network disconnect web aa", "aa running echo:1 bridge/bridge:172.17.0.2@172.17.0.0/16 8080"},
		{"kill -s HUP aa", "aa running"},
		{"pause ba", "ba paused"},
		{"unpause ba", "ba running"},
		{"rename ba bb", "bb running"},
		{"restart -t 1 bb", "bb running"},
		{"stop aa", "aa stopped"},
		{"start aa", "aa running"},
		{"run -d --name hh --health-retries 1 --health-interval 200ms --health-cmd true echo:1", "hh running echo:1 unhealthy"},
		{"kill hh", "hh stopped"},
		{"rm hh", ""},
		{"run -d --name zz --entrypoint /bin echo:1 stubborn", "zz running"},
		{"rm -f ee", ""},
	} {
		l.docker(step.do)
		same("docker "+step.do, step.want)
	}

	// The stop signal is seen while the container still runs, as it does until it is killed.
	stopped := make(chan error, 1)
	go func() { stopped <- exec.Command("docker", "-H", l.url(), "stop", "-t", "600", "zz").Run() }()
	w.untilIs("stopping", func(s discovery.Snapshot) bool { return strings.Contains(line(s), "zz stopping") })
	l.docker("kill zz")
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	same("stop zz", "zz stopped")

	l.docker("run -d --name ss --restart always echo:1")
	same("run ss", "ss running")
	l.signal(syscall.SIGSTOP, false)
	w.untilIs("hung", func(s discovery.Snapshot) bool { return !s.Connected && strings.Contains(line(s), "aa running") })
	l.signal(syscall.SIGCONT, false)
	same("continue", "ss running")
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		l.signal(s, true)
		w.untilIs("engine gone", func(s discovery.Snapshot) bool { return !s.Connected && strings.Contains(line(s), "ss ") })
		l.start()
		same("engine restart", "ss running")
	}
}
