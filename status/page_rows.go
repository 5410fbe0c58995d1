package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// serviceRow is one line of the table of services.
type serviceRow struct {
	Tone    tone
	Name    string
	VIP     string
	Ready   int
	All     int
	Trouble string // the first thing that is not as it should be
}

func newServiceRow(name string, s Service) serviceRow {
	row := serviceRow{Tone: s.tone(), Name: name, VIP: s.VIP, Ready: s.ready(), All: len(s.Endpoints)}
	var troubles []string
	for _, e := range s.Endpoints {
		if e.State != "ready" {
			troubles = append(troubles, e.Name+" "+e.State)
		}
	}
	for _, r := range s.Rejected {
		troubles = append(troubles, r.Name+" rejected: "+r.Reason)
	}
	if len(troubles) > 0 {
		row.Trouble = troubles[0]
	}
	if more := len(troubles) - 1; more > 0 {
		row.Trouble += fmt.Sprintf(", and %d more", more)
	}
	return row
}

// endpointRows is the table of endpoints: all, or, where they are too many,
// those in trouble.
type endpointRows struct {
	Rows    []endpointRow
	Partial bool // ready ones are left out
	Left    int  // of those in trouble
}

// endpointRow is an endpoint, or a container that was rejected.
type endpointRow struct {
	Tone                                 tone
	Service, Name, State, Address, Words string
	Counters                             *Counters // nil = not counted
}

func newEndpointRows(r *Report) (t endpointRows) {
	all := 0
	for _, s := range r.Services {
		all += len(s.Endpoints) + len(s.Rejected)
	}
	t.Partial = all > pageEndpoints
	for _, name := range r.byVIP() {
		for _, row := range rowsOf(name, r.Services[name]) {
			switch {
			case t.Partial && row.Tone == good:
			case len(t.Rows) == pageEndpoints:
				t.Left++
			default:
				t.Rows = append(t.Rows, row)
			}
		}
	}
	slices.SortStableFunc(t.Rows, func(a, b endpointRow) int { return rankOf(a.Tone) - rankOf(b.Tone) })
	return t
}

// rowsOf are the endpoints and rejected containers of one service.
func rowsOf(name string, s Service) []endpointRow {
	rows := make([]endpointRow, 0, len(s.Endpoints)+len(s.Rejected))
	for _, e := range s.Endpoints {
		rows = append(rows, endpointRow{Tone: toneOf(e.State), Service: name, Name: e.Name, State: cmp.Or(e.State, "unknown"), Address: e.place(), Words: e.Reason})
	}
	for _, one := range s.Rejected {
		rows = append(rows, endpointRow{Tone: warn, Service: name, Name: one.Name, State: "rejected", Words: strings.Trim(one.Reason+": "+one.Detail, ": ")})
	}
	return rows
}

// tally counts what the node knows, for the line on top.
func (r *Report) tally() []tally {
	ready, all, served := 0, 0, 0
	worst := good
	for _, s := range r.Services {
		ready, all = ready+s.ready(), all+len(s.Endpoints)
		if s.ready() > 0 {
			served++
		}
		worst = worse(worst, s.tone())
	}
	connected, hosts := 0, good
	for _, h := range r.Hosts {
		if h.State == "connected" {
			connected++
		}
		hosts = worse(hosts, toneOf(h.State))
	}
	held, silent := 0, off
	for _, v := range r.VIPs {
		if carries(v.Role) {
			held++
			silent = worse(silent, v.tone())
		}
	}
	of := func(n, m int) string { return fmt.Sprintf("%d/%d", n, m) }
	return []tally{
		{silent, of(held, len(r.VIPs)), "VIPs held here", "#vips"},
		{worst, of(served, len(r.Services)), "services served", "#services"},
		{worst, of(ready, all), "endpoints ready", "#endpoints"},
		{hosts, of(connected, len(r.Hosts)), "hosts connected", "#hosts"},
	}
}

// worse of two tones.
func worse(a, b tone) tone {
	order := []tone{good, off, warn, bad}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// moment is what one cause changed.
type moment struct {
	Time    time.Time
	Stamp   string // of Time; with the day where it is not today's
	Tone    tone
	Cause   string
	Changes []Event
	Left    int
}

const mostChanges = 8

// timeline puts events of one cause together, newest first.
func timeline(events []Event, most int, now time.Time) []moment {
	events = events[max(0, len(events)-most):]
	var all []moment
	for _, e := range slices.Backward(events) {
		last := len(all) - 1
		if last < 0 || all[last].Cause != e.Cause || all[last].Time.Sub(e.Time) > 100*time.Millisecond {
			all = append(all, moment{Time: e.Time, Stamp: stamp(e.Time, now), Cause: e.Cause, Tone: good})
			last++
		}
		m := &all[last]
		m.Tone = worse(m.Tone, e.tone())
		if len(m.Changes) == mostChanges {
			m.Left++
			continue
		}
		m.Changes = append(m.Changes, e)
	}
	for i := range all {
		slices.Reverse(all[i].Changes)
	}
	return all
}

// stamp is a time of day, with its day unless that is today (UTC).
func stamp(t, now time.Time) string {
	form := "15:04:05.000"
	if t.UTC().Format(time.DateOnly) != now.UTC().Format(time.DateOnly) {
		form = "Jan 2 15:04:05"
	}
	return t.UTC().Format(form)
}

// tone of what an event changed to.
func (e Event) tone() tone {
	switch {
	case e.To == "not ready", e.To == "not ready there", e.Kind == "config" && e.Subject == "error" && e.To != "":
		return bad
	case e.To == "removed", strings.HasPrefix(e.To, "rejected"), e.To == "withdrawn", e.Kind == "config" && e.Subject == "pending" && e.To != "":
		return warn
	case e.Kind == "endpoint", e.Kind == "host", e.Kind == "vip":
		if strings.HasSuffix(e.Subject, " address") {
			return off
		}
		return toneOf(e.To)
	}
	return good
}
