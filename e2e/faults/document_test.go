package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	known = "testdata/measured.json" // in the package's directory
	page  = "../../docs/faults.md"
)

// record is all that was measured, in this run and in earlier ones.
type record struct {
	Cells   []cell                   `json:"cells"`   // mode by mode, fault by fault
	Figures map[string]time.Duration `json:"figures"` // what the cells do not say
}

func readRecord() (r record, err error) {
	data, err := os.ReadFile(known)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read earlier measurements: %w", err)
	}
	return r, nil
}

// publish adds what was measured to what is known from earlier runs, and
// writes the page anew.
func publish(measured []cell, figures map[string]time.Duration) error {
	r, err := readRecord()
	if err != nil {
		return err
	}
	measured = append(measured, r.Cells...) // the first of a kind counts
	r.Cells = nil
	for _, m := range modes() {
		for _, f := range faults() {
			i := slices.IndexFunc(measured, func(c cell) bool { return c.Mode == m.name && c.Fault == f.name })
			if i >= 0 {
				r.Cells = append(r.Cells, measured[i])
			}
		}
	}
	all := make(map[string]time.Duration)
	maps.Copy(all, r.Figures)
	maps.Copy(all, figures)
	r.Figures = all
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(known, append(data, '\n'), 0o644), os.WriteFile(page, []byte(r.document()), 0o644))
}

// The page is what the measurements make of it; make faults writes both.
func TestPage(t *testing.T) {
	r, err := readRecord()
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if *write {
		if err := publish(nil, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(written) != r.document() {
		t.Error("docs/faults.md is not what e2e/faults makes of testdata/measured.json: go test ./e2e/faults -run TestPage -write")
	}
}

// document is docs/faults.md.
func (r record) document() string {
	out := new(strings.Builder)
	out.WriteString(`# Faults

What breaks, and what clients notice. Every cell was measured on real daemons in network namespaces of one machine, with 500 requests a second
from beyond the router, half of them on kept connections and half on a new connection each. ` + "`make faults`" + ` measures all of it again, fails where a
bound is passed, and writes this page; ` + "`make test`" + ` tries a few cells, with fewer requests and wide bounds. A run of some cells keeps the others: they may come from different builds.

A cell says: requests **lost** / longest **gap**, in which requests failed or took more than half a second / longest time in which the router had a
route to a node that did **not answer**. What is 0 at the end is left out; – does not apply, or was not measured yet. Behind → the same for the way back: the daemon restarted, the cable plugged in, the node booted.

`)
	out.WriteString(table(r.Cells))
	out.WriteString("\n## Figures\n\n| what | wanted | measured |\n|---|---|---|\n")
	for _, f := range r.figures() {
		fmt.Fprintf(out, "| %s | %s | %s |\n", f[0], f[1], f[2])
	}
	out.WriteString("\n## Modes\n\n")
	for _, m := range modes() {
		fmt.Fprintf(out, "- **%s**: %s\n", m.name, m.about)
	}
	out.WriteString("\n## Faults\n\n")
	for _, f := range faults() {
		fmt.Fprintf(out, "- **%s**: %s\n", f.name, f.about)
	}
	out.WriteString(`
## Not in the table

- **A clock that jumps** is set, in its row, for the node alone: no test sets the clock of the machine it runs on. Go's time package is built with a wall clock
  that can be set, and programs in C have one preloaded (e2e/lab/clock.go, e2e/clock/clock.c); timers, which the kernel keeps on another clock, are the real ones, as they are when a
  clock is set. That nothing in vipilot is measured by the wall clock is held by a test (` + "`TestMonotonicClock`" + `). HAProxy 2.6 times by the wall clock; it takes a jump out again,
  but requests that are under way at that very moment may be given up (504).
- **Sentinel, its dead man's switch and the controller killed at the same moment**: GoBGP's routes go at once; keepalived finds the sentinel's lock free and gives the VIPs up after two to four seconds (` + "`TestLifeFile`" + `: 2.9 s; ` + "`TestE2EKeepalived`" + `: 3.9 s). FRR,
  where it speaks, announces anycast prefixes on until the controller is started again ([decision 14](decisions/0014-a-sentinel-hands-over.md)).
`)
	return out.String()
}
