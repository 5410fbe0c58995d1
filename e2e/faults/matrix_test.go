package faults

import (
	"flag"
	"fmt"
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
	quick  bool               // tried without VIPILOT_FAULTS=all as well
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
}

func (m measure) within(most measure) bool {
	return m.Lost <= most.Lost && m.Gap <= most.Gap && m.Dark <= most.Dark
}

func (m measure) String() string {
	return fmt.Sprintf("%d lost, gap %d ms, unserved route %d ms", m.Lost, m.Gap.Milliseconds(), m.Dark.Milliseconds())
}

// cell is one fault in one mode.
type cell struct {
	Fault  string  `json:"fault"`
	Mode   string  `json:"mode"`
	Struck measure `json:"struck"`
	Healed measure `json:"healed"`
	Heals  bool    `json:"heals"` // there is a way back
}

// TestMatrix is the whole matrix, or what is quick of it.
func TestMatrix(t *testing.T) {
	var cells []cell
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			rows := rowsOf(m)
			if len(rows) == 0 {
				return
			}
			s := open(t, m)
			for _, f := range rows {
				tried := len(cells)
				ok := t.Run(f.name, func(t *testing.T) { cells = append(cells, s.with(t).try(f)) })
				if !ok && len(cells) == tried {
					return // it was not mended: the next would start from rubble
				}
			}
		})
	}
	if *write {
		if err := publish(cells); err != nil {
			t.Error(err)
		}
	}
	if len(cells) > 0 {
		t.Logf("\n%s", table(cells))
	}
}

// rowsOf are the faults that are to be tried in a mode.
func rowsOf(m mode) (rows []fault) {
	for _, f := range faults() {
		if (everything() || f.quick && m.quick) && (f.in == nil || f.in(m)) {
			rows = append(rows, f)
		}
	}
	return rows
}

// try makes a fault happen and undoes it, each under load.
func (s *scene) try(f fault) cell {
	s.t.Helper()
	c := cell{Fault: f.name, Mode: s.mode.name, Heals: f.heal != nil}
	defer func() {
		if s.t.Failed() {
			s.explain()
		}
	}()
	most := f.bound(s.mode)
	c.Struck = s.measured(f.strike)
	s.t.Logf("struck: %v", c.Struck)
	s.judge("struck", c.Struck, most)
	if f.back != nil {
		most = f.back(s.mode)
	}
	if f.heal != nil {
		c.Healed = s.measured(f.heal)
		s.t.Logf("healed: %v", c.Healed)
		s.judge("healed", c.Healed, most)
	}
	s.whole()
	return c
}

func (s *scene) judge(when string, got, most measure) {
	s.t.Helper()
	if !everything() { // beside the other tests, on a busy machine
		most.Lost, most.Gap, most.Dark = 4*most.Lost+20, 4*most.Gap+2*time.Second, 4*most.Dark+2*time.Second
	}
	if !got.within(most) {
		s.t.Errorf("%s: %v; at most %v", when, got, most)
	}
}

// measured runs f under 500 requests a second, half of them on kept connections.
func (s *scene) measured(f func(*scene)) measure {
	s.t.Helper()
	load := func(keep bool) *lab.Running {
		return lab.Load{From: s.Client, URL: "http://" + s.mode.address + "/", Name: "todo.example.net", Method: "POST",
			Rate: 250, KeepAlive: keep, Timeout: 3 * time.Second, Slow: 500 * time.Millisecond}.Start(s.ctx)
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
		m.Dark = sight.Dark
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
