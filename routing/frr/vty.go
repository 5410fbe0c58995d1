package frr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	vtyTimeout = 2 * time.Second // longest wait for one answer
	maxAnswer  = 64 << 20
)

// Codes that end an answer: FRR's lib/command.h.
const (
	cmdSuccess       = 0
	cmdWarning       = 1
	cmdSuccessDaemon = 10
)

// vty is a connection to one daemon, as vtysh makes it: a command ends with a
// NUL, its answer with three NULs and a code. It costs a tenth of a
// millisecond a command, where vtysh costs thirty.
type vty struct {
	daemon string
	conn   *net.UnixConn
	pid    int // of the daemon that listens
	at     []string
	config bool
}

func dial(ctx context.Context, dir, daemon string) (*vty, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, daemon+".vty"))
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", daemon, err)
	}
	v := &vty{daemon: daemon, conn: conn.(*net.UnixConn)}
	raw, err := v.conn.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) {
			if who, fault := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); fault == nil {
				v.pid = int(who.Pid)
			}
		}))
	}
	if err == nil {
		_, err = v.run(ctx, "enable")
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("reach %s: %w", daemon, err)
	}
	return v, nil
}

// run sends one command and gives what the daemon says. A command that it
// refuses is a *refusal.
func (v *vty) run(ctx context.Context, line string) (string, error) {
	if strings.ContainsAny(line, "\x00\n\r") {
		return "", fmt.Errorf("ask %s: %q is not one line", v.daemon, line)
	}
	deadline := time.Now().Add(vtyTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = v.conn.SetDeadline(deadline)
	if _, err := v.conn.Write(append([]byte(line), 0)); err != nil {
		return "", fmt.Errorf("ask %s: %w", v.daemon, err)
	}
	var said []byte
	buffer := make([]byte, 16<<10)
	for {
		n, err := v.conn.Read(buffer)
		if err != nil {
			return "", fmt.Errorf("ask %s: %w", v.daemon, err)
		}
		said = append(said, buffer[:n]...)
		if end := len(said) - 4; end >= 0 && bytes.Equal(said[end:end+3], []byte{0, 0, 0}) {
			return v.judge(line, string(said[:end]), said[end+3])
		}
		if len(said) > maxAnswer {
			return "", fmt.Errorf("ask %s: an answer without end", v.daemon)
		}
	}
}

func (v *vty) judge(line, said string, code byte) (string, error) {
	switch code {
	case cmdSuccess, cmdWarning, cmdSuccessDaemon:
		return said, nil
	}
	return said, &refusal{v.daemon, veiled(line), strings.TrimSpace(said), code}
}

// refusal is a command that the daemon did not take.
type refusal struct {
	daemon, line, said string
	code               byte
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s refuses %q: %s (code %d)", r.daemon, r.line, r.said, r.code)
}

// veiled is a line as it may be shown.
func veiled(line string) string {
	words := strings.Fields(line)
	for i, word := range words[:max(len(words)-1, 0)] {
		if word == "password" || word == "md5" {
			words[i+1] = "***"
		}
	}
	return strings.Join(words, " ")
}

// configure makes one change. The blocks it stands in are entered first,
// unless the one before left us there.
func (v *vty) configure(ctx context.Context, c directive) error {
	if !v.config || !slices.Equal(v.at, c.Context) {
		if v.config {
			if _, err := v.run(ctx, "end"); err != nil {
				return err
			}
			v.config = false
		}
		for _, line := range append([]string{"configure terminal"}, c.Context...) {
			if _, err := v.run(ctx, line); err != nil {
				return err
			}
		}
		v.config, v.at = true, c.Context
	}
	if _, err := v.run(ctx, c.Line); err != nil {
		return err
	}
	if c.isContainer() || c.isBlock() {
		v.at = append(slices.Clone(c.Context), c.Line)
	}
	return nil
}

// leave goes back to where questions are asked.
func (v *vty) leave(ctx context.Context) error {
	if !v.config {
		return nil
	}
	v.config, v.at = false, nil
	_, err := v.run(ctx, "end")
	return err
}

func (v *vty) close() { _ = v.conn.Close() }
