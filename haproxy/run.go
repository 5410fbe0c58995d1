package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vipilot/vipilot/internal/rhythm"
)

const (
	firstRestart, lastRestart = 100 * time.Millisecond, 10 * time.Second
	maxLog                    = 4 << 20
	maxDeleteTries            = 20
	saveRest                  = 9 // times what writing the files took: how long they may then be behind
)

// Run watches over the process until ctx ends: it restarts a dead HAProxy with
// what was applied last, follows the health of servers, deletes the servers
// that left, and writes the files behind runtime updates. It never stops
// HAProxy. Run it once.
func (h *HAProxy) Run(ctx context.Context) error {
	feed, err := h.listen()
	if err != nil {
		return err
	}
	h.active.Store(true)
	defer func() {
		h.active.Store(false)
		h.flush()
	}()
	touched := backendSet{names: make(map[string]int), ready: make(chan struct{}, 1)}
	g, ctx := errgroup.WithContext(ctx)
	context.AfterFunc(ctx, func() { _ = feed.Close() })
	g.Go(func() error { return readFeed(ctx, feed, &touched) })
	g.Go(func() error { h.follow(ctx, &touched); return nil })
	g.Go(func() error { h.tend(ctx); return nil })
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-h.unsaved:
				began := time.Now()
				h.flush()
				select { // a large file is not written for each change of many
				case <-ctx.Done():
				case <-time.After(saveRest * time.Since(began)):
				}
			}
		}
	})
	return g.Wait()
}

// listen opens the socket HAProxy logs to. It sends every line anew by path,
// so it finds the socket of the next controller too.
func (h *HAProxy) listen() (*net.UnixConn, error) {
	if err := h.paths.makeSockets(); err != nil {
		return nil, err
	}
	if err := os.Remove(h.paths.log()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen to haproxy: %w", err)
	}
	feed, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: h.paths.log(), Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen to haproxy: %w", err)
	}
	if h.paths.Jail.closed() { // connecting to a socket is writing to its file, and others cannot get into the run directory
		if err := os.Chmod(h.paths.log(), 0o666); err != nil {
			return nil, errors.Join(fmt.Errorf("listen to haproxy: %w", err), feed.Close())
		}
	}
	return feed, nil
}

// backendSet collects the backends whose servers changed, until somebody looks.
type backendSet struct {
	mu    sync.Mutex
	names map[string]int // lines seen
	ready chan struct{}
}

func (s *backendSet) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name]++
	signal(s.ready)
}

func (s *backendSet) take() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.names
	s.names = make(map[string]int)
	return names
}

// readFeed only reads, as the socket holds few lines before HAProxy drops more.
func readFeed(ctx context.Context, feed *net.UnixConn, touched *backendSet) error {
	line := make([]byte, 4096)
	for {
		n, err := feed.Read(line)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listen to haproxy: %w", err)
		}
		if backend := feedBackend(string(line[:n])); backend != "" {
			touched.add(backend)
		}
	}
}

// feedBackend is the backend of a line like "Server be/s1 is DOWN, reason: …",
// "" when the line tells of no change of health.
func feedBackend(line string) string {
	_, rest, ok := strings.Cut(line, "Server ")
	name, what, ok2 := strings.Cut(rest, " is ")
	backend, server, ok3 := strings.Cut(name, "/")
	if !ok || !ok2 || !ok3 || !nameForm.MatchString(backend) || !nameForm.MatchString(server) {
		return ""
	}
	if !strings.HasPrefix(what, "UP") && !strings.HasPrefix(what, "DOWN") {
		return ""
	}
	return backend
}

// follow turns the feed, and a slow look at everything, into health.
func (h *HAProxy) follow(ctx context.Context, touched *backendSet) {
	poll := time.NewTimer(rhythm.Next(h.opts.PollInterval))
	defer poll.Stop()
	for {
		var backends []string
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			poll.Reset(rhythm.Next(h.opts.PollInterval))
			backends = []string{""}
			h.trimLog()
		case <-touched.ready:
			lines := 0
			for name, n := range touched.take() {
				backends = append(backends, name)
				lines += n
			}
			if lines >= 8 { // lines may have been dropped
				backends = []string{""}
			}
		}
		for _, backend := range backends {
			if err := h.look(ctx, backend); err != nil && ctx.Err() == nil {
				h.log.Warn("look at haproxy's servers", "err", err)
			}
		}
	}
}

