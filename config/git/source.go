// Package git follows a configuration in a Git repository: it fetches one
// commit without its history, checks its signature, and puts it on disk as one
// whole directory, or not at all. It reads Git's protocol itself and starts no
// program. Whatever happens to the server, the last good revision stays.
//
//	u, err := git.Parse("git+https://git.example.net/fleet.git?ref=main")
//	source, err := git.NewSource(git.Options{URL: u, Dir: "/var/lib/vipilot/git", Interval: 30 * time.Second})
//	cfg, err := source.Load(ctx, nil)
package git

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/vipilot/vipilot/config"
)

// Options are the settings of a [Source].
type Options struct {
	URL      URL
	Access   Access
	Dir      string        // holds the checkouts; made when it is missing
	Interval time.Duration // between two looks, give or take a fifth
	Timeout  time.Duration // of one look; 0 = 2m
	Limits   Limits        // zero = DefaultLimits
	Logger   *slog.Logger  // nil = silent
}

const (
	defaultTimeout = 2 * time.Minute
	pokePause      = time.Second // least time between two looks, however many hooks come
)

// Source is a configuration in a Git repository. Its methods may be called from
// any goroutine.
type Source struct {
	opts  Options
	log   *slog.Logger
	store store
	poked chan struct{}

	looking sync.Mutex // one look at a time

	mu      sync.Mutex
	current checkout // the last good one
	fault   error    // of the last look
}

// NewSource finds what an earlier run has fetched. It does not ask the server.
func NewSource(opts Options) (*Source, error) {
	if opts.Limits == (Limits{}) {
		opts.Limits = DefaultLimits()
	}
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	s := &Source{opts: opts, log: opts.Logger, poked: make(chan struct{}, 1)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.store, err = openStore(opts.Dir, opts.URL); err != nil {
		return nil, err
	}
	s.current = s.store.current()
	return s, nil
}

// String is the URL that is followed, without secrets: there are none in it.
func (s *Source) String() string { return s.opts.URL.String() }

// Load gives the newest revision that was fetched; the first time ever it asks
// the server. The revision is named by the commit, and where files outside the
// repository belong to it, by a hash of everything as well. Beside the faults
// of a configuration comes one that has nothing but its Revision.
func (s *Source) Load(ctx context.Context, inForce *config.Config) (*config.Config, error) {
	if s.newest().dir == "" {
		if err := s.Sync(ctx); err != nil {
			return nil, err
		}
	}
	now := s.newest()
	cfg, err := config.LoadOver(config.Dir(now.dir), inForce)
	if err != nil {
		return &config.Config{Revision: now.commit}, err
	}
	content := cfg.Revision
	cfg.Revision = now.commit
	for name := range cfg.Files {
		if path.IsAbs(name) {
			cfg.Revision = now.commit + "+" + content
			break
		}
	}
	return cfg, nil
}

// Sync looks for a newer revision now. An error says why there is none; the
// last good one stays.
func (s *Source) Sync(ctx context.Context) error {
	s.looking.Lock()
	defer s.looking.Unlock()
	limit, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	now, err := s.look(limit)
	if ctx.Err() != nil {
		return ctx.Err() // whoever asked does not care any more; that is no fault of the server
	}
	if err != nil {
		err = fmt.Errorf("fetch %s: %w", s.opts.URL, explain(err))
	}
	s.note(now, err)
	return err
}

// look resolves the reference, and fetches, checks and writes its commit when it is another one.
func (s *Source) look(ctx context.Context) (checkout, error) {
	done := make(chan struct{})
	var now checkout
	var err error
	go func() { // the library does not watch ctx everywhere
		defer close(done)
		now, err = s.fetch(ctx)
	}()
	select {
	case <-done:
		return now, err
	case <-ctx.Done():
		return checkout{}, ctx.Err()
	}
}

func (s *Source) fetch(ctx context.Context) (checkout, error) {
	repo, err := s.opts.Access.open(s.opts.URL, s.opts.Limits)
	if err != nil {
		return checkout{}, err
	}
	stop := context.AfterFunc(ctx, repo.close)
	defer func() {
		if stop() {
			repo.close()
		}
	}()
	hash, err := repo.resolve(ctx, s.opts.URL.Ref)
	if err != nil {
		return checkout{}, err
	}
	if now := s.newest(); now.commit == hash.String() {
		return now, nil
	}
	content, err := repo.content(ctx, hash)
	if err != nil {
		return checkout{}, err
	}
	if s.opts.URL.Signers != "" {
		allowed, err := readSigners(s.opts.URL.Signers)
		if err != nil {
			return checkout{}, err
		}
		commit, err := content.commit()
		if err != nil {
			return checkout{}, fmt.Errorf("read commit %s: %w", hash, err)
		}
		if err := allowed.verify(commit); err != nil {
			return checkout{}, err
		}
	}
	return s.store.keep(ctx, content, s.opts.URL.Folder, s.opts.Limits)
}

// note remembers how a look ended, and logs what is new about it.
func (s *Source) note(now checkout, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, was := s.current, s.fault
	s.fault = err
	switch {
	case err != nil && (was == nil || was.Error() != err.Error()):
		s.log.Error("no newer revision from Git, the last good one stays", "commit", before.commit, "err", err)
	case err == nil && was != nil:
		s.log.Info("Git answers again", "commit", now.commit)
	}
	if err == nil && now != before {
		s.current = now
		s.log.Info("revision fetched", "commit", now.commit, "before", before.commit)
	}
}

func (s *Source) newest() checkout {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Fault says why the last look found nothing; nil when it went well.
func (s *Source) Fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// Poke asks for a look soon and does not wait for it. Any number of calls
// before that look are one.
func (s *Source) Poke() {
	select {
	case s.poked <- struct{}{}:
	default:
	}
}

// Follow looks at once, then again and again, and sends on changed, without
// waiting, whenever there is another revision or another fault, or one of the files outside changed.
func (s *Source) Follow(ctx context.Context, changed chan<- struct{}, outside func() []string) error {
	ended := make(chan error, 1)
	go func() { ended <- config.Watch(ctx, filepath.Join(s.store.dir, currentName), changed, outside) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-timer.C:
		case <-s.poked:
		}
		fault, revision := s.Fault(), s.newest()
		_ = s.Sync(ctx) // noted and logged
		if fmt.Sprint(s.Fault()) != fmt.Sprint(fault) || s.newest() != revision {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(min(pokePause, s.opts.Interval)):
		}
		timer.Reset(s.pause())
	}
}

// pause is the interval give or take a fifth, so that a thousand nodes do not
// ask in the same moment.
func (s *Source) pause() time.Duration {
	return time.Duration(float64(s.opts.Interval) * (0.8 + 0.4*rand.Float64()))
}
