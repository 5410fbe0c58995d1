package acme

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"
)

// Issuer is a certificate authority.
type Issuer struct {
	Name      string
	Directory string // URL of its ACME directory
	Email     string // "" = none is told
	Storage   string // directory that all nodes share; "" = one below the state directory
	CA        string // PEM; who vouches for the directory's server; "" = those of the operating system
}

// Order is a host name that a certificate is wanted for.
type Order struct {
	Issuer Issuer
	Host   string // lower case, no wildcard
}

// Key names an order.
type Key struct{ Issuer, Host string }

// Certificate is what there is for an order. There is always something to
// serve: a self-signed one until the first was obtained.
type Certificate struct {
	PEM       []byte // chain and key
	NotAfter  time.Time
	Temporary bool
	Failures  int   // attempts to obtain it that failed, since the last that did not
	Err       error // of the last attempt
}

// Options say where a Client lives.
type Options struct {
	StateDir string // certificates are kept here too, so that a node starts while the storage is away
	Socket   string // where challenges are answered
	Logger   *slog.Logger

	FirstRetry    time.Duration // after a failure; then four times as long each time, up to 6h: 30s
	RenewInterval time.Duration // between looks whether a certificate is due, when its authority says or with a third of its life left, and whether another node renewed it: 10m
	LookInterval  time.Duration // between looks at what was obtained: 5s
}

const (
	retryFactor = 4
	maxRetry    = 6 * time.Hour
	maxAttempts = 4 // at once

	// farewellTime is what the attempts under way have to end when Run does: a
	// storage that hangs keeps nobody from leaving.
	farewellTime = 5 * time.Second
)

// Client obtains certificates. Its methods may be called from several goroutines.
type Client struct {
	opts    Options
	log     *slog.Logger
	changes chan struct{}
	wake    chan struct{}
	slots   chan struct{}
	tries   sync.WaitGroup // of attempts that have not ended
	port    int            // of loopback, where challenges are answered as well; set by Run

	mu          sync.Mutex // guards what follows; held for moments
	orders      map[Key]*order
	authorities map[Issuer]*authority
}

// order is an Order and what became of it.
type order struct {
	Order
	Certificate
	next time.Time // of the next attempt; once held, of the next look in the storage
	open bool      // challenges are led to the client, see Open
	busy bool      // an attempt is under way
	held bool      // certmagic has the certificate, and renews it
}

// New makes a Client; nothing is asked of anybody before Run.
func New(opts Options) *Client {
	opts.FirstRetry = cmp.Or(opts.FirstRetry, 30*time.Second)
	opts.RenewInterval = cmp.Or(opts.RenewInterval, 10*time.Minute)
	opts.LookInterval = cmp.Or(opts.LookInterval, 5*time.Second)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		opts: opts, log: opts.Logger,
		changes: make(chan struct{}, 1), wake: make(chan struct{}, 1), slots: make(chan struct{}, maxAttempts),
		orders: make(map[Key]*order), authorities: make(map[Issuer]*authority),
	}
}

// Set says which certificates are wanted, all of them. When it returns there
// is one for each: of an earlier life, or a temporary one. It asks nobody; for
// certificates that are new here, nobody is asked before the next Open.
func (c *Client) Set(want []Order) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := make(map[Key]bool, len(want))
	for _, w := range want {
		key := Key{w.Issuer.Name, w.Host}
		wanted[key] = true
		if o := c.orders[key]; o != nil && o.Issuer == w.Issuer {
			continue
		}
		kept, err := c.recall(key)
		if err != nil {
			return err
		}
		c.orders[key] = &order{Order: w, Certificate: kept}
	}
	for key, o := range c.orders {
		if !wanted[key] {
			delete(c.orders, key)
			if err := os.Remove(c.file(key)); err != nil && !os.IsNotExist(err) {
				c.log.Warn("remove a certificate that is no longer wanted", "host", o.Host, "err", err)
			}
		}
	}
	signal(c.wake)
	return nil
}

// Open says that challenges for all that is wanted are led to the client from
// now on. An authority that asked earlier would be refused, and authorities
// count that. It may be called as often as you like.
func (c *Client) Open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.orders {
		if !o.open {
			o.open = true
			signal(c.wake)
		}
	}
}

// Certificates is what there is now. The caller owns the map.
func (c *Client) Certificates() map[Key]Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := make(map[Key]Certificate, len(c.orders))
	for key, o := range c.orders {
		now[key] = o.Certificate
	}
	return now
}

// Changes is poked when a certificate, or what is known of an attempt, changed;
// pokes coalesce. It is never closed.
func (c *Client) Changes() <-chan struct{} { return c.changes }