// look asks for the health of a backend's servers, of all when it is "".
func (h *HAProxy) look(ctx context.Context, backend string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.alive() || !h.known {
		return nil
	}
	has := func(b *Backend) bool { return b.Name == backend }
	if backend != "" && !slices.ContainsFunc(h.applied.Backends, has) {
		return nil
	}
	_, list, err := h.showServers(ctx, backend)
	if err != nil {
		return err
	}
	verdicts := make(map[ServerKey]Health, len(list))
	for _, o := range list {
		if h.leaving[o.ServerKey] == nil {
			verdicts[o.ServerKey.ofService()] = o.health
		}
	}
	var gone []ServerKey
	if backend == "" {
		h.Servers().keys(func(key ServerKey) {
			if _, ok := verdicts[key]; !ok {
				gone = append(gone, key)
			}
		})
		h.countWorkers()
		if h.replaced() {
			signal(h.poke) // the next Set reloads
		}
	}
	h.setHealth(verdicts, gone)
	return nil
}

// trimLog keeps HAProxy's log from growing for ever; HAProxy appends.
func (h *HAProxy) trimLog() {
	if h.logSize() > maxLog {
		if err := os.Truncate(h.logFile(), 0); err != nil {
			h.log.Warn("trim haproxy's log", "err", err)
		}
	}
}

// tend restarts a dead HAProxy, with growing pauses while it keeps dying, and
// deletes servers when their time has come. It counts the old workers as long
// as there are any.
func (h *HAProxy) tend(ctx context.Context) {
	var dead <-chan struct{} // the process whose death is known already
	var again, due, count <-chan time.Time
	look := h.nextLook()
	pause, born := firstRestart, time.Now()
	for {
		died := h.done()
		if died == dead {
			died = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-due:
			h.deleteDue(ctx)
		case <-count:
			h.recount()
		case <-look:
			h.lookForIt()
		case <-died:
			dead = died
			h.buried()
			if h.opts.Attach {
				break
			}
			wait := time.Duration(0)
			if time.Since(born) < lastRestart {
				wait = pause
				pause = min(2*pause, lastRestart)
			} else {
				pause = firstRestart
			}
			again = time.After(wait)
		case <-again:
			again = nil
			if err := h.revive(ctx); err != nil && ctx.Err() == nil {
				h.log.Error("haproxy is dead and cannot be restarted", "retry", pause, "err", err)
				again = time.After(pause)
				pause = min(2*pause, lastRestart)
			}
			born = time.Now()
		}
		due, count, look = h.nextDeletion(), h.nextCount(), h.nextLook()
	}
}

// done is closed when the present process has ended; nil when there is none.
func (h *HAProxy) done() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.proc == nil {
		return nil
	}
	return h.proc.Done()
}

// revive starts a HAProxy that died, with what it ran last.
func (h *HAProxy) revive(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing || h.alive() || h.applied.Backends == nil && h.applied.Frontends == nil {
		return nil
	}
	err := h.start(ctx, h.applied)
	h.seen.Lock()
	defer h.seen.Unlock()
	h.status.Err = err
	if err != nil {
		return err
	}
	h.status.Restarts++
	h.log.Warn("haproxy had died and was started again", "pid", h.status.PID, "restarts", h.status.Restarts)
	return nil
}

// nextDeletion fires when the next server may be deleted; nil when none waits.
func (h *HAProxy) nextDeletion() <-chan time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	var next time.Time
	for _, d := range h.leaving {
		if at := d.next(); next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.IsZero() {
		return nil
	}
	return time.After(time.Until(next))
}

// deleteDue deletes the servers whose time has come. HAProxy refuses while
// connections last; in the end the next reload forgets the server.
func (h *HAProxy) deleteDue(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.alive() || !h.known {
		clear(h.leaving)
		return
	}
	now := time.Now()
	asked := make(map[string]ServerKey)
	var requests []request
	h.cutSessions(ctx, now)
	for key, d := range h.leaving {
		if d.due.After(now) {
			continue
		}
		text := "del server " + key.Backend + "/" + key.Server
		asked[text] = key
		requests = append(requests, request{text: text, want: "Server deleted"})
		d.tries++
		d.due = now.Add(h.opts.DeleteDelay)
	}
	failed, err := h.cli.do(ctx, requests)
	for _, r := range failed {
		if h.leaving[asked[r.text]].tries < maxDeleteTries {
			delete(asked, r.text)
		}
	}
	for _, key := range asked {
		delete(h.leaving, key)
	}
	h.log.Debug("servers deleted", "done", len(requests)-len(failed), "refused", len(failed), "err", err)
}

// cutSessions ends what is left on servers whose drain time is over.
func (h *HAProxy) cutSessions(ctx context.Context, now time.Time) {
	var requests []request
	for key, d := range h.leaving {
		if d.cut.IsZero() || d.cut.After(now) {
			continue
		}
		d.cut = time.Time{}
		d.due = now.Add(max(time.Second, d.due.Sub(now))) // sessions end a moment after the command
		requests = append(requests, request{text: "shutdown sessions server " + key.Backend + "/" + key.Server})
	}
	if _, err := h.cli.do(ctx, requests); err != nil {
		h.log.Warn("end the sessions of servers that left", "err", err)
	}
}
