package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// accepted are advisories that hold for a module we link, have no release we
// could take, and do not hold for vipilot. docs/security.md tells them to users;
// each has to go as soon as govulncheck does not find it any more.
var accepted = map[string]string{
	"GO-2026-4736": "GoBGP: an UPDATE with a short NEXT_HOP panics only with treat-as-withdraw (RFC 7606), which vipilot leaves off; nor does GoBGP get to read an UPDATE (TestSieve)",
	"GO-2026-4883": "Moby: plugin privileges, in the daemon; vipilot links the client alone",
	"GO-2026-4887": "Moby: AuthZ plugins, in the daemon; vipilot links the client alone",
}

// finding is what we read of one message of govulncheck -format json.
type finding struct {
	Finding *struct {
		OSV   string `json:"osv"`
		Trace []struct {
			Module   string `json:"module"`
			Version  string `json:"version"`
			Function string `json:"function"` // empty: the module is required, nothing vulnerable is called
		} `json:"trace"`
	} `json:"finding"`
	SBOM *struct {
		Modules []any `json:"modules"`
	} `json:"SBOM"`
}

// judge reads what govulncheck found. It fails where code that is called has an
// advisory that is not accepted, where an accepted one is no longer found, and
// where the input is not a whole report.
func judge(w io.Writer, report io.Reader, accepted map[string]string) error {
	called := make(map[string]string) // advisory: module
	whole := false
	for d := json.NewDecoder(report); ; {
		var m finding
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read govulncheck's report: %w", err)
		}
		whole = whole || m.SBOM != nil
		if m.Finding != nil && len(m.Finding.Trace) > 0 && m.Finding.Trace[0].Function != "" {
			called[m.Finding.OSV] = m.Finding.Trace[0].Module + " " + m.Finding.Trace[0].Version
		}
	}
	if !whole {
		return errors.New("read govulncheck's report: it names no modules; did it run, with -format json?")
	}
	var faults []string
	for _, id := range slices.Sorted(maps.Keys(called)) {
		if reason, ok := accepted[id]; ok {
			fmt.Fprintf(w, "%s in %s: accepted: %s\n", id, called[id], reason)
		} else {
			faults = append(faults, fmt.Sprintf("%s in %s is called: https://pkg.go.dev/vuln/%s", id, called[id], id))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(accepted)) {
		if called[id] == "" {
			faults = append(faults, id+" is accepted in internal/inventory/advisories.go but not found any more: remove it there and in docs/security.md")
		}
	}
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "\n"))
	}
	fmt.Fprintln(w, "no known vulnerability that concerns vipilot")
	return nil
}
