package haproxy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vipilot/vipilot/internal/supervise"
)

// Options say where HAProxy lives. The zero value of every field but RunDir
// is a sane default.
type Options struct {
	RunDir        string        // haproxy.cfg, maps/, certs/, sockets, process record, log; a short path, sockets live in it
	Binary        string        // "haproxy"
	Attach        bool          // drive one that somebody else starts, see [Launch], and never start or stop it
	User          string        // whom workers run as, locked up, where that can be done; "" = whom this process runs as
	Logger        *slog.Logger  // silent
	ReloadSpacing time.Duration // least time between two reloads: 1s
	HardStop      time.Duration // longest life of a worker after a reload: 1h, or the longest that a session may be silent
	DeleteDelay   time.Duration // least time between maint and deletion of a server: 30s
	PollInterval  time.Duration // between two looks at all servers, besides the feed: 10s
	FDLimit       int           // open files HAProxy may have: the hard limit of this process
}

// ChangeKind says what a Set had to do.
type ChangeKind string

// From nothing to the strongest: a Set that did several reports the strongest.
const (
	None    ChangeKind = "none"
	Runtime ChangeKind = "runtime"
	Adopted ChangeKind = "adopted" // a HAProxy that ran already was taken over without a reload
	Reload  ChangeKind = "reload"
	Started ChangeKind = "started"
)

// Change is what a Set did.
type Change struct {
	Kind  ChangeKind
	Cause string        // which difference forced, or will force, a reload
	Retry time.Duration // above 0: a reload for Cause is due and too early; call Set again after this
}

// Status is what is known of the process.
type Status struct {
	Running        bool
	PID            int    // of the master
	StartTime      uint64 // of the master, /proc/PID/stat field 22
	Version        string
	Reloads        int
	ReloadCause    string // what made the last reload necessary
	RuntimeUpdates int    // calls of Set that were done, wholly or partly, over the runtime socket
	Restarts       int    // starts after a death
	OldWorkers     int    // workers of before a reload that finish their sessions
	Err            error
	StatsSocket    string
}

// HAProxy is one HAProxy process and its files. Its methods may be called from
// several goroutines.
type HAProxy struct {
	opts  Options
	paths Paths
	log   *slog.Logger
	cli   cli

	// mu is held while the process, its state or applied changes: Set, a
	// restart, a deletion, a look at the servers. Everything below it is its.
	mu          sync.Mutex
	proc        *supervise.Process
	worker      int    // pid of the worker that answered last
	known       bool   // applied is what HAProxy runs
	applied     Config // what HAProxy runs
	passer      passer
	splitter    splitter
	unsure      map[string]bool // backends and maps where a command failed: look before the next change
	certsUnsure bool            // a change of certificates failed halfway
	leaving     map[ServerKey]*deletion
	lastReload  time.Time
	closing     bool

	files   files
	wake    chan struct{} // pokes Run: the process or the deletions changed
	poke    chan struct{} // pokes the reader of Health
	unsaved chan struct{} // pokes Run: the files are behind
	active  atomic.Bool   // Run runs

	// seen guards what readers see; it is held for moments only.
	seen   sync.Mutex
	status Status
	sets   map[string][]string // by service: its backends, where it is split
	health Verdicts
}

// New prepares a HAProxy; nothing happens before the first Set.
func New(opts Options) *HAProxy {
	opts.Binary = cmp.Or(opts.Binary, "haproxy")
	opts.ReloadSpacing = cmp.Or(opts.ReloadSpacing, time.Second)
	opts.DeleteDelay = cmp.Or(opts.DeleteDelay, 30*time.Second)
	opts.PollInterval = cmp.Or(opts.PollInterval, 10*time.Second)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.FDLimit == 0 {
		opts.FDLimit = fileLimit()
	}
	if dir, err := filepath.Abs(opts.RunDir); err == nil {
		opts.RunDir = dir
	}
	paths := Paths{Dir: opts.RunDir, FDLimit: opts.FDLimit, HardStop: opts.HardStop}
	if opts.User != "" {
		var why string
		if paths.Jail, why = newJail(opts.RunDir, opts.User, opts.Attach); why != "" {
			opts.Logger.Warn("haproxy's worker keeps its rights", "reason", why)
		}
	}
	return &HAProxy{
		opts: opts, paths: paths, log: opts.Logger,
		cli:     cli{path: paths.stats()},
		unsure:  make(map[string]bool),
		leaving: make(map[ServerKey]*deletion),
		files:   files{paths: paths},
		wake:    make(chan struct{}, 1),
		poke:    make(chan struct{}, 1),
		unsaved: make(chan struct{}, 1),
		status:  Status{StatsSocket: paths.stats()},
	}
}

