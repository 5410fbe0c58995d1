package sentinel

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/vipilot/vipilot/routing"
	"github.com/vipilot/vipilot/routing/frr"
	"github.com/vipilot/vipilot/routing/gobgp"
	"github.com/vipilot/vipilot/routing/remote"
)

// retryAfter is the pause before a step that failed is tried again.
const retryAfter = time.Second

// watchdog is the state of the sentinel. Its loop's goroutine owns all of it
// but the board; others send it functions.
type watchdog struct {
	log      *slog.Logger
	build    string
	deadMan  []string
	wantFile string
	heirFile string // is there while the sentinel before has handed over
	speaker  *gobgp.Speaker
	frr      *frr.Speaker
	events   chan func()
	board    *board

	want     remote.Want
	held     map[netip.Addr]bool // every address of the kernel
	down     error               // why HAProxy is not up; nil = it is
	unwatch  context.CancelFunc  // ends the watch on the present gate
	guard    *guard
	arming   chan struct{} // closed when the guard that is being started is there, or failed
	armAfter time.Time     // no further guard before
	track    string        // last value written

	turned atomic.Pointer[time.Time] // when the loop last turned

	hearing      hearing
	bfd          map[string]bool // peers, by name, that BFD has ever reached
	speakerTrack string          // last value written

	handedOver bool // another sentinel comes: end, and leave everything as it is

	faults struct{ addresses, guard, track, speakerTrack, save, speaker, frr error }
}

func newWatchdog(opts Options, speaker *gobgp.Speaker, frr *frr.Speaker) *watchdog {
	return &watchdog{
		log: opts.Logger.With("component", "sentinel"), build: opts.Build, deadMan: opts.DeadMan,
		wantFile: filepath.Join(opts.RunDir, remote.WantFile), heirFile: filepath.Join(opts.RunDir, remote.HeirFile), speaker: speaker, frr: frr,
		events: make(chan func()), board: newBoard(), down: errNoHAProxy, unwatch: func() {}, bfd: make(map[string]bool),
	}
}

// loop settles after every event until ctx ends.
func (w *watchdog) loop(ctx context.Context) error {
	retry, beat := time.NewTimer(0), time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		now := time.Now()
		w.turned.Store(&now)
		if w.settle(ctx) {
			retry.Stop()
		} else {
			retry.Reset(retryAfter)
		}
		w.board.post(w.state())
		if !w.await(ctx, retry.C, beat.C) {
			return w.stop()
		}
		if w.handedOver {
			return w.leave()
		}
	}
}

// turn is when the loop last turned, for any goroutine.
func (w *watchdog) turn() time.Time {
	if at := w.turned.Load(); at != nil {
		return *at
	}
	return time.Now() // it takes up its first orders
}

// await returns after something has happened, or false at the end of ctx.
func (w *watchdog) await(ctx context.Context, retry, beat <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case f := <-w.events:
			f()
		case <-w.speaker.Changes():
		case <-w.frr.Changes():
		case <-retry:
		case now := <-beat:
			w.turned.Store(&now)
			if !w.hearing.due(now) {
				continue // nothing has happened
			}
		}
		return true
	}
}

// do runs f in the loop. It returns false when ctx ended before.
func (w *watchdog) do(ctx context.Context, f func()) bool {
	select {
	case w.events <- f:
		return true
	case <-ctx.Done():
		return false
	}
}

// set takes a checked Want and returns after it was acted on.
func (w *watchdog) set(ctx context.Context, loop context.Context, want remote.Want) (answer remote.Answer, ok bool) {
	var arming chan struct{}
	ok = w.call(ctx, func() {
		answer.Changed = !sameWant(want, w.want)
		if answer.Changed {
			w.obey(loop, want)
			w.note(&w.faults.save, saveWant(w.wantFile, want))
		}
		w.track, w.speakerTrack = "", "" // a controller that repeats itself may have lost the files
		w.settle(loop)
		arming = w.arming
	})
	if ok && arming != nil {
		select {
		case <-arming:
		case <-ctx.Done():
		case <-loop.Done():
		}
	}
	ok = ok && w.call(ctx, func() { answer.State = w.state() })
	return answer, ok
}

