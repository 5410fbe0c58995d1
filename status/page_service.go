package status

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// serviceView is what the template of a service's page shows.
type serviceView struct {
	Base, Title, Node string
	Query             string // the search begins empty here
	Tone              tone
	Row               serviceRow
	Service           Service
	VIP               VIP
	Rows              []endpointRow
	Left              int
	Counted           bool
	Figures           []figure
	Uncounted         string // why there are no counters
	Steps             []Step
	Verdict           string
	VerdictTone       tone
	Next              string
	Unexplained       string
	Timeline          []moment
	LastID            uint64
}

// figure is a counter with its word.
type figure struct {
	Tone        tone
	Value, Word string
}

func newServiceView(r *Report, name string, events []Event, now time.Time) *serviceView {
	s := r.Services[name]
	v := &serviceView{Base: "../", Title: name, Node: r.Node, Tone: s.tone(), Row: newServiceRow(name, s), Service: s, VIP: r.VIPs[s.VIP], Rows: rowsOf(name, s)}
	slices.SortStableFunc(v.Rows, func(a, b endpointRow) int { return rankOf(a.Tone) - rankOf(b.Tone) })
	if v.Left = len(v.Rows) - pageEndpoints; v.Left > 0 {
		v.Rows = v.Rows[:pageEndpoints]
	}
	if len(events) > 0 {
		v.LastID = events[len(events)-1].ID
	}
	own := slices.DeleteFunc(events, func(e Event) bool { return !e.concerns(name, s.VIP) })
	v.Timeline = timeline(own, pageEvents, now)
	return v
}

// concerns reports whether an event is about a service or its VIP.
func (e Event) concerns(service, vip string) bool {
	subject, _, _ := strings.Cut(e.Subject, " ")
	switch e.Kind {
	case "endpoint":
		return subject == service
	case "vip", "prefix":
		return subject == vip
	}
	return false
}

// count puts HAProxy's counters to the endpoints they belong to.
func (v *serviceView) count(t Traffic, err error) {
	if err != nil {
		v.Uncounted = err.Error()
		return
	}
	v.Counted = true
	for i, row := range v.Rows {
		address, _, _ := strings.Cut(row.Address, " via ")
		if c, ok := t.Endpoints[IDOf(row.Name, address)]; ok {
			v.Rows[i].Counters = &c
		}
	}
	c := t.Total
	v.Figures = []figure{
		{off, fmt.Sprint(c.Rate), "new sessions a second"}, {off, fmt.Sprint(c.Current), "sessions now"}, {off, fmt.Sprintf("%d ms", c.Milliseconds), "mean time to answer"},
		{off, scaled(c.Sessions), "sessions"}, {off, scaled(c.Responses[1]), "2xx"}, {off, scaled(c.Responses[2]), "3xx"}, {off, scaled(c.Responses[3]), "4xx"},
		{alarming(c.Responses[4]), scaled(c.Responses[4]), "5xx"}, {alarming(c.ConnectionErrors), scaled(c.ConnectionErrors), "failed connections"},
		{alarming(c.ResponseErrors), scaled(c.ResponseErrors), "broken answers"}, {alarming(c.Retries), scaled(c.Retries), "retries"},
		{alarming(c.Queued), scaled(c.Queued), "waiting"}, {off, scaled(c.BytesOut) + "B", "sent to clients"}, {off, scaled(c.BytesIn) + "B", "received"},
	}
}

func alarming(n uint64) tone {
	if n > 0 {
		return warn
	}
	return off
}

// scaled is a number as one reads it aloud: 950, 12.3k, 4.5M.
func scaled(n uint64) string {
	f, unit := float64(n), ""
	for _, u := range []string{"k", "M", "G", "T"} {
		if f < 1000 {
			break
		}
		f, unit = f/1000, u
	}
	if unit == "" {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%.1f%s", f, unit)
}

func (v *serviceView) explain(e Explanation, err error) {
	if err != nil {
		v.Unexplained = err.Error()
		return
	}
	v.Steps, v.Next = e.Steps, e.Next
	v.Verdict, v.VerdictTone = v.Title+" "+e.Verdict, good
	if e.Verdict != GetsTraffic {
		v.VerdictTone = bad
		if v.standsBy() {
			v.VerdictTone = off
		}
		if e.Reason != "" {
			v.Verdict += ": " + e.Reason
		}
	}
}

// standsBy reports whether nothing keeps the traffic away but that another node
// has the VIP: no trouble.
func (v *serviceView) standsBy() bool {
	elsewhere := v.VIP.Role == "backup" || v.VIP.Role == "none"
	return elsewhere && !slices.ContainsFunc(v.Steps, func(s Step) bool { return s.Verdict == Fail && s.Step != "vip" })
}

// Tone of a verdict, for the page.
func (v Verdict) Tone() tone {
	switch v {
	case OK:
		return good
	case Fail:
		return bad
	case Warn:
		return warn
	}
	return off
}

func rankOf(t tone) int { return slices.Index([]tone{bad, warn, off, good}, t) }
