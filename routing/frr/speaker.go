package frr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/vipilot/vipilot/render"
	"github.com/vipilot/vipilot/routing"
)

// Options of a Speaker.
type Options struct {
	// RunDir is where managed daemons have their sockets, records and logs, and
	// where frr.conf and what was given to the daemons is kept.
	RunDir string
	Logger *slog.Logger // nil = silent
}

// Speaker drives FRR. Its methods may be called from several goroutines.
type Speaker struct {
	opts    Options
	log     *slog.Logger
	changes chan struct{}
	stop    context.CancelFunc

	mu      sync.Mutex
	closed  bool
	want    routing.Config
	settled bool // want is reached; nothing to do until something changes
	daemons map[string]*daemon
	seen    observation
	widowed time.Time // when zebra ended under daemons that went on; zero = it did not
	// standing are the daemons that had a session when they last answered; mute are
	// those that ended under theirs, and the next has none yet.
	standing, mute map[string]bool
}

// The daemons, in the order in which they are started and told things.
var order = []string{"mgmtd", "zebra", "bfdd", "bgpd", "ospfd", "ospf6d"}

var _ routing.Speaker = (*Speaker)(nil)

// New starts nothing before a Set that needs FRR.
func New(opts Options) *Speaker {
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Speaker{
		opts: opts, log: log.With("component", "frr"), changes: make(chan struct{}, 1), stop: stop,
		daemons: make(map[string]*daemon), standing: make(map[string]bool), mute: make(map[string]bool),
	}
	go s.observe(ctx)
	return s
}

// Changes pokes when Set should be called again, with the same Config or
// another, or when what Peers, Neighbors or Daemons tell has changed. One reader.
func (s *Speaker) Changes() <-chan struct{} { return s.changes }

func (s *Speaker) poke() {
	select {
	case s.changes <- struct{}{}:
	default:
	}
}

// Set makes want true as far as it is FRR's: of each daemon what goes is
// withdrawn first. A daemon that is only starting is no error; Changes pokes
// when it can be told more. After an error the next Set goes on from what was
// reached.
func (s *Speaker) Set(ctx context.Context, want routing.Config) (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, errors.New("set FRR: the speaker is closed")
	}
	if s.settled && s.alive() && reflect.DeepEqual(want, s.want) {
		return false, nil
	}
	return s.set(ctx, want)
}

func (s *Speaker) set(ctx context.Context, want routing.Config) (changed bool, err error) {
	s.want, s.settled = want, false
	if !want.NeedsFRR() && len(s.daemons) == 0 && !s.hasRecords() {
		s.settled = true
		return false, nil
	}
	text, err := Render(s.complete(want))
	if err != nil {
		return false, err
	}
	if err := s.prepareDir(want); err != nil {
		return false, fmt.Errorf("set FRR: %w", err)
	}
	if _, err := render.WriteFile(filepath.Join(s.opts.RunDir, "frr.conf"), text, 0o600); err != nil {
		return false, err
	}
	all := parse(text)
	ready, errs := s.afterZebra(), []error(nil)
	for _, name := range order {
		lines := forDaemon(name, all)
		if !s.needs(want, name, lines) {
			stopped, err := s.dismiss(ctx, name, want.FRR)
			changed, errs = changed || stopped, append(errs, err)
			continue
		}
		d := s.daemons[name]
		if d == nil {
			d = &daemon{name: name}
			s.daemons[name] = d
		}
		did, up, err := s.bring(ctx, d, lines)
		d.err = err
		changed, ready = changed || did, ready && up
		errs = append(errs, err)
	}
	err = errors.Join(errs...)
	s.settled = err == nil && ready
	if changed {
		s.poke()
	}
	return changed, err
}

// needs: zebra is behind all the others, and mgmtd behind zebra.
func (s *Speaker) needs(want routing.Config, name string, lines []directive) bool {
	switch name {
	case "mgmtd":
		return want.NeedsFRR() && !want.FRR.Attach && s.hasMgmtd()
	case "zebra":
		return want.NeedsFRR() && !want.FRR.Attach
	}
	return len(lines) > 0
}

// alive reports whether every daemon that was told things still is the one.
func (s *Speaker) alive() bool {
	for _, d := range s.daemons {
		if d.vty == nil || d.ended() {
			return false
		}
	}
	return true
}

// Close withdraws everything. Daemons of our own end; others keep what is
// theirs.
func (s *Speaker) Close() error {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var errs []error
	if s.want.NeedsFRR() {
		_, err := s.set(ctx, silent(s.want))
		errs = append(errs, err)
	}
	var wait sync.WaitGroup
	failed := make([]error, len(order))
	for i, name := range slices.Backward(order) { // zebra last of all, and mgmtd
		if name == "zebra" {
			wait.Wait()
		}
		wait.Add(1)
		end := func() { defer wait.Done(); _, failed[i] = s.end(ctx, name, s.daemons[name], s.want.FRR) }
		go end()
	}
	wait.Wait()
	s.daemons = make(map[string]*daemon)
	return errors.Join(append(errs, failed...)...)
}

// complete finds the node's own address on the interfaces that have none given.
func (s *Speaker) complete(want routing.Config) routing.Config {
	if want.OSPF == nil || want.FRR.Attach {
		return want
	}
	o := *want.OSPF
	o.Interfaces = slices.Clone(o.Interfaces)
	for i, one := range o.Interfaces {
		if !one.Address.IsValid() || !onInterface(one.Name, one.Address) {
			o.Interfaces[i].Address = ownAddress(one.Name)
		}
	}
	want.OSPF = &o
	return want
}

// BGP gives what FRR's bgpd was told to announce, sorted.
func (s *Speaker) BGP() []netip.Prefix {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.announced("bgpd")
}

// OSPF gives what FRR announces of its interfaces' addresses, sorted.
func (s *Speaker) OSPF() []netip.Prefix {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append(s.announced("ospfd"), s.announced("ospf6d")...)
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

func (s *Speaker) announced(name string) []netip.Prefix {
	if d := s.daemons[name]; d != nil && d.vty != nil && !d.ended() {
		return slices.Clone(d.announced)
	}
	return nil
}
