package status

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// keptEvents is how many events a reader can be late.
const keptEvents = 1000

// Board holds the last report and the newest events. Writers never wait for
// readers: a reader has a cursor of its own, and one who falls more than a
// thousand events behind misses the oldest, which shows as a gap in the IDs.
// Its methods may be called from any goroutine.
type Board struct {
	report atomic.Pointer[Report]

	mu     sync.Mutex
	events []Event       // oldest first, IDs without a gap
	last   uint64        // the newest ID given
	more   chan struct{} // closed by the next Emit
}

// NewBoard makes an empty board. IDs start from the clock, so that they go on
// rising when a controller is replaced and a reader resumes at its successor.
func NewBoard() *Board {
	return &Board{
		last: uint64(max(time.Now().UnixMicro(), 0)),
		more: make(chan struct{}),
	}
}

// Publish makes r the report that everybody reads. It does not block; r must
// not be changed any more.
func (b *Board) Publish(r *Report) { b.report.Store(r) }

// Report is the last one published, nil before the first. It is shared: do
// not change it.
func (b *Board) Report() *Report { return b.report.Load() }

// Emit appends events, giving each the next ID and the time if it has none.
// It does not wait for readers.
func (b *Board) Emit(events ...Event) {
	if len(events) == 0 {
		return
	}
	now := time.Now().UTC()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		b.last++
		e.ID = b.last
		if e.Time.IsZero() {
			e.Time = now
		}
		b.events = append(b.events, e)
	}
	if extra := len(b.events) - keptEvents; extra > 0 {
		b.events = slices.Delete(b.events, 0, extra)
	}
	if cap(b.events) > 2*keptEvents { // a burst leaves no room behind
		b.events = slices.Clone(b.events)
	}
	close(b.more)
	b.more = make(chan struct{})
}

// Events are the kept events with an ID above after, oldest first; the slice
// is the caller's. An ID never given yet belongs to another run: all are sent.
func (b *Board) Events(after uint64) []Event {
	events, _ := b.next(after)
	return events
}

// Subscribe sends the kept events with an ID above after and then each new
// one. The channel is closed when ctx ends.
func (b *Board) Subscribe(ctx context.Context, after uint64) <-chan Event {
	out := make(chan Event)
	go func() {
		defer close(out)
		for {
			events, more := b.next(after)
			for _, e := range events {
				select {
				case out <- e:
					after = e.ID
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// next gives what a reader at after has not seen, and a channel that is
// closed when there is more. Both are taken at once, so nothing falls between.
func (b *Board) next(after uint64) ([]Event, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if after > b.last {
		after = 0
	}
	seen := max(0, len(b.events)-int(min(b.last-after, keptEvents)))
	return slices.Clone(b.events[seen:]), b.more
}
