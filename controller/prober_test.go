package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// dialed is a network in which some endpoints listen, some refuse and the
// others are silent. It counts the dials of one moment.
type dialed struct {
	mu            sync.Mutex
	now, most     int
	listens       map[string]bool
	refuses       map[string]bool
	answered      map[string]time.Time
	begun         time.Time
	answeredTwice bool
}

func (d *dialed) ask(ctx context.Context, p probe) error {
	d.mu.Lock()
	d.now++
	d.most = max(d.most, d.now)
	listens, refuses := d.listens[p.address], d.refuses[p.address]
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.now--
		d.mu.Unlock()
	}()
	if refuses {
		return errors.New("connection refused")
	}
	wait := probeTimeout
	if listens {
		wait = time.Millisecond
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	if !listens {
		return context.DeadlineExceeded
	}
	return nil
}

func (d *dialed) answer(p probe, _ time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, d.answeredTwice = d.answered[p.address]
	d.answered[p.address] = time.Now()
}

func (d *dialed) prober(ctx context.Context) *prober {
	d.answered, d.begun = make(map[string]time.Time), time.Now()
	p := newProber(ctx, d.answer)
	p.ask = d.ask
	return p
}

func probesOf(prefix string, n int) (list []probe) {
	for i := range n {
		list = append(list, probe{address: fmt.Sprintf("%s%d", prefix, i)})
	}
	return list
}

func asSet(lists ...[]probe) map[probe]bool {
	want := make(map[probe]bool)
	for _, list := range lists {
		for _, one := range list {
			want[one] = true
		}
	}
	return want
}

// Ten thousand endpoints are dialed a few at a time, and all are.
func TestProberIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := &dialed{listens: make(map[string]bool)}
		many := probesOf("up", 10_000)
		for _, one := range many {
			d.listens[one.address] = true
		}
		p := d.prober(ctx)
		p.set(asSet(many))
		time.Sleep(time.Second)
		synctest.Wait()
		if len(d.answered) != len(many) || d.most > maxDials || d.answeredTwice {
			t.Errorf("%d of %d answered, twice: %v; %d dials at once, at most %d wanted", len(d.answered), len(many), d.answeredTwice, d.most, maxDials)
		}
		cancel()
		synctest.Wait()
	})
}

// Endpoints that stay silent or refuse do not make a new one wait.
func TestProberServesTheNewFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := &dialed{listens: map[string]bool{"new0": true}, refuses: make(map[string]bool)}
		silent, refusing, fresh := probesOf("silent", 2_000), probesOf("refusing", 2_000), probesOf("new", 1)
		for _, one := range refusing {
			d.refuses[one.address] = true
		}
		p := d.prober(ctx)
		p.set(asSet(silent, refusing))
		time.Sleep(time.Minute)
		begun := time.Now()
		p.set(asSet(silent, refusing, fresh))
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if at, ok := d.answered["new0"]; !ok || at.Sub(begun) > 5*time.Millisecond {
			t.Errorf("the new endpoint answered after %v (%v)", at.Sub(begun), ok)
		}
		cancel()
		synctest.Wait()
	})
}

// One that comes late is found soon after; one given up is not dialed again.
func TestProberGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := &dialed{listens: make(map[string]bool), refuses: map[string]bool{"late0": true, "gone0": true}}
		late, gone := probesOf("late", 1), probesOf("gone", 1)
		p := d.prober(ctx)
		p.set(asSet(late, gone))
		time.Sleep(300 * time.Millisecond)
		p.set(asSet(late))
		d.mu.Lock()
		d.listens["late0"], d.listens["gone0"] = true, true
		clear(d.refuses)
		d.mu.Unlock()
		time.Sleep(maxProbeWait)
		synctest.Wait()
		if len(d.answered) != 1 || d.answered["late0"].IsZero() {
			t.Errorf("answered: %v", d.answered)
		}
		cancel()
		synctest.Wait()
	})
}
