package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	sshConnections = 4                // at once to one engine: each is an ssh process and a login
	sshSetup       = 10 * time.Second // for ssh to connect
	sshGrace       = time.Second      // for a process to end, or to say why it has
	sshNoise       = 4096             // bytes of its complaint that are kept
)

// sshDialer reaches the engine of another machine as the Docker CLI does: an
// ssh process whose other end is `docker system dial-stdio`. Keys, known hosts
// and jumps are those of the user's ssh configuration.
type sshDialer struct {
	program string
	args    []string
}

// newSSHDialer makes the command line. No shell reads it here, the one over
// there gets fixed words, and "--" keeps a name from being an option.
func newSSHDialer(program string, u *url.URL) (*sshDialer, error) {
	host, port := u.Hostname(), u.Port()
	switch {
	case u.User.Username() == "" || host == "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("is not ssh://user@host[:port]")
	case strings.HasPrefix(u.User.Username(), "-") || strings.HasPrefix(host, "-"):
		return nil, errors.New("names a user or host that begins with a dash")
	}
	args := []string{"-T", "-a", "-x", "-l", u.User.Username()}
	if port != "" && port != "22" { // the usual one may be another in ~/.ssh/config
		args = append(args, "-p", port)
	}
	for _, option := range []string{
		"BatchMode=yes", fmt.Sprintf("ConnectTimeout=%d", sshSetup/time.Second), "ServerAliveInterval=3", "ServerAliveCountMax=2",
		"ClearAllForwardings=yes", "PermitLocalCommand=no", "RemoteCommand=none", "LogLevel=ERROR",
	} {
		args = append(args, "-o", option)
	}
	return &sshDialer{program: program, args: append(args, "--", host, "docker", "system", "dial-stdio")}, nil
}

// dial starts ssh. Whether it gets through shows at the first read or write.
func (d *sshDialer) dial(context.Context, string, string) (net.Conn, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, &dialError{cause: err}
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, &dialError{cause: err}
	}
	defer theirOut.Close()
	ctx, cancel := context.WithCancel(context.Background())
	c := &sshConn{in: in, out: out, cancel: cancel, done: make(chan struct{})}
	cmd := exec.CommandContext(ctx, d.program, d.args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, &c.noise
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal to ask on
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = sshGrace
	if err := cmd.Start(); err != nil {
		c.Close()
		return nil, &dialError{cause: err}
	}
	go func() {
		defer close(c.done)
		c.ended = cmd.Wait()
	}()
	return c, nil
}

// sshConn is an ssh process as a connection.
type sshConn struct {
	in, out *os.File // ours: what the process reads, and what it writes
	cancel  context.CancelFunc
	noise   noise
	done    chan struct{}
	ended   error // why the process ended; to be read after done
}

// Read reads what the engine says. At the end it says why there is no more.
func (c *sshConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		err = c.reason(err)
	}
	return n, err
}

func (c *sshConn) Write(p []byte) (int, error) {
	n, err := c.in.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = c.reason(err)
	}
	return n, err
}

// reason is why the process has ended, or else what was seen of it.
func (c *sshConn) reason(seen error) error {
	select {
	case <-c.done:
	case <-time.After(sshGrace):
		return seen
	}
	if exit, ok := errors.AsType[*exec.ExitError](c.ended); ok {
		return &sshError{code: exit.ExitCode(), said: c.noise.String()}
	}
	return seen
}

// Close ends the process, in the background if it takes its time.
func (c *sshConn) Close() error {
	err := errors.Join(c.in.Close(), c.out.Close())
	c.cancel()
	return err
}

// SetDeadline and its like bound reads and writes.
func (c *sshConn) SetDeadline(t time.Time) error {
	return errors.Join(c.in.SetDeadline(t), c.out.SetDeadline(t))
}
func (c *sshConn) SetReadDeadline(t time.Time) error  { return c.out.SetDeadline(t) }
func (c *sshConn) SetWriteDeadline(t time.Time) error { return c.in.SetDeadline(t) }
func (c *sshConn) LocalAddr() net.Addr                { return sshAddr{} }
func (c *sshConn) RemoteAddr() net.Addr               { return sshAddr{} }

