package docker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vipilot/vipilot/discovery"
)

// The two ends of the cable to the lab's engine.
const (
	hereAddress  = "198.18.77.1"
	thereAddress = "198.18.77.2"
)

// certifier is a certificate authority.
type certifier struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCertifier(t *testing.T, name string) *certifier {
	c := &certifier{t: t}
	_, c.cert, c.key = c.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotAfter: time.Now().Add(time.Hour),
	})
	return c
}

func (c *certifier) sign(template *x509.Certificate) ([]byte, *x509.Certificate, *ecdsa.PrivateKey) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), template.NotAfter.Add(-48*time.Hour)
	parent, by := c.cert, c.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		c.t.Fatal(err)
	}
	return der, cert, key
}

// engine writes a certificate of an engine that ends so long from now, and
// gives the arguments by which dockerd uses it.
func (c *certifier) engine(dir string, ends time.Duration) []string {
	der, _, key := c.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "engine"}, NotAfter: time.Now().Add(ends),
		IPAddresses: []net.IP{net.ParseIP(thereAddress)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem": {Type: "CERTIFICATE", Bytes: c.cert.Raw}, "cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	return []string{"-H", "tcp://0.0.0.0:2376", "--tlsverify", "--tlscacert", dir + "/ca.pem", "--tlscert", dir + "/cert.pem", "--tlskey", dir + "/key.pem"}
}

// client is a certificate of a node.
func (c *certifier) client(ends time.Duration) []tls.Certificate {
	der, _, key := c.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "vipilot"}, NotAfter: time.Now().Add(ends), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
}

func (c *certifier) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// says waits for the verdict on an engine: connected, or one line with want in
// it. On a busy machine another one may come before, such as that an ssh that
// ends has not said yet why.
func says(t *testing.T, opts Options, want string) {
	t.Helper()
	opts.Timeout = longest // that there is no answer in time is no verdict
	began := time.Now()
	w := watch(t, opts)
	defer w.stop()
	s := w.untilIs(want, func(s discovery.Snapshot) bool { return s.Connected || strings.Contains(s.Err.Error(), want) })
	if s.Connected {
		if want != "connected" {
			t.Errorf("connected, want %q", want)
		}
		return
	}
	text := s.Err.Error()
	t.Logf("after %v: %s", time.Since(began).Round(time.Millisecond), text)
	if strings.Contains(text, "\n") || !strings.HasPrefix(text, "reach docker engine at "+opts.URL+": ") {
		t.Errorf("got %q, want one line", text)
	}
}

// TestRealTLS asks a real engine that verifies its clients.
func TestRealTLS(t *testing.T) {
	ours, strangers := newCertifier(t, "our CA"), newCertifier(t, "a stranger's CA")
	dir := t.TempDir()
	l := newLab(t, ours.engine(dir, time.Hour)...)
	l.reachable(hereAddress+"/30", thereAddress+"/30")
	l.run("ip", "-n", l.ns, "addr", "add", "198.18.78.2/32", "dev", "eth0")
	l.run("ip", "route", "add", "198.18.78.2/32", "via", thereAddress)
	l.await()
	const url, elsewhere = "tcp://" + thereAddress + ":2376", "tcp://198.18.78.2:2376"
	valid, expired := ours.client(time.Hour), ours.client(-time.Hour)
	for _, tc := range []struct {
		name, url string
		tls       *tls.Config
		want      string
	}{
		{"right", url, &tls.Config{RootCAs: ours.pool(), Certificates: valid}, "connected"},
		{"another CA", url, &tls.Config{RootCAs: strangers.pool(), Certificates: valid}, `the engine's certificate "CN=engine" (valid `},
		{"another name", elsewhere, &tls.Config{RootCAs: ours.pool(), Certificates: valid}, "is for another name (certificate is valid for 198.18.77.2, not 198.18.78.2); issue it for the address in hosts.*.docker"},
		{"no client certificate", url, &tls.Config{RootCAs: ours.pool()}, "asks for a client certificate; give tls.cert_file and tls.key_file"},
		{"expired client certificate", url, &tls.Config{RootCAs: ours.pool(), Certificates: expired}, `this node's certificate "CN=vipilot" (valid `},
		{"stranger's client certificate", url, &tls.Config{RootCAs: ours.pool(), Certificates: strangers.client(time.Hour)}, "tls.cert_file must be signed by the engine's --tlscacert"},
		{"no TLS", url, nil, "the engine speaks TLS on this port; give tls.ca_file"},
	} {
		t.Run(tc.name, func(t *testing.T) { says(t, Options{URL: tc.url, TLS: tc.tls}, tc.want) })
	}
	t.Run("certificate expires", func(t *testing.T) {
		w := watch(t, Options{URL: url, TLS: &tls.Config{RootCAs: ours.pool(), Certificates: valid}})
		w.untilIs("connected", func(s discovery.Snapshot) bool { return s.Connected })
		l.signal(syscall.SIGTERM, true)
		ours.engine(dir, -time.Hour)
		l.start()
		s := w.untilIs("expired", func(s discovery.Snapshot) bool {
			return !s.Connected && strings.Contains(s.Err.Error(), "has expired or is not valid yet; renew it")
		})
		t.Log(s.Err)
	})
}

// await waits until the engine answers.
func (l *lab) await() {
	l.t.Helper()
	l.run("sh", "-c", "for i in $(seq 600); do docker -H "+l.url()+" version >/dev/null 2>&1 && exit; sleep 0.1; done; exit 1")
}

