// Package rhythm has a node's slow looks fall together. To a process that idles,
// waking up costs more than the look it wakes up for.
package rhythm

import "time"

// beat is what longer intervals are fitted to.
const beat = 10 * time.Second

// Next is how long to wait for the next of those looks that happen every so
// often: at most that long, and from the second one exactly, as intervals are
// multiples of ten seconds. Those end at the same moments in all processes of a
// machine. An interval of less than ten seconds is not fitted to anything.
func Next(every time.Duration) time.Duration {
	if every < beat {
		return every
	}
	now := time.Now()
	return now.Add(every).Truncate(beat).Sub(now)
}
