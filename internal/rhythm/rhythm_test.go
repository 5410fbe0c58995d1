package rhythm

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestNext(t *testing.T) {
	for _, tc := range []struct{ start, every, first, then time.Duration }{
		{0, 10 * time.Second, 10 * time.Second, 10 * time.Second},
		{3 * time.Second, 10 * time.Second, 7 * time.Second, 10 * time.Second},
		{9999 * time.Millisecond, 10 * time.Second, time.Millisecond, 10 * time.Second},
		{13 * time.Second, 30 * time.Second, 27 * time.Second, 30 * time.Second},
		{3 * time.Second, time.Hour, time.Hour - 3*time.Second, time.Hour},
		{3 * time.Second, 25 * time.Second, 17 * time.Second, 20 * time.Second},
		{3 * time.Second, time.Second, time.Second, time.Second},
		{3 * time.Second, 0, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(tc.start) // the clock starts at midnight
			if got := Next(tc.every); got != tc.first {
				t.Errorf("%v past the minute, every %v: first after %v, want %v", tc.start, tc.every, got, tc.first)
			}
			time.Sleep(tc.first)
			if got := Next(tc.every); got != tc.then {
				t.Errorf("%v past the minute, every %v: then after %v, want %v", tc.start, tc.every, got, tc.then)
			}
		})
	}
}
