package git

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// sshd answers on a port of the loopback with a real sshd a connection, which
// ends with it.
func sshd(t *testing.T, dir, authorized string) (port int) {
	t.Helper()
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to test against a real sshd (needs root)")
	}
	conf := filepath.Join(dir, "sshd_config")
	secret(t, conf, fmt.Sprintf("HostKey %s/host\nAuthorizedKeysFile %s.pub\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n", dir, authorized))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { listener.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			file, err := conn.(*net.TCPConn).File()
			conn.Close()
			if err != nil {
				t.Error(err)
				return
			}
			running.Go(func() {
				defer file.Close()
				cmd := exec.Command("unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -i -f "+conf)
				cmd.Stdin, cmd.Stdout = file, file
				_ = cmd.Run()
			})
		}
	})
	return listener.Addr().(*net.TCPAddr).Port
}

func TestRealSSH(t *testing.T) {
	dir := t.TempDir()
	ann, _ := sshKey(t, "ed25519")
	stranger, _ := sshKey(t, "ed25519")
	host, hostPublic := sshKey(t, "ed25519")
	if err := os.Rename(host, filepath.Join(dir, "host")); err != nil {
		t.Fatal(err)
	}
	port := sshd(t, dir, ann)
	_, otherPublic := sshKey(t, "ed25519")
	known := func(public string) string {
		file := filepath.Join(t.TempDir(), "known_hosts")
		secret(t, file, fmt.Sprintf("[127.0.0.1]:%d %s\n", port, strings.Join(strings.Fields(public)[:2], " ")))
		return file
	}
	w := newWork(t)
	first := w.git("rev-parse", "HEAD")
	u := parse(t, fmt.Sprintf("git+ssh://root@127.0.0.1:%d%s?ref=main&path=fleet", port, w.dir))
	good := Access{KeyFile: ann, KnownHostsFile: known(hostPublic)}
	live := source(t, Options{URL: u, Access: good})
	wantRevision(t, live, first, "")
	w.put("fleet/vipilot.yaml", fleet+"# 2\n")
	second := w.commit("second")
	wantRevision(t, live, second, "")
	byHash := u
	byHash.Ref = first
	wantRevision(t, source(t, Options{URL: byHash, Access: good}), first, "")
	empty := filepath.Join(dir, "none")
	secret(t, empty, "")
	for want, a := range map[string]Access{
		"somebody may be in between":     {KeyFile: ann, KnownHostsFile: known(otherPublic)},
		"host key is not in known_hosts": {KeyFile: ann, KnownHostsFile: empty},
		"unable to authenticate":         {KeyFile: stranger, KnownHostsFile: good.KnownHostsFile},
		"needs a key":                    {KnownHostsFile: good.KnownHostsFile},
		"is not a private key":           {KeyFile: ann + ".pub", KnownHostsFile: good.KnownHostsFile},
		"read known_hosts":               {KeyFile: ann, KnownHostsFile: "/nonexistent"},
	} {
		wantRevision(t, source(t, Options{URL: u, Access: a}), "", want)
	}
	gone := u
	gone.Path += "-gone"
	wantRevision(t, source(t, Options{URL: gone, Access: good}), "", "no such repository")
}
