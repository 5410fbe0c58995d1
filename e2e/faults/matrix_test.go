package faults

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

var write = flag.Bool("write", false, "write docs/faults.md from what was measured")

// fault is a row of the matrix.
type fault struct {
	name   string
	about  string
	apart  bool               // tried in a scene of its own, whose master has a clock of its own
	steady bool               // no route may be away for a moment
	in     func(mode) bool    // where it applies; nil = everywhere
	strike func(*scene)       // does it, and waits for what follows
	heal   func(*scene)       // undoes it; nil = there is nothing to undo
	bound  func(mode) measure // the most that may happen
	back   func(mode) measure // the most on the way back; nil = as bound
}

// measure is what clients and the watch have seen.
type measure struct {
	Lost int           `json:"lost"`
	Gap  time.Duration `json:"gap"`  // longest time in which requests failed or took more than half a second
	Dark time.Duration `json:"dark"` // longest time in which the router had a route to a node that did not answer
	Away time.Duration `json:"away"` // longest time in which the router had no route at all
}

func (m measure) within(most measure) bool {
	return m.Lost <= most.Lost && m.Gap <= most.Gap && m.Dark <= most.Dark && m.Away <= most.Away
}

func (m measure) String() string {
	return fmt.Sprintf("%d lost, gap %d ms, unserved route %d ms, no route %d ms", m.Lost, m.Gap.Milliseconds(), m.Dark.Milliseconds(), m.Away.Milliseconds())
}

// cell is one fault in one mode.
type cell struct {
	Fault  string  `json:"fault"`
	Mode   string  `json:"mode"`
	Struck measure `json:"struck"`
	Healed measure `json:"healed"`
	Heals  bool    `json:"heals"` // there is a way back
}

// quick are the cells that are tried without VIPILOT_FAULTS=all as well, as a
// part of make test.
var quick = map[string][]string{
	"VRRP+BGP":    {"controller killed", "HAProxy worker killed", "node drained", "broken revision", "node loses power"},
	"anycast+BGP": {"sentinel killed", "node loses power"},
	"VRRP+OSPF":   {"ospfd killed", "node loses power"},
}

// TestMatrix is the whole matrix, or what is quick of it.
func TestMatrix(t *testing.T) {
	var cells []cell
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			cells = append(cells, column(t, m, false)...)
			cells = append(cells, column(t, m, true)...)
		})
	}
	if *write {
		if err := publish(cells, nil); err != nil {
			t.Error(err)
		}
	}
	if len(cells) > 0 {
		t.Logf("\n%s", table(cells))
	}
}

// column tries the faults of a mode one after the other: those that share a
// scene, or those that are tried apart.
func column(t *testing.T, m mode, apart bool) (cells []cell) {
	var s *scene
	for _, f := range faults() {
		if f.apart != apart || !wanted(f, m) {
			continue
		}
		if s == nil {
			m.ownClock, m.smallDisks = apart, m.smallDisks && !apart
			s = open(t, m)
		}
		tried := len(cells)
		ok := t.Run(f.name, func(t *testing.T) { cells = append(cells, s.with(t).try(f)) })
		if !ok && len(cells) == tried {
			return cells // it was not mended: the next would start from rubble
		}
	}
	return cells
}

// wanted says whether a fault is to be tried in a mode.
func wanted(f fault, m mode) bool {
	if !everything() {
		return slices.Contains(quick[m.name], f.name)
	}
	return (m.only == nil || slices.Contains(m.only, f.name)) && (f.in == nil || f.in(m))
}

// try makes a fault happen and undoes it, each under load.
func (s *scene) try(f fault) cell {
	s.t.Helper()
	c := cell{Fault: f.name, Mode: s.mode.name, Heals: f.heal != nil}
	defer func() {
		if s.t.Failed() {
			s.Explain(s.t.Logf)
		}
	}()
	limit := func(bound func(mode) measure) measure {
		most := bound(s.mode)
		if !f.steady {
			most.Away = time.Minute
		}
		return most
	}
	most := limit(f.bound)
	if everything() {
		s.awaitQuiet()
	}
	c.Struck = s.measured(f.strike)
	s.t.Logf("struck: %v", c.Struck)
	s.judge("struck", c.Struck, most)
	if f.back != nil {
		most = limit(f.back)
	}
	if f.heal != nil {
		c.Healed = s.measured(f.heal)
		s.t.Logf("healed: %v", c.Healed)
		s.judge("healed", c.Healed, most)
	}
	s.whole()
	return c
}

