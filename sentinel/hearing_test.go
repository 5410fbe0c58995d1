package sentinel

import (
	"testing"
	"time"
)

// TestHearing: slow to judge, slower to trust, and quick at the beginning.
func TestHearing(t *testing.T) {
	var h hearing
	now := time.Unix(0, 0)
	for _, step := range []struct {
		what           string
		after          time.Duration
		needed, router bool
		deaf           bool
	}{
		{"nothing to announce", 0, false, false, false},
		{"no router yet", time.Minute, true, false, true},
		{"still none", deafAfter, true, false, true},
		{"the first one is believed at once", time.Second, true, true, false},
		{"it goes", time.Second, true, false, false},
		{"and comes in time", deafAfter - time.Millisecond, true, true, false},
		{"it goes again", time.Second, true, false, false},
		{"for long", deafAfter, true, false, true},
		{"it flaps: there", time.Second, true, true, true},
		{"it flaps: away", trustAfter - time.Millisecond, true, false, true},
		{"it flaps: there", time.Second, true, true, true},
		{"it stays", trustAfter, true, true, false},
		{"and stays", time.Hour, true, true, false},
		{"it goes for good", time.Second, true, false, false},
		{"for long", deafAfter, true, false, true},
		{"it is back", time.Second, true, true, true},
		{"and trusted", trustAfter, true, true, false},
		{"it flaps again: away", lossesCount, true, false, false},
		{"there", time.Second, true, true, false},
		{"away", time.Second, true, false, false},
		{"there", time.Second, true, true, false},
		{"away, once too often", time.Second, true, false, true},
		{"nothing to announce any more", time.Second, false, false, false},
	} {
		now = now.Add(step.after)
		h.listen(facts{needed: step.needed, router: step.router}, now)
		if h.deaf != step.deaf {
			t.Fatalf("%s: deaf %v", step.what, h.deaf)
		}
	}
	h = hearing{heard: true}
	if h.listen(facts{needed: true, cut: true}, now); !h.deaf {
		t.Error("BFD is not believed at once")
	}
}
