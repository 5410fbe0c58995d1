package status

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

func TestBoardKeepsTheNewestEvents(t *testing.T) {
	b := NewBoard()
	if b.Report() != nil || len(b.Events(0)) != 0 {
		t.Fatal("a new board is not empty")
	}
	for range keptEvents + 5 {
		b.Emit(Event{Kind: "host"})
	}
	all := b.Events(0)
	if len(all) != keptEvents {
		t.Fatalf("kept %d events, want %d", len(all), keptEvents)
	}
	for i := range all[1:] {
		if all[i+1].ID != all[i].ID+1 {
			t.Fatalf("ID %d follows %d", all[i+1].ID, all[i].ID)
		}
	}
	if all[0].Time.IsZero() {
		t.Error("the event has no time")
	}
	newest := all[len(all)-1].ID
	for after, want := range map[uint64]int{
		newest: 0, newest - 1: 1, newest - 999: 999, newest - 1000: 1000, 1: 1000,
		newest + 1: 1000, math.MaxUint64: 1000, // of another run
	} {
		if got := len(b.Events(after)); got != want {
			t.Errorf("Events(newest%+d) = %d events, want %d", int64(after-newest), got, want)
		}
	}
}

// However readers and writers take turns, a reader gets rising IDs, sees the
// newest event, and Emit and Publish return though nobody reads.
func TestSlowReadersNeverBlock(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			ctx, cancel := context.WithCancel(t.Context())
			b := NewBoard()
			idle := b.Subscribe(ctx, 0) // never read
			slow := b.Subscribe(ctx, 0)
			var got uint64
			for range 300 {
				b.Emit(make([]Event, rng.IntN(20))...)
				b.Publish(&Report{Node: "lb1"})
				for range rng.IntN(4) {
					synctest.Wait()
					select {
					case e := <-slow:
						if e.ID <= got {
							t.Fatalf("event %d after %d", e.ID, got)
						}
						got = e.ID
					default:
					}
				}
			}
			b.Emit(Event{Subject: "last"})
			for e := range slow {
				got = e.ID
				if e.Subject == "last" {
					break
				}
			}
			if got != b.last {
				t.Errorf("the reader ended at %d, the newest is %d", got, b.last)
			}
			cancel()
			synctest.Wait()
			if _, open := <-slow; open {
				t.Error("the channel is open after the context ended")
			}
			_ = idle
		})
	}
}