// awaitQuiet waits a while for a machine on which nothing else runs: what is
// measured is to be the fault's doing.
func (s *scene) awaitQuiet() {
	idle := func() (idle, all float64) {
		var user, nice, system, rest, wait float64
		data, err := os.ReadFile("/proc/stat")
		s.must(err)
		_, err = fmt.Sscanf(string(data), "cpu %f %f %f %f %f", &user, &nice, &system, &rest, &wait)
		s.must(err)
		return rest + wait, user + nice + system + rest + wait
	}
	for range 3 {
		before, from := idle()
		s.rest(time.Second)
		if now, to := idle(); now-before > 0.7*(to-from) {
			return
		}
	}
	s.t.Log("the machine is busy")
}

func (s *scene) judge(when string, got, most measure) {
	s.t.Helper()
	if !everything() { // beside the other tests, on a busy machine, with less than half of the requests
		most.Lost, most.Gap, most.Dark = 2*most.Lost+20, 4*most.Gap+2*time.Second, 4*most.Dark+2*time.Second
		most.Away += 2 * time.Second
	}
	if !got.within(most) {
		s.t.Errorf("%s: %v; at most %v", when, got, most)
	}
}

// measured runs f under 500 requests a second, half of them on kept connections.
// Beside other tests it is 200, from clients with more patience.
func (s *scene) measured(f func(*scene)) measure {
	s.t.Helper()
	rate, timeout := 250, 3*time.Second
	if !everything() {
		rate, timeout = 100, 5*time.Second
	}
	load := func(keep bool) *lab.Running {
		return lab.Load{From: s.Client, URL: "http://" + s.mode.address + "/", Name: lab.TodoSite, Method: "POST",
			Rate: rate, KeepAlive: keep, Timeout: timeout, Slow: 500 * time.Millisecond}.Start(s.ctx)
	}
	if s.watch != nil {
		s.watch.Take()
	}
	kept, closing := load(true), load(false)
	stopped := false
	stop := func() lab.Result { stopped = true; return kept.Stop().Merge(closing.Stop()) }
	defer func() { // f may have ended the test
		if !stopped {
			s.t.Logf("clients: %v", stop())
		}
	}()
	s.rest(300 * time.Millisecond)
	f(s)
	s.rest(time.Second)
	seen := stop()
	s.t.Logf("clients: %v", seen)
	m := measure{Lost: seen.Failed, Gap: seen.Outage(100 * time.Millisecond)}
	if s.watch != nil {
		sight := s.watch.Take()
		s.t.Logf("watch: %+v", sight)
		m.Dark, m.Away = sight.Dark, sight.Absent
	}
	if seen.OK == 0 {
		s.t.Error("no request was answered")
	}
	return m
}

// table is the matrix as Markdown: a row a fault, a column a mode.
func table(cells []cell) string {
	var columns, rows []string
	at := make(map[[2]string]cell)
	for _, c := range cells {
		at[[2]string{c.Fault, c.Mode}] = c
	}
	for _, m := range modes() {
		if slices.ContainsFunc(cells, func(c cell) bool { return c.Mode == m.name }) {
			columns = append(columns, m.name)
		}
	}
	out := new(strings.Builder)
	fmt.Fprintf(out, "| fault | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, f := range faults() {
		row := []string{f.name}
		known := false
		for _, mode := range columns {
			c, ok := at[[2]string{f.name, mode}]
			known = known || ok
			row = append(row, c.text(ok))
		}
		if known {
			rows = append(rows, "| "+strings.Join(row, " | ")+" |\n")
		}
	}
	out.WriteString(strings.Join(rows, ""))
	return out.String()
}

// text of a cell: lost, gap, unserved; and behind → the same for the way back.
func (c cell) text(known bool) string {
	short := func(m measure) string {
		text := fmt.Sprintf("%d", m.Lost)
		if m.Gap > 0 || m.Dark > 0 {
			text += fmt.Sprintf(" / %d ms", m.Gap.Milliseconds())
		}
		if m.Dark > 0 {
			text += fmt.Sprintf(" / %d ms", m.Dark.Milliseconds())
		}
		return text
	}
	switch {
	case !known:
		return "–"
	case c.Heals:
		return short(c.Struck) + " → " + short(c.Healed)
	}
	return short(c.Struck)
}
