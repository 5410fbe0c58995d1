package vrrp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/internal/span"
	"github.com/vipilot/vipilot/internal/supervise"
	"github.com/vipilot/vipilot/render"
)

// How long keepalived may take. One that starts on a machine with no time to spare
// takes seconds; one that runs, and hangs, must not keep HAProxy from its turn. It
// removes its addresses at once when told to stop, and ends about a second later.
const (
	setTimeout     = 15 * time.Second
	startTimeout   = 10 * time.Second
	confirmTimeout = 3 * time.Second
	stopTimeout    = 5 * time.Second
)

// Options say where keepalived runs.
type Options struct {
	RunDir string       // absolute; its own, holds everything generated
	Binary string       // default: keepalived, looked up in PATH
	Attach bool         // drive one that somebody else starts, see [Launch], and starts again when it ends
	Logger *slog.Logger // default: none
	IPVS   func() error // why the kernel cannot balance UDP, nil when it can; default: asks it
}

// Status is the state of the process.
type Status struct {
	Running bool
	PID     int
	Reloads int
	Err     error // why the wanted state is not reached, nil when it is
}

// Keepalived is the keepalived of one run directory. It works in the network
// namespace of whoever calls Set and Run.
type Keepalived struct {
	opts    Options
	checker *checker
	memory  *memory
	roles   chan RoleChange
	changed chan struct{} // one token: the process is another one

	turn    sync.Mutex // held by whoever starts, reloads or stops
	adopted bool
	want    *Config // nil = not known yet
	wants   string  // fingerprint of its election
	signal  syscall.Signal

	mu      sync.Mutex // the rest, never held for long
	process *supervise.Process
	wanted  bool // it should run
	reloads int
	refused error // why the last Set did not succeed
	down    error // why it does not run though it should
}

// New prepares a Keepalived; nothing is looked at or started yet.
func New(opts Options) *Keepalived {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Logger = opts.Logger.With("component", "keepalived")
	if opts.IPVS == nil {
		opts.IPVS = kernelIPVS
	}
	return &Keepalived{
		opts:    opts,
		checker: &checker{opts: opts, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1)},
		memory:  newMemory(filepath.Join(opts.RunDir, memoryFile)),
		roles:   make(chan RoleChange, 64),
		changed: make(chan struct{}, 1),
	}
}

// Set makes want true: keepalived checks the file, runs it, and has confirmed
// that it does. Virtual servers have a keepalived of their own, see [Balance];
// a kernel without IPVS is no error. A keepalived that a dead controller left is adopted, without
// a reload if it already runs this file. Without instances keepalived is
// stopped. Set is idempotent; changed tells whether there was anything to do.
// When the file is refused, nothing that runs is touched.
func (k *Keepalived) Set(ctx context.Context, want Config) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, setTimeout)
	defer cancel()
	k.turn.Lock()
	defer k.turn.Unlock()
	want = k.asked(want)
	if len(want.Instances) == 0 {
		changed, err = k.stop(ctx)
	} else {
		changed, err = k.apply(ctx, want)
	}
	if err == nil {
		var balanced bool
		balanced, err = k.setVirtual(ctx, want)
		changed = changed || balanced
	}
	k.report(err)
	return changed, err
}

// apply is Set with at least one instance.
func (k *Keepalived) apply(ctx context.Context, want Config) (changed bool, err error) {
	_, end := span.Start(ctx, "keepalived render")
	data, err := Render(want, k.opts.RunDir)
	end(err)
	if err != nil {
		return false, err
	}
	if err := k.adopt(ctx); err != nil {
		return false, err
	}
	yielded, err := k.setSwitches(want)
	if err != nil {
		return false, err
	}
	written, err := k.install(ctx, data)
	if err != nil {
		return yielded, err
	}
	if data, err = renderElection(want, k.opts.RunDir); err != nil {
		return yielded, err
	}
	k.want, k.wants = &want, fingerprint(data)
	if k.running() && k.memory.read().Loaded == k.wants {
		return written || yielded, nil
	}
	// Whatever happens next, these addresses may be on interfaces.
	if err := k.memory.edit(func(m *kept) { m.Held = union(m.Held, want.holdings()) }); err != nil {
		return false, err
	}
	how, act := "keepalived start", k.start
	if k.running() {
		how, act = "keepalived reload", k.reload
	}
	ctx, end = span.Start(ctx, how)
	err = act(ctx)
	end(err)
	return true, err
}

// install puts the file in place once keepalived has found it good.
func (k *Keepalived) install(ctx context.Context, data []byte) (written bool, err error) {
	conf := k.path(confFile)
	if old, err := os.ReadFile(conf); err == nil && string(old) == string(data) {
		return false, nil
	}
	next := conf + ".next"
	defer os.Remove(next)
	if _, err := render.WriteFile(next, data, 0o600); err != nil {
		return false, err
	}
	ctx, end := span.Start(ctx, "keepalived check")
	err = Check(ctx, k.opts.Binary, next)
	end(err)
	if err != nil {
		return false, err
	}
	return render.WriteFile(conf, data, 0o600)
}

// Roles gives every change of a role, within milliseconds while Run runs. A
// slow reader gets the newest role of each instance. The channel is never
// closed.
func (k *Keepalived) Roles() <-chan RoleChange { return k.roles }

// Role is the last known role of an instance, "" when there is none.
func (k *Keepalived) Role(instance string) Role { return k.memory.read().Roles[instance] }

// Status tells how the process is.
func (k *Keepalived) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{Reloads: k.reloads, Err: errors.Join(k.refused, k.down)}
	if alive(k.process) {
		s.Running, s.PID = true, k.process.PID
	}
	return s
}

// Close stops keepalived in order: it tells its peers that it leaves, so they
// take over at once, removes its addresses and ends. Set starts it again. One
// that was attached to goes on as it was told last.
func (k *Keepalived) Close(ctx context.Context) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	_, ended := k.checker.set(ctx, nil)
	if k.opts.Attach {
		return ended
	}
	_, err := k.stop(ctx)
	err = errors.Join(err, ended)
	k.report(err)
	return err
}

// forget drops the roles of instances that are not wanted any more.
func (k *Keepalived) forget(want Config) error {
	return k.memory.edit(func(m *kept) {
		for name := range m.Roles {
			if !slices.ContainsFunc(want.Instances, func(i Instance) bool { return i.Name == name }) {
				delete(m.Roles, name)
			}
		}
	})
}

func (k *Keepalived) path(name string) string { return filepath.Join(k.opts.RunDir, name) }

// report keeps the outcome of Set or Close for Status.
func (k *Keepalived) report(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused = err
	if err == nil {
		k.down = nil
	}
}

// current gives the process that was last started or adopted, nil for none.
func (k *Keepalived) current() *supervise.Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.process
}

func (k *Keepalived) running() bool { return alive(k.current()) }

// become makes p the process, nil for none, and says whether one should run.
func (k *Keepalived) become(p *supervise.Process, wanted bool) {
	k.mu.Lock()
	k.process, k.wanted = p, wanted
	k.mu.Unlock()
	signal(k.changed)
}

func alive(p *supervise.Process) bool {
	if p == nil {
		return false
	}
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

func fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// describe adds what keepalived wrote into its log to an error.
func describe(err error, said string) error {
	if said == "" {
		return err
	}
	return fmt.Errorf("%w; keepalived says: %s", err, said)
}

// signal leaves a token, if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