// call is do that waits until f has run.
func (w *watchdog) call(ctx context.Context, f func()) bool {
	done := make(chan struct{})
	if !w.do(ctx, func() { defer close(done); f() }) {
		return false
	}
	<-done
	return true
}

// obey takes up new orders. A new gate is looked at once before anything is
// decided on it, so that a living HAProxy does not seem dead for a moment.
func (w *watchdog) obey(ctx context.Context, want remote.Want) {
	old := w.want
	w.want = want
	if want.Gate != old.Gate {
		w.watchHAProxy(ctx, want.Gate)
	}
	if want.TrackFile != old.TrackFile {
		if w.guard != nil {
			w.guard.dismiss()
			w.guard = nil
		}
		w.track, w.armAfter = "", time.Time{}
	}
}

func (w *watchdog) watchHAProxy(ctx context.Context, gate remote.Gate) {
	w.unwatch()
	ctx, w.unwatch = context.WithCancel(ctx)
	l, err := newLife(gate)
	if err != nil {
		w.setDown(err)
		return
	}
	first := l.probe(ctx)
	w.setDown(first)
	go l.watch(ctx, first, func(err error) {
		w.do(ctx, func() {
			if ctx.Err() == nil {
				w.setDown(err)
			}
		})
	})
}

func (w *watchdog) setDown(err error) {
	if (err == nil) != (w.down == nil) {
		if err == nil {
			w.log.Info("HAProxy is up", "pid", w.want.Gate.PID)
		} else {
			w.log.Warn("HAProxy is down", "err", err)
		}
	}
	w.down = err
}

// settle makes speaker and track file agree with the facts. It reports whether
// all of it worked.
func (w *watchdog) settle(ctx context.Context) bool {
	w.speak(ctx)
	if w.want.TrackFile != "" {
		w.keepGuard(ctx)
		w.writeTrack()
	}
	if w.want.SpeakerTrackFile != "" {
		w.writeSpeakerTrack()
	}
	f := w.faults
	return errors.Join(f.speaker, f.frr, f.guard, f.track, f.speakerTrack) == nil
}

// speak hands each speaker its part of what the gate lets through. GoBGP
// comes first: it never has to wait for another process.
func (w *watchdog) speak(ctx context.Context) {
	if w.held == nil && w.faults.addresses == nil {
		return // the kernel has not told yet, and what FRR announces from before shall not flap
	}
	wanted := admitAll(w.want.Routing, w.down == nil, w.frr.Failing(), w.held)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	embedded := wanted
	if wanted.ViaFRR {
		embedded = routing.Config{}
	}
	_, err := w.speaker.Set(ctx, embedded)
	w.note(&w.faults.speaker, err)
	_, err = w.frr.Set(ctx, wanted)
	w.note(&w.faults.frr, err)
}

// writeTrack waits with a good value until a dead man's switch is armed or is
// known to fail. A bad value never waits.
func (w *watchdog) writeTrack() {
	value := trackGood
	if w.down != nil {
		value = trackBad
	}
	if value == w.track || (value == trackGood && w.arming != nil) {
		return
	}
	err := writeTrack(w.want.TrackFile, value)
	if err == nil {
		w.track = value
	}
	w.note(&w.faults.track, err)
}

// note keeps a fault and logs it when it is new.
func (w *watchdog) note(kept *error, err error) {
	if err != nil && (*kept == nil || (*kept).Error() != err.Error()) {
		w.log.Error("wanted state not reached", "err", err)
	}
	*kept = err
}

// stop withdraws and leaves a track file that says nobody watches.
func (w *watchdog) stop() error {
	w.unwatch()
	err := errors.Join(w.speaker.Close(), w.frr.Close())
	if w.want.TrackFile != "" {
		err = errors.Join(err, writeTrack(w.want.TrackFile, trackBad))
	}
	if w.guard != nil {
		w.guard.dismiss()
	}
	w.log.Info("sentinel ends: everything withdrawn")
	return err
}

func (w *watchdog) reportAddresses(ctx context.Context) func(map[netip.Addr]bool) {
	return func(held map[netip.Addr]bool) { w.do(ctx, func() { w.held = held }) }
}

func (w *watchdog) reportAddressFault(ctx context.Context) func(error) {
	return func(err error) { w.do(ctx, func() { w.note(&w.faults.addresses, err) }) }
}
