package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
	"unicode"
)

// request is one runtime command with the words that mean success, "" for an
// empty reply: HAProxy reports an unknown command at the same severity as a
// success, so the words must match. Owner is what becomes uncertain when it
// fails: a backend, or a map.
type request struct {
	text  string
	want  string
	owner string
}

// accepts reports whether the reply is the one that means success.
func (r request) accepts(reply string) bool {
	if r.want == "" {
		return reply == ""
	}
	return strings.Contains(reply, r.want)
}

// batchBytes bounds one line: HAProxy reads at most tune.bufsize (16 KiB) of it.
const (
	batchBytes  = 12 << 10
	maxReply    = 64 << 20
	cliDeadline = 5 * time.Second
)

// cli speaks to HAProxy's stats socket, one command line at a time: the
// mutex matters, HAProxy 2.6 may crash when a dump meets a deletion. Every
// exchange has a connection of its own, for one that stays open would keep
// talking to, and keep alive, the old worker after a reload.
type cli struct {
	mu   sync.Mutex
	path string
}

// ask sends one line and returns everything HAProxy answers.
func (c *cli) ask(ctx context.Context, line string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return exchange(ctx, c.path, line)
}

// exchange opens a connection, sends line and reads until HAProxy closes.
func exchange(ctx context.Context, path, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, cliDeadline)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return "", fmt.Errorf("ask haproxy: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", fmt.Errorf("ask haproxy: %w", errors.Join(ctx.Err(), err))
	}
	reply, err := io.ReadAll(io.LimitReader(conn, maxReply))
	if err != nil {
		return string(reply), fmt.Errorf("read haproxy's answer: %w", errors.Join(ctx.Err(), err))
	}
	return string(reply), nil
}

// do sends the requests in order, many to a line, and checks the reply to
// each. It goes on after a refusal; failed lists the requests not confirmed.
func (c *cli) do(ctx context.Context, requests []request) (failed []request, err error) {
	var errs []error
	for len(requests) > 0 {
		n, size := 0, 0
		for n < len(requests) && (n == 0 || size+len(requests[n].text) < batchBytes) {
			size += len(requests[n].text) + 1
			n++
		}
		bad, err := c.batch(ctx, requests[:n])
		failed = append(failed, bad...)
		errs = append(errs, err)
		if ctx.Err() != nil {
			return append(failed, requests[n:]...), errors.Join(append(errs, ctx.Err())...)
		}
		requests = requests[n:]
	}
	return failed, errors.Join(errs...)
}

func (c *cli) batch(ctx context.Context, requests []request) ([]request, error) {
	// Only with the prompt is the end of each reply certain: 2.6 ends some
	// with one newline and some with two.
	words := []string{"prompt", "set severity-output number"}
	for _, r := range requests {
		words = append(words, r.text)
	}
	reply, err := c.ask(ctx, strings.Join(append(words, "quit"), ";"))
	if err != nil {
		return requests, err
	}
	replies, err := splitReplies(reply, len(words))
	if err != nil {
		return requests, err
	}
	var failed []request
	var errs []error
	for i, r := range requests {
		if got := replies[i+2]; !r.accepts(got) {
			failed = append(failed, r)
			errs = append(errs, fmt.Errorf("haproxy refused %q: %s", r.text, firstLine(got)))
		}
	}
	return failed, errors.Join(errs...)
}

// splitReplies takes the answers of n commands in prompt mode apart. Each ends
// with the prompt on a line of its own; "[6]: " before a text is its severity.
func splitReplies(all string, n int) ([]string, error) {
	parts := strings.Split(all, "\n> ")
	if len(parts) != n+1 || strings.TrimSpace(parts[n]) != "" {
		return nil, fmt.Errorf("haproxy answered %d of %d commands: %s", len(parts)-1, n, firstLine(all))
	}
	for i, part := range parts {
		part = strings.TrimSpace(part)
		if len(part) > 4 && part[0] == '[' && part[1] >= '0' && part[1] <= '7' && part[2:4] == "]:" {
			part = strings.TrimSpace(part[4:])
		}
		parts[i] = part
	}
	return parts[:n], nil
}

// firstLine is the beginning of an answer, for people.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if s == "" {
		return "no answer"
	}
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