// sshd starts one in the namespace, with a private /run, on a port. env is what its sessions get.
func (l *lab) sshd(port int, env string) {
	l.t.Helper()
	conf := fmt.Sprintf("%s/sshd-%d", l.dir, port)
	text := fmt.Sprintf("Port %d\nHostKey %s/host\nAuthorizedKeysFile %[2]s/key.pub\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nSetEnv %s\n", port, l.dir, env)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command("nsenter", "--net=/run/netns/"+l.ns, "unshare", "--mount", "sh", "-c",
		"mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f "+conf+" 2>"+conf+".log")
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if log, err := os.ReadFile(conf + ".log"); err == nil && l.t.Failed() {
			l.t.Logf("sshd: %s", log)
		}
	})
	l.run("sh", "-c", fmt.Sprintf("for i in $(seq 400); do ssh-keyscan -p %d %s 2>/dev/null | grep -q . && exit; sleep 0.05; done; exit 1", port, thereAddress))
}

// ssh writes an ssh program that reads these files and nothing of the machine's
// user, and knows hosts by /etc/hosts alone: no name server keeps it waiting.
func (l *lab) ssh(name, key, knownHosts string) string {
	l.t.Helper()
	program := filepath.Join(l.dir, name)
	names := filepath.Join(l.dir, "nsswitch.conf")
	if err := os.WriteFile(names, []byte("passwd: files\ngroup: files\nhosts: files\n"), 0o644); err != nil {
		l.t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec unshare --mount sh -c 'mount --bind "+names+" /etc/nsswitch.conf && exec ssh -F none \"$@\"' ssh -o IdentityFile=%s/%s -o IdentitiesOnly=yes -o IdentityAgent=none -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile=%[1]s/%[3]s \"$@\"\n", l.dir, key, knownHosts)
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		l.t.Fatal(err)
	}
	return program
}

// TestRealSSH reaches a real engine through a real sshd.
func TestRealSSH(t *testing.T) {
	l := newLab(t)
	l.reachable(hereAddress+"/30", thereAddress+"/30")
	for _, name := range []string{"host", "key", "stranger"} {
		l.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", l.dir+"/"+name)
	}
	l.sshd(22, "DOCKER_HOST="+l.url())
	l.sshd(2222, "PATH=/nonexistent")
	l.sshd(2223, "DOCKER_HOST=unix:///nonexistent.sock")
	l.run("sh", "-c", fmt.Sprintf(`cd %s; host=$(cut -d" " -f1,2 host.pub); other=$(cut -d" " -f1,2 stranger.pub); : >none
		for name in %[2]s '[%[2]s]:2222' '[%[2]s]:2223'; do echo "$name $host" >>known; echo "$name $other" >>changed; done`, l.dir, thereAddress))
	l.image()
	good := l.ssh("ssh", "key", "known")
	const url = "ssh://root@" + thereAddress
	for _, tc := range []struct{ name, url, ssh, want string }{
		{"unknown host", url + ":2222", l.ssh("unknown", "key", "none"), "host key is unknown; compare it, then ssh-keyscan -H -p 2222 198.18.77.2 >> ~/.ssh/known_hosts"},
		{"another host", url, l.ssh("another", "key", "changed"), "the machine's host key is not the one in known_hosts"},
		{"permission denied", url, l.ssh("denied", "stranger", "known"), "ssh refuses root: no key is accepted; add this node's public key to ~root/.ssh/authorized_keys there"},
		{"no docker", url + ":2222", good, "there is no docker program in root's PATH there; install the Docker CLI"},
		{"no engine", url + ":2223", good, "the Docker engine does not run there"},
		{"no sshd", url + ":2224", good, "ssh is refused: is sshd running and listening there?"},
		{"no machine", "ssh://root@host.invalid", good, "its host name is not known here"},
		{"no ssh", url, "/nonexistent/ssh", "there is no ssh program on this node"},
	} {
		t.Run(tc.name, func(t *testing.T) { says(t, Options{URL: tc.url, SSH: tc.ssh}, tc.want) })
	}
	w := watch(t, Options{URL: url, SSH: good, Relist: time.Hour, Ping: 500 * time.Millisecond, Timeout: 2 * time.Second})
	w.untilIs("connected", func(s discovery.Snapshot) bool { return s.Connected })
	l.docker("run -d --name web echo:1")
	w.untilIs("web runs", func(s discovery.Snapshot) bool { return strings.Contains(line(s), "web running") })
	began := time.Now()
	go func() { _ = exec.Command("docker", "-H", l.url(), "kill", "web").Run() }()
	w.untilIs("web ended", func(s discovery.Snapshot) bool { return strings.Contains(line(s), "web stopped") })
	t.Logf("an end was seen %v after the command that caused it was started", time.Since(began).Round(time.Millisecond))
	l.signal(syscall.SIGSTOP, false)
	w.untilIs("hung", func(s discovery.Snapshot) bool { return !s.Connected && strings.Contains(line(s), "web stopped") })
	l.signal(syscall.SIGCONT, false)
	w.untilIs("answers again", func(s discovery.Snapshot) bool { return s.Connected })
	w.stop()
	l.ended("ssh after the watcher")

	// A controller that was killed closes the pipes, and can do no more.
	e, err := New(Options{URL: url, SSH: good})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := e.ssh.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("GET /events HTTP/1.1\r\nHost: d\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	c := conn.(*sshConn)
	c.in.Close()
	c.out.Close()
	l.ended("ssh after its pipes")
	c.cancel()
}

// ended waits until no process of the lab's ssh client is left.
func (l *lab) ended(what string) {
	l.t.Helper()
	script := "for i in $(seq 300); do pgrep -f -- '^ssh -F none -o IdentityFile=" + l.dir + "' >/dev/null || exit 0; sleep 0.1; done; exit 1"
	if err := exec.Command("sh", "-c", script).Run(); err != nil {
		l.t.Errorf("%s lives on", what)
	}
}
