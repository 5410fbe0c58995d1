package haproxy

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// CheckResult is what HAProxy says of a server and of its last check.
type CheckResult struct {
	Status string        // UP, DOWN, UP 1/3, MAINT, DRAIN, no check
	Since  time.Duration // it has had this status
	Check  string        // L7OK, L4CON, L7STS…; "" = none was made yet
	Words  string        // the same for people: Layer7 wrong status
	Code   int           // of the answer, where there was one
	Took   time.Duration
	Said   string // what the server, or the kernel, said: never trust it
}

// String is the last check in a few words, printable whatever a server said.
func (r CheckResult) String() string {
	if r.Check == "" {
		return "not checked yet"
	}
	text := r.Check
	if r.Words != "" {
		text = r.Words + " (" + r.Check + ")"
	}
	if r.Code != 0 {
		text += fmt.Sprintf(" %d", r.Code)
	}
	if r.Said != "" {
		text += fmt.Sprintf(" %.80q", r.Said)
	}
	return fmt.Sprintf("%s in %d ms", text, r.Took.Milliseconds())
}

// CheckResults asks HAProxy for the last check of every server of a backend,
// by name. It costs a dump of the backend: not for the hot path.
func (h *HAProxy) CheckResults(ctx context.Context, backend string) (map[string]CheckResult, error) {
	if !nameForm.MatchString(backend) {
		return nil, fmt.Errorf("ask haproxy for checks: %.60q is no backend's name", backend)
	}
	all := make(map[string]CheckResult)
	for _, name := range h.backendsOf(backend) {
		text, err := h.cli.ask(ctx, "show stat "+name+" 4 -1")
		if err != nil {
			return nil, err
		}
		results, err := parseChecks(text, name)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, results)
	}
	return all, nil
}

// checkColumns are the columns of "show stat" that are read; HAProxy adds new
// ones at the end, so they are found by name.
var checkColumns = []string{"pxname", "svname", "status", "lastchg", "check_status", "check_code", "check_duration", "last_chk", "check_desc"}

// wordsForm is what HAProxy's own words look like.
var wordsForm = regexp.MustCompile(`^[A-Za-z0-9 /()'.,:_-]{0,80}$`)

// parseChecks reads the CSV of "show stat". Lines of unknown form are an error.
func parseChecks(text, backend string) (map[string]CheckResult, error) {
	if !strings.HasPrefix(text, "# ") {
		return nil, fmt.Errorf("read haproxy's statistics: %s", firstLine(text))
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("read haproxy's statistics: %w", cmp.Or(err, io.ErrUnexpectedEOF))
	}
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, name := range checkColumns {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("read haproxy's statistics: column %s is missing", name)
		}
	}
	results := make(map[string]CheckResult)
	for _, row := range rows[1:] {
		at := func(name string) string { return row[column[name]] }
		if at("pxname") != backend {
			continue
		}
		r, err := parseCheck(at)
		if err != nil {
			return nil, fmt.Errorf("read haproxy's statistics of %s/%s: %w", backend, at("svname"), err)
		}
		results[at("svname")] = r
	}
	return results, nil
}

func parseCheck(at func(string) string) (CheckResult, error) {
	var errs []error
	number := func(name string) int {
		if at(name) == "" {
			return 0
		}
		n, err := strconv.ParseUint(at(name), 10, 31)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s is %.40q", name, at(name)))
		}
		return int(n)
	}
	r := CheckResult{
		Status: at("status"),
		Since:  time.Duration(number("lastchg")) * time.Second,
		Check:  strings.TrimPrefix(at("check_status"), "* "), // one is under way
		Words:  at("check_desc"),
		Code:   number("check_code"),
		Took:   time.Duration(number("check_duration")) * time.Millisecond,
		Said:   at("last_chk"),
	}
	for _, word := range []string{r.Status, r.Check, r.Words} { // HAProxy's own words
		if !wordsForm.MatchString(word) {
			errs = append(errs, fmt.Errorf("%.40q is none of its words", word))
		}
	}
	if r.Check == "INI" { // initializing
		r.Check = ""
	}
	return r, errors.Join(errs...)
}
