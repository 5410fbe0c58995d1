package frr

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/routing"
)

// silent is want without anything to announce.
func silent(want routing.Config) routing.Config {
	want.Prefixes = nil
	if want.OSPF != nil {
		quiet := *want.OSPF
		quiet.Prefixes = nil
		want.OSPF = &quiet
	}
	return want
}

// Leave ends the speaker and nothing else: the daemons go on as they were told.
func (s *Speaker) Leave() {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, d := range s.daemons {
		d.hangUp()
	}
}

// Withdraw has the daemons that run announce nothing, in the place of a speaker
// that is dead and wanted want. It starts none, and sessions stay. Of our own, one that does
// not do as it is told is killed: its routes go with it.
func (s *Speaker) Withdraw(ctx context.Context, want routing.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !want.NeedsFRR() {
		return nil
	}
	s.want = silent(want)
	text, err := Render(s.complete(s.want))
	if err != nil {
		return err
	}
	all := parse(text)
	var errs []error
	for _, name := range []string{"bgpd", "ospfd", "ospf6d"} {
		errs = append(errs, s.silence(ctx, name, forDaemon(name, all)))
	}
	return errors.Join(errs...)
}

// silence leads one daemon to lines, if it runs.
func (s *Speaker) silence(ctx context.Context, name string, lines []directive) error {
	d := &daemon{name: name, begun: time.Now().Add(-startTime)}
	defer d.hangUp()
	if s.want.FRR.Attach {
		if len(lines) == 0 {
			return nil
		}
		_, _, err := s.bring(ctx, d, lines)
		return err
	}
	p, err := supervise.Adopt(filepath.Join(s.opts.RunDir, name+".json"))
	if errors.Is(err, supervise.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	d.process = p
	if _, up, err := s.bring(ctx, d, lines); err != nil || !up {
		s.log.Warn("daemon killed: it does not withdraw", "daemon", name, "pid", p.PID, "err", err)
		return p.Signal(syscall.SIGKILL)
	}
	return nil
}