type sshAddr struct{}

func (sshAddr) Network() string { return "ssh" }
func (sshAddr) String() string  { return "ssh" }

// noise keeps the end of what a process complains of.
type noise struct {
	mu   sync.Mutex
	text []byte
}

func (n *noise) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = append(n.text, p...)
	n.text = bytes.Clone(n.text[max(0, len(n.text)-sshNoise):])
	return len(p), nil
}

func (n *noise) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return string(n.text)
}

// sshError is an ssh process that failed. Like [dialError] it says nothing by
// itself: the client library replaces texts that it believes to know.
type sshError struct {
	code int    // 255 is ssh's own, others are the remote command's; -1 a signal
	said string // on stderr
}

func (e *sshError) Error() string { return "ssh failed" }

// lastLine is what ssh, or docker over there, said last, harmless to print.
func (e *sshError) lastLine() string {
	lines := strings.FieldsFunc(e.said, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return "no reason given"
	}
	text := []rune(strings.ToValidUTF8(lines[len(lines)-1], "?"))
	for i, r := range text {
		if !strconv.IsPrint(r) {
			text[i] = '?'
		}
	}
	return string(text[:min(len(text), 200)])
}

// sshHints say what can be done, by a word of ssh or of docker over there.
// The first that fits counts; USER, KEYSCAN and ENTRY are filled in.
var sshHints = []struct{ said, hint string }{
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", "the machine's host key is not the one in known_hosts: it was set up anew, or another machine answers; compare the keys, then ssh-keygen -R ENTRY and KEYSCAN >> ~/.ssh/known_hosts"},
	{"Host key verification failed", "the machine's host key is unknown; compare it, then KEYSCAN >> ~/.ssh/known_hosts, as the user that runs vipilot"},
	{"Permission denied", "ssh refuses USER: no key is accepted; add this node's public key to ~USER/.ssh/authorized_keys there"},
	{"Too many authentication failures", "ssh refuses USER after too many keys; name the right one by IdentityFile in ~/.ssh/config"},
	{"Could not resolve hostname", "its host name is not known here; write an IP address, or add it to DNS"},
	{"Connection refused", "ssh is refused: is sshd running and listening there?"},
	{"timed out", "no answer: is the machine up, and does a firewall drop the ssh port?"},
	{"No route to host", "no route to the machine: is it up and on this network?"},
	{"connect: permission denied", "USER may not use the Docker socket there; usermod -aG docker USER"},
	{"failed to open the raw stream connection", "the Docker engine does not run there, or not on its default socket; systemctl start docker, or set DOCKER_HOST for USER"},
	{"is not a docker command", "the docker program there is older than 18.09 and cannot dial-stdio; upgrade it"},
}

// explain is one line: what went wrong, and what would help.
func (e *sshError) explain(u *url.URL) string {
	scan, entry := "ssh-keyscan -H "+u.Hostname(), u.Hostname()
	if port := u.Port(); port != "" && port != "22" {
		scan, entry = "ssh-keyscan -H -p "+port+" "+u.Hostname(), fmt.Sprintf("'[%s]:%s'", u.Hostname(), port)
	}
	for _, h := range sshHints {
		if strings.Contains(e.said, h.said) {
			return strings.NewReplacer("USER", u.User.Username(), "KEYSCAN", scan, "ENTRY", entry).Replace(h.hint)
		}
	}
	switch e.code {
	case 127:
		return fmt.Sprintf("there is no docker program in %s's PATH there; install the Docker CLI", u.User.Username())
	case 126:
		return fmt.Sprintf("%s may not run the docker program there (%s)", u.User.Username(), e.lastLine())
	}
	return fmt.Sprintf("ssh ended with code %d: %s", e.code, e.lastLine())
}
