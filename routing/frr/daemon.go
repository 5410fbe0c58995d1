package frr

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/render"
	"github.com/vipilot/vipilot/routing"
)

const (
	startTime  = 5 * time.Second // a daemon may take this long to answer
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
	steady     = 10 * time.Second // a daemon that lived this long starts the backoff anew
	// farewell is how long the next ospfd or ospf6d waits until zebra and bfdd have
	// told routers of the end of the one before. A router that learned of it only
	// from the next one's first packets kept the route for five seconds.
	farewell = 500 * time.Millisecond
)

// daemon is one of FRR's, as far as we have come with it.
type daemon struct {
	name      string
	process   *supervise.Process // nil when attached
	begun     time.Time
	pause     time.Duration // before the next start
	fault     error         // why the last one ended
	vty       *vty
	have      []directive
	foreign   map[string]bool // neighbors and BFD peers of somebody else
	announced []netip.Prefix
	err       error
}

// told is what a daemon was given, on disk for the next of us.
type told struct {
	PID       int         `json:"pid"`
	StartTime uint64      `json:"start_time"`
	Lines     []directive `json:"lines"`
}

func (d *daemon) ended() bool {
	if d.process == nil {
		return false
	}
	select {
	case <-d.process.Done():
		return true
	default:
		return false
	}
}

func (d *daemon) hangUp() {
	if d.vty != nil {
		d.vty.close()
		d.vty = nil
	}
}

// bring has the daemon run, and told exactly lines. up is false while it starts.
func (s *Speaker) bring(ctx context.Context, d *daemon, lines []directive) (changed, up bool, err error) {
	dir := s.opts.RunDir
	if s.want.FRR.Attach {
		dir = cmp.Or(s.want.FRR.Dir, systemDir)
		d.process = nil
	} else if up, err := s.run(d); err != nil || !up {
		return false, false, err
	}
	if d.vty == nil {
		if d.vty, err = dial(ctx, dir, d.name); err != nil {
			if d.process != nil && time.Since(d.begun) < startTime {
				time.AfterFunc(20*time.Millisecond, s.poke)
				return false, false, nil
			}
			return false, false, err
		}
		if err := s.meet(ctx, d); err != nil {
			d.hangUp()
			return false, false, err
		}
		changed = true
	}
	if s.want.FRR.Attach {
		lines = withoutForeign(lines, d.foreign)
	}
	did, err := s.tell(ctx, d, lines)
	return changed || did, err == nil, err
}

// run has our own daemon run: the one we know, the one recorded, or a new one.
func (s *Speaker) run(d *daemon) (up bool, err error) {
	record := filepath.Join(s.opts.RunDir, d.name+".json")
	if d.process != nil && d.ended() {
		d.fault = fmt.Errorf("%s ended: %s", d.name, s.lastWords(d.name))
		s.log.Warn("daemon ended", "daemon", d.name, "pid", d.process.PID)
		d.hangUp()
		if d.name == "zebra" {
			s.widow()
		} else {
			s.silenced(d.name)
		}
		d.process, d.have, d.announced = nil, nil, nil
		if d.pause = min(max(2*d.pause, backoffMin), backoffMax); time.Since(d.begun) > steady {
			d.pause = 0
		}
		if versions[d.name] > 0 {
			d.pause = max(d.pause, farewell)
		}
		d.begun = time.Now()
	}
	if d.process != nil {
		return true, nil
	}
	if d.process, err = supervise.Adopt(record); err == nil {
		s.log.Info("daemon adopted", "daemon", d.name, "pid", d.process.PID)
	} else if !errors.Is(err, supervise.ErrNotRunning) {
		return false, err
	} else if !s.mayStart(d.name) {
		return false, nil
	} else if wait := d.pause - time.Since(d.begun); wait > 0 {
		time.AfterFunc(wait, s.poke)
		return false, d.fault
	} else {
		spec, err := s.spec(d.name, record)
		if err != nil {
			return false, err
		}
		if d.process, err = supervise.Start(spec); err != nil {
			return false, err
		}
		s.log.Info("daemon started", "daemon", d.name, "pid", d.process.PID)
		delete(s.standing, d.name) // that was another one's
	}
	d.begun = time.Now()
	go func(p *supervise.Process) { <-p.Done(); s.poke() }(d.process)
	return true, nil
}

