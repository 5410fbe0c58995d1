package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vipilot/vipilot/e2e/lab"
)

// publish adds what was measured to what is known from earlier runs, and
// writes the page anew.
func publish(measured []cell) error {
	const known = "testdata/measured.json" // in the package's directory
	var cells []cell
	data, err := os.ReadFile(known)
	if err == nil {
		err = json.Unmarshal(data, &cells)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read earlier measurements: %w", err)
	}
	for _, m := range modes() {
		for _, c := range measured {
			if c.Mode == m.name {
				cells = slices.DeleteFunc(cells, func(old cell) bool { return old.Fault == c.Fault && old.Mode == c.Mode })
				cells = append(cells, c)
			}
		}
	}
	if data, err = json.MarshalIndent(cells, "", "\t"); err != nil {
		return err
	}
	return errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(known, append(data, '\n'), 0o644),
		os.WriteFile(filepath.Join(lab.Source(), "docs", "faults.md"), []byte(document(cells)), 0o644))
}

// document is docs/faults.md.
func document(cells []cell) string {
	out := new(strings.Builder)
	out.WriteString(`# Faults

What breaks, and what clients notice. Every cell was measured on real daemons in network namespaces of one machine, with 500 requests a second
from beyond the router, half of them on kept connections and half on a new connection each. ` + "`make faults`" + ` measures all of it again, fails where a
bound is passed, and writes this page; it is not part of ` + "`make test`" + `.

A cell says: requests **lost** / longest **gap**, in which requests failed or took more than half a second / longest time in which the router had a
route to a node that did **not answer**. What is 0 at the end is left out. Behind → the same for the way back: the daemon restarted, the cable plugged in, the node booted.

`)
	out.WriteString(table(cells))
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

- **A clock that jumps** changes nothing of all this. Every wait, deadline and interval of vipilot is measured with Go's monotonic clock, and so are keepalived's, FRR's and BIRD's timers;
  HAProxy takes a jump of the wall clock out again by itself. The wall clock is read for what people read, for the days of certificates, and for the
  name of a process (its start, which the kernel counts from the boot). No test moves the clock of the machine it runs on.
- **Sentinel, its dead man's switch and the controller killed at the same moment**: GoBGP's routes go at once; keepalived finds the sentinel's lock free and gives the VIPs up after two to four seconds (` + "`TestLifeFile`" + `: 2.9 s; ` + "`TestE2EKeepalived`" + `: 3.9 s). FRR,
  where it speaks, announces anycast prefixes on until the controller is started again ([decision 14](decisions/0014-a-sentinel-hands-over.md)).
- **On the wire** (` + "`TestWire`" + `): from the kernel's change of the address to the BGP UPDATE at the router, and from HAProxy's death to the withdrawal, with the controllers dead.
`)
	return out.String()
}