// Run answers challenges, orders and renews until ctx ends. Run it once.
func (c *Client) Run(ctx context.Context) error {
	if err := c.answer(ctx); err != nil {
		return fmt.Errorf("answer ACME challenges: %w", err)
	}
	defer c.stop()
	look := time.NewTicker(c.opts.LookInterval)
	defer look.Stop()
	for {
		due := look.C
		if !c.tend(ctx) {
			due = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due:
		case <-c.wake:
		}
	}
}

// tend takes over what certmagic has, starts the attempts that are due, and
// lets go of authorities that nobody orders from. It reports whether there is
// anything to come back for.
func (c *Client) tend(ctx context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	used := make(map[Issuer]bool)
	for key, o := range c.orders {
		used[o.Issuer] = true
		a, err := c.authority(o.Issuer)
		switch {
		case err != nil:
			c.failed(o, err)
		case o.held:
			c.take(key, o, a)
			if !o.busy && !o.next.After(time.Now()) {
				// certmagic takes what the authority says of the renewed one for
				// the old one too, and would keep it to a third of its life.
				o.busy, o.next = true, time.Now().Add(c.opts.RenewInterval)
				c.tries.Go(func() { c.attempt(ctx, key, o, a, a.load) })
			}
		case o.busy, !o.open:
		case !o.next.After(time.Now()):
			o.busy = true
			c.tries.Go(func() { c.attempt(ctx, key, o, a, a.obtain) })
		default: // another node may have it by now
			o.busy = true
			c.tries.Go(func() { c.attempt(ctx, key, o, a, a.load) })
		}
	}
	for issuer, a := range c.authorities {
		if !used[issuer] {
			delete(c.authorities, issuer)
			go a.stop()
		}
	}
	return len(c.orders) > 0
}

// attempt tries once to get the certificate of an order, by ordering it or from
// the storage alone, where its absence is no failure.
func (c *Client) attempt(ctx context.Context, key Key, o *order, a *authority, obtain func(context.Context, string) error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return
	}
	err := obtain(ctx, o.Host)
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	o.busy = false
	switch {
	case err == nil:
	case o.held, o.next.After(time.Now()): // only the storage was asked
		return
	default:
		c.failed(o, err)
		return
	}
	if !o.held {
		o.held, o.next = true, time.Now().Add(c.opts.RenewInterval)
		o.Failures, o.Err = 0, nil
	}
	if c.orders[key] == o {
		c.take(key, o, a)
	}
}

// failed notes an attempt that failed and when the next is due.
func (c *Client) failed(o *order, err error) {
	wait := c.opts.FirstRetry
	for range o.Failures {
		wait = min(wait*retryFactor, maxRetry)
	}
	o.Failures, o.Err, o.next = o.Failures+1, err, time.Now().Add(wait)
	c.log.Warn("certificate not obtained, trying again", "host", o.Host, "issuer", o.Issuer.Name, "failures", o.Failures, "retry", wait, "err", err)
	signal(c.changes)
}

// take serves the newest certificate that certmagic has for the order.
func (c *Client) take(key Key, o *order, a *authority) {
	if failures, err := a.failures(o.Host); failures != o.Failures {
		o.Failures, o.Err = failures, err
		if err != nil {
			c.log.Warn("certificate not renewed, trying again", "host", o.Host, "issuer", o.Issuer.Name, "failures", failures, "not_after", o.NotAfter, "err", err)
		}
		signal(c.changes)
	}
	fresh, ok := a.certificate(o.Host)
	if !ok || string(fresh.PEM) == string(o.PEM) {
		return
	}
	if err := c.keep(key, fresh.PEM); err != nil {
		c.log.Error("keep a certificate in the state directory", "host", o.Host, "err", err)
	}
	o.PEM, o.NotAfter, o.Temporary = fresh.PEM, fresh.NotAfter, false
	c.log.Info("certificate in force", "host", o.Host, "issuer", o.Issuer.Name, "not_after", o.NotAfter)
	signal(c.changes)
}

// authority is the issuer's, made when it is first needed.
func (c *Client) authority(issuer Issuer) (*authority, error) {
	if a := c.authorities[issuer]; a != nil {
		return a, nil
	}
	a, err := newAuthority(issuer, c.opts, c.port)
	if err != nil {
		return nil, err
	}
	c.authorities[issuer] = a
	return a, nil
}

// stop ends what certmagic does in the background. The attempts, whose context
// has ended, give back their locks and write nothing more once it returns.
func (c *Client) stop() {
	ended := make(chan struct{})
	go func() { c.tries.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(farewellTime):
		c.log.Warn("an attempt to obtain a certificate does not end; its storage may hang")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range maps.All(c.authorities) {
		a.stop()
	}
	clear(c.authorities)
}

// signal pokes a channel of size one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
