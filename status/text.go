package status

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// fewEndpoints is how many endpoints of a service the text shows.
const fewEndpoints = 12

// WriteText writes the report for a person at a terminal: what is wrong first,
// then components, VIPs, hosts and services. It shows nothing unprintable,
// whatever the report holds.
func WriteText(w io.Writer, r *Report, color bool) error {
	buffered := bufio.NewWriter(w)
	t := &page{w: buffered, color: color, now: time.Now()}
	if r == nil {
		t.line(paint{bad, "no report yet"})
		return buffered.Flush()
	}
	t.head(r)
	t.components(r)
	t.vips(r)
	t.hosts(r)
	t.services(r)
	t.certificates(r)
	t.drained(r)
	return buffered.Flush()
}

// page writes lines and tables.
type page struct {
	w     *bufio.Writer
	color bool
	now   time.Time
}

// paint is text in the colour of its tone; the zero tone is plain.
type paint struct {
	tone tone
	text string
}

func (p *page) head(r *Report) {
	node, state, t := r.Node, "not ready", bad
	if node == "" {
		node = "this node"
	}
	if r.Ready {
		state, t = "ready", good
	}
	p.line(paint{t, t.Shape()}, paint{text: " " + node + " "}, paint{t, state})
	revision := "revision " + r.Config.Revision
	if r.Config.Revision == "" {
		revision = "no revision in force"
	}
	if at := r.Config.AppliedAt; at != nil {
		revision += ", applied " + age(p.now.Sub(*at)) + " ago"
	}
	p.line(paint{off, "  " + revision + ", vipilot " + r.Version})
	if r.Stage != "" && r.Stage != "in service" {
		p.line(paint{warn, "! node: " + r.Stage})
	}
	for _, reason := range r.Unready() {
		p.line(paint{bad, "! " + reason})
	}
	if r.Ready { // for the last good revision
		for _, trouble := range r.Config.troubles() {
			p.line(paint{warn, "! " + trouble})
		}
	}
}

func (p *page) components(r *Report) {
	var rows [][]paint
	for _, c := range r.components() {
		pid := ""
		if c.PID != 0 {
			pid = fmt.Sprintf("pid %d", c.PID)
		}
		rows = append(rows, row(toneOf(c.State), c.Name, c.State, pid, c.Detail))
	}
	for _, name := range sorted(r.Components.Speaker.Peers) {
		peer := r.Components.Speaker.Peers[name]
		rows = append(rows, row(peer.tone(), "peer "+name, peer.State, "", peer.standing()))
	}
	if f := r.Components.FRR; f != nil {
		for _, name := range sorted(f.Neighbors) {
			n := f.Neighbors[name]
			rows = append(rows, row(n.tone(), "neighbor "+name, n.State, "", n.standing()))
		}
	}
	p.table("COMPONENTS", rows)
}

func (p *page) vips(r *Report) {
	var rows [][]paint
	for _, name := range sorted(r.VIPs) {
		v := r.VIPs[name]
		role := v.Role
		if role == "" {
			role = "unknown"
		}
		rows = append(rows, row(toneOf(role), name, role, v.HA, strings.Join(v.Addresses, " "), v.standing()))
	}
	p.table("VIPS", rows)
}

func (p *page) hosts(r *Report) {
	var rows [][]paint
	for _, name := range sorted(r.Hosts) {
		h := r.Hosts[name]
		rows = append(rows, row(toneOf(h.State), name, h.State, h.standing(p.now)))
	}
	p.table("HOSTS", rows)
}

// drained lists what is out of service by hand, whether or not it exists now.
func (p *page) drained(r *Report) {
	if r.Drained == nil {
		return
	}
	var rows [][]paint
	if r.Drained.Node {
		rows = append(rows, row(warn, "this node", "until vipilot drain node --undo"))
	}
	for _, name := range r.Drained.Hosts {
		rows = append(rows, row(warn, "host "+name, "until vipilot drain host "+name+" --undo"))
	}
	for _, name := range r.Drained.Endpoints {
		rows = append(rows, row(warn, "endpoint "+name, "until vipilot drain endpoint "+name+" --undo"))
	}
	p.table("DRAINED BY HAND", rows)
}

func (p *page) services(r *Report) {
	if len(r.Services) > 0 {
		p.line()
		p.line(paint{off, "SERVICES"})
	}
	for _, name := range r.byVIP() {
		s := r.Services[name]
		count := fmt.Sprintf("%d of %d ready", s.ready(), len(s.Endpoints))
		if len(s.Endpoints) == 0 {
			count = "no endpoint"
		}
		p.line(paint{s.tone(), s.tone().Shape()}, paint{text: " " + name}, paint{off, " on " + s.VIP + ": "}, paint{s.tone(), count})
		var rows [][]paint
		shown, left := few(s.Endpoints, fewEndpoints)
		for _, e := range shown {
			rows = append(rows, row(toneOf(e.State), e.Name, e.State, e.place(), e.Reason))
		}
		for _, rejected := range s.Rejected[:min(len(s.Rejected), fewEndpoints)] {
			rows = append(rows, row(warn, rejected.Name, "rejected", rejected.Reason, rejected.Detail))
		}
		p.rows("    ", rows)
		if left += max(0, len(s.Rejected)-fewEndpoints); left > 0 {
			p.line(paint{off, fmt.Sprintf("    and %d more", left)})
		}
	}
}

func (p *page) certificates(r *Report) {
	var rows [][]paint
	for _, name := range sorted(r.Certificates) {
		c := r.Certificates[name]
		cells := row(c.tone(p.now), name, c.state(p.now), c.standing(p.now))
		cells[1].tone = c.tone(p.now)
		rows = append(rows, cells)
	}
	p.table("CERTIFICATES", rows)
}

// row is a line of a table: shape, name, state, and what else there is to say.
func row(t tone, name, state string, more ...string) []paint {
	cells := []paint{{text: t.Shape() + " " + name}, {t, cmp.Or(state, "unknown")}}
	for _, m := range more {
		cells = append(cells, paint{text: m})
	}
	return cells
}

func (p *page) table(title string, rows [][]paint) {
	if len(rows) == 0 {
		return
	}
	p.line()
	p.line(paint{off, title})
	p.rows("", rows)
}

// rows pads the cells of each column to the same width.
func (p *page) rows(margin string, rows [][]paint) {
	var width []int
	for _, cells := range rows {
		for i := range cells {
			cells[i].text = oneLine(cells[i].text)
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cells[i].text))
		}
	}
	for _, cells := range rows {
		parts := []paint{{text: margin}}
		for i, c := range cells {
			if width[i] > 0 {
				c.text += strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.text)+2)
				parts = append(parts, c)
			}
		}
		p.line(parts...)
	}
}

// line writes the parts one after the other, without blanks at the end.
func (p *page) line(parts ...paint) {
	for len(parts) > 0 {
		last := &parts[len(parts)-1]
		if last.text = strings.TrimRight(last.text, " "); last.text != "" {
			break
		}
		parts = parts[:len(parts)-1]
	}
	for _, part := range parts {
		text := strings.Map(printable, part.text)
		if code := ansi[part.tone]; p.color && code != "" {
			text = code + text + "\x1b[0m"
		}
		p.w.WriteString(text)
	}
	p.w.WriteByte('\n')
}

// ansi colours: those of the terminal's own scheme, so they suit its background.
var ansi = map[tone]string{good: "\x1b[32m", warn: "\x1b[33m", bad: "\x1b[1;31m", off: "\x1b[2m"}