// meet finds out what the daemon behind a fresh connection has of ours.
func (s *Speaker) meet(ctx context.Context, d *daemon) error {
	d.have, d.announced = nil, nil
	started, err := supervise.StartTime(d.vty.pid)
	if err != nil {
		return fmt.Errorf("%s has ended", d.name)
	}
	var last told
	if data, err := os.ReadFile(s.toldFile(d.name)); err == nil && json.Unmarshal(data, &last) == nil &&
		last.PID == d.vty.pid && last.StartTime == started {
		d.have = last.Lines
		d.learnAnnounced()
	}
	if s.want.FRR.Attach {
		return s.respect(ctx, d)
	}
	return nil
}

// tell leads the daemon to lines. What it refuses is tried again next time.
func (s *Speaker) tell(ctx context.Context, d *daemon, lines []directive) (changed bool, err error) {
	todo := diff(d.have, lines)
	if len(todo) == 0 {
		return false, nil
	}
	// The record comes first: what may have been said must not be forgotten.
	if err := s.remember(d, union(d.have, lines)); err != nil {
		return false, err
	}
	failed := make(map[string]bool)
	var errs []error
	for _, c := range todo {
		err := d.vty.configure(ctx, c)
		if err == nil {
			continue
		}
		failed[c.text()] = true
		errs = append(errs, err)
		if refused := new(refusal); !errors.As(err, &refused) {
			d.hangUp()
			d.have = union(d.have, lines) // whatever of it has arrived
			return true, errors.Join(errs...)
		}
	}
	if err := d.vty.leave(ctx); err != nil {
		d.hangUp()
	}
	d.have = slices.DeleteFunc(slices.Clone(lines), func(c directive) bool { return failed[c.text()] })
	d.learnAnnounced()
	if len(errs) == len(todo) { // nothing changed: to be told so again at once would go on for ever
		return false, errors.Join(append(errs, s.remember(d, d.have))...)
	}
	s.log.Info("told", "daemon", d.name, "lines", len(todo)-len(errs))
	return true, errors.Join(append(errs, s.remember(d, d.have))...)
}

func union(a, b []directive) []directive {
	known := texts(b)
	return append(slices.DeleteFunc(slices.Clone(a), func(c directive) bool { return known[c.text()] }), b...)
}

// learnAnnounced reads the prefixes out of what the daemon has.
func (d *daemon) learnAnnounced() {
	d.announced = nil
	for _, c := range d.have {
		words := strings.Fields(c.Line)
		text := ""
		switch {
		case words[0] == "network" && d.name == "bgpd":
			text = words[1]
		case len(words) == 5 && words[1] == "prefix-list" && strings.HasPrefix(d.name, "ospf"):
			text = words[4]
		}
		if p, err := netip.ParsePrefix(text); err == nil {
			d.announced = append(d.announced, p)
		}
	}
	slices.SortFunc(d.announced, netip.Prefix.Compare)
}

func (s *Speaker) toldFile(name string) string {
	return filepath.Join(s.opts.RunDir, name+".told.json")
}

func (s *Speaker) remember(d *daemon, lines []directive) error {
	started, err := supervise.StartTime(d.vty.pid)
	if err != nil {
		return fmt.Errorf("%s has ended", d.name)
	}
	data, err := json.Marshal(told{d.vty.pid, started, lines})
	if err == nil {
		_, err = render.WriteFile(s.toldFile(d.name), data, 0o600) // with passwords
	}
	return err
}

// dismiss ends a daemon that is not needed any more.
func (s *Speaker) dismiss(ctx context.Context, name string, frr routing.FRR) (bool, error) {
	d := s.daemons[name]
	delete(s.daemons, name)
	delete(s.mute, name)
	return s.end(ctx, name, d, frr)
}

// end stops our own daemon, or takes back from another what is ours.
func (s *Speaker) end(ctx context.Context, name string, d *daemon, frr routing.FRR) (bool, error) {
	if d == nil {
		d = &daemon{name: name}
	}
	defer func() { d.hangUp() }()
	if frr.Attach {
		if d.vty == nil {
			return false, nil
		}
		return s.tell(ctx, d, nil)
	}
	if name == "mgmtd" {
		defer s.tidy()
	}
	if d.process == nil {
		p, err := supervise.Adopt(filepath.Join(s.opts.RunDir, name+".json"))
		if err != nil {
			return false, nil // none of ours
		}
		d.process = p
	}
	s.log.Info("daemon stops", "daemon", name, "pid", d.process.PID)
	err := d.process.Stop(syscall.SIGTERM, 2*time.Second)
	_ = os.Remove(filepath.Join(s.opts.RunDir, name+".json"))
	_ = os.Remove(s.toldFile(name))
	return true, err
}

// hasRecords: an earlier speaker may have left daemons running.
func (s *Speaker) hasRecords() bool {
	found, _ := filepath.Glob(filepath.Join(s.opts.RunDir, "*.json"))
	return len(found) > 0
}