// Set makes HAProxy serve want: starts or adopts it, updates it at run time
// and reloads it where the structure changed. It is idempotent; an unchanged
// backend must keep its pointer to be cheap. It never waits for the spacing of
// reloads: what can be done at run time is done, the rest is in Change.Retry.
// After an error, what ran before still runs, and Set may be called again.
func (h *HAProxy) Set(ctx context.Context, want Config) (Change, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change, err := h.set(ctx, want)
	h.seen.Lock()
	h.status.Err = err
	if change.Kind == Runtime {
		h.status.RuntimeUpdates++
	}
	h.seen.Unlock()
	return change, err
}

func (h *HAProxy) set(ctx context.Context, want Config) (Change, error) {
	if err := errors.Join(checkSplits(want), checkPassthrough(want)); err != nil {
		return Change{Kind: None}, err
	}
	want = h.split(want)
	if err := h.check(want); err != nil {
		return Change{Kind: None}, err
	}
	if h.closing {
		return Change{Kind: None}, errors.New("set haproxy: it is being closed")
	}
	if !h.alive() && !h.adopt() {
		if h.opts.Attach {
			return h.attach(ctx, want)
		}
		if err := h.start(ctx, want); err != nil {
			return Change{Kind: None}, err
		}
		return Change{Kind: Started}, nil
	}
	if !h.known {
		return h.takeOver(ctx, want)
	}
	return h.converge(ctx, want)
}

// converge goes from what is applied to want.
func (h *HAProxy) converge(ctx context.Context, want Config) (Change, error) {
	cause := structural(h.applied, want)
	if cause == "" && h.replaced() {
		cause = "the program was replaced: " + h.opts.Binary
	}
	if cause == "" && h.certsUnsure {
		cause = "a change of certificates at run time failed"
	}
	target := want
	if cause != "" {
		target = reachable(h.applied, want)
	}
	change := Change{Kind: None, Cause: cause}
	changed, err := h.update(ctx, target)
	if changed {
		change.Kind = Runtime
	}
	if cause == "" {
		return change, err
	}
	if wait := h.opts.ReloadSpacing - time.Since(h.lastReload); wait > 0 {
		change.Retry = wait
		return change, err
	}
	if err := h.reload(ctx, want, cause); err != nil {
		return change, err
	}
	change.Kind = Reload
	return change, nil
}

// alive reports whether the known process lives.
func (h *HAProxy) alive() bool {
	if h.proc == nil {
		return false
	}
	select {
	case <-h.proc.Done():
		return false
	default:
		return true
	}
}

// Health is poked when a server's health or the state of the process changed;
// pokes coalesce. It is never closed.
func (h *HAProxy) Health() <-chan struct{} { return h.poke }

// Servers is the latest known health of every server.
func (h *HAProxy) Servers() Verdicts {
	h.seen.Lock()
	defer h.seen.Unlock()
	return h.health
}

// Status is what is known of the process; it never blocks for long.
func (h *HAProxy) Status() Status {
	h.seen.Lock()
	defer h.seen.Unlock()
	return h.status
}

// setHealth records verdicts, removes the keys without one, and pokes when
// anything changed.
func (h *HAProxy) setHealth(verdicts map[ServerKey]Health, gone []ServerKey) {
	byService, left := serviceVerdicts(verdicts, gone)
	h.seen.Lock()
	defer h.seen.Unlock()
	next, changed := h.health.with(byService, left)
	if changed {
		h.health = next
		signal(h.poke)
	}
}

// signal pokes a channel of size one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
