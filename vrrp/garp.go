package vrrp

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// maxGARP bounds: what is more would only be a mistake.
const (
	maxGARPDelay    = 1000 * time.Second
	maxGARPRefresh  = 24 * time.Hour
	maxGARPInterval = time.Second
)

// garpText is GARP in keepalived's words.
type garpText struct {
	Delay, Refresh int64
	Repeat         uint8
}

// paceText is the pause between two messages on an interface.
type paceText struct{ Interface, Interval string }

// orDefault is g, or what the zero value stands for.
func (g GARP) orDefault() GARP {
	if g == (GARP{}) {
		return DefaultGARP
	}
	return g
}

func (g GARP) text() garpText {
	return garpText{Delay: int64(g.Delay / time.Second), Refresh: int64(g.Refresh / time.Second), Repeat: g.Repeat}
}

// ownText is what an instance says for itself; nil = it is as all are.
func (g GARP) ownText() *garpText {
	own := g.orDefault().text()
	if own == DefaultGARP.text() {
		return nil
	}
	return &own
}

// paces are the interfaces with a pause: keepalived has one for each, not one
// for each instance.
func paces(instances []Instance) (all []paceText) {
	longest := make(map[string]time.Duration)
	for _, i := range instances {
		if i.GARP.Interval > 0 {
			longest[i.Interface] = max(longest[i.Interface], i.GARP.Interval)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(longest)) {
		all = append(all, paceText{name, strconv.FormatFloat(longest[name].Seconds(), 'f', -1, 64)})
	}
	return all
}

// validate names one fault.
func (g GARP) validate() error {
	g = g.orDefault()
	whole := func(d, most time.Duration) bool { return d >= 0 && d <= most && d%time.Second == 0 }
	switch {
	case !whole(g.Delay, maxGARPDelay):
		return fmt.Errorf("garp delay %s: must be whole seconds from 0s to %s", g.Delay, maxGARPDelay)
	case !whole(g.Refresh, maxGARPRefresh):
		return fmt.Errorf("garp refresh %s: must be whole seconds from 0s to %s", g.Refresh, maxGARPRefresh)
	case g.Repeat == 0:
		return fmt.Errorf("garp repeat 0: nobody would be told")
	case g.Interval < 0 || g.Interval > maxGARPInterval || g.Interval%time.Microsecond != 0:
		return fmt.Errorf("garp interval %s: must be whole microseconds from 0s to %s", g.Interval, maxGARPInterval)
	}
	return nil
}
