package status

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// picture is the way of a request, left to right: routers, nodes, VIPs,
// services, hosts with their endpoints. The template draws it as SVG.
type picture struct {
	Width, Height int
	Titles        []label
	Boxes         []box
	Lines         []line
}

type label struct {
	X, Y int
	Text string
}

// box is one thing with its name and state. Key names it across drawings, so
// that a browser can move it.
type box struct {
	X, Y, W, H  int
	Tone        tone
	Key         string
	Title, Note string
	Full        string // all of it, for those who hear it
	Href        string // where more is said; "" = nowhere
	Marks       []mark // a host's endpoints
	Here        bool
}

// mark counts endpoints of one tone, as shapes where they are few.
type mark struct {
	Tone tone
	Text string
}

// line joins two boxes, named by their keys; Path is the SVG curve.
type line struct {
	Path     string
	Tone     tone
	From, To string
}

// Measures of the picture, in SVG units.
const (
	boxWidth, boxHeight = 200, 56
	columnPitch         = 264
	rowPitch            = 68
	topMargin           = 40
	mostRows            = 9
	titleRunes          = 20
	noteRunes           = 24
	mostMarks           = 12
)

// drawing collects the boxes of a picture. A thing that has no box of its own
// is at the box that stands for the rest of its column.
type drawing struct {
	picture
	at    map[string]box
	tones map[[2]string]tone // of the lines
	order [][2]string
}

// cell is a box before it has its place.
type cell struct {
	key, title, note, href string
	tone                   tone
	marks                  []mark
	here                   bool
}

// draw lays the report out. A column longer than a screen shows what is in
// trouble first and ends with a box for all the rest.
func draw(r *Report) picture {
	d := &drawing{at: make(map[string]box), tones: make(map[[2]string]tone)}
	columns := []struct {
		title string
		cells []cell
	}{{"routers", peerCells(r)}, {"nodes", nodeCells(r)}, {"VIPs", vipCells(r)}, {"services", serviceCells(r)}, {"hosts and endpoints", hostCells(r)}}
	columns = slices.DeleteFunc(columns, func(c struct {
		title string
		cells []cell
	}) bool {
		return len(c.cells) == 0
	})
	rows := 1
	for _, c := range columns {
		rows = max(rows, min(len(c.cells), mostRows+1))
	}
	d.Width = max(len(columns)-1, 0)*columnPitch + boxWidth + 4
	d.Height = topMargin + rows*rowPitch
	for i, c := range columns {
		d.column(2+i*columnPitch, rows, c.title, c.cells)
	}
	d.join(r)
	return d.picture
}

func peerCells(r *Report) (cells []cell) {
	for _, name := range sorted(r.Components.Speaker.Peers) {
		p := r.Components.Speaker.Peers[name]
		cells = append(cells, cell{key: "peer " + name, title: name, note: p.State + ", " + prefixes(p.PrefixesAnnounced), tone: p.tone(), href: "#peers"})
	}
	if r.Components.FRR == nil {
		return cells
	}
	for _, name := range sorted(r.Components.FRR.Neighbors) {
		n := r.Components.FRR.Neighbors[name]
		cells = append(cells, cell{key: "neighbor " + name, title: name, note: fmt.Sprintf("OSPFv%d %s", n.Version, n.State), tone: n.tone(), href: "#components"})
	}
	return cells
}

func nodeCells(r *Report) (cells []cell) {
	for _, name := range sorted(r.nodes()) {
		n := r.nodes()[name]
		c := cell{key: "node " + name, title: name, note: n.State, tone: n.tone(), here: n.Here, href: "#nodes"}
		if n.Here {
			c.note += ", this node"
		}
		cells = append(cells, c)
	}
	return cells
}

// nodes are the declared ones, or this one alone where nobody told of them.
func (r *Report) nodes() map[string]Node {
	if len(r.Nodes) > 0 || r.Node == "" {
		return r.Nodes
	}
	own := Node{Here: true, State: "not ready", VIPs: make(map[string]string)}
	if r.Ready {
		own.State = "ready"
	}
	for name, v := range r.VIPs {
		own.VIPs[name] = v.Role
	}
	return map[string]Node{r.Node: own}
}

func vipCells(r *Report) (cells []cell) {
	for _, name := range sorted(r.VIPs) {
		v := r.VIPs[name]
		note := cmp.Or(v.Role, "unknown") + " here"
		switch {
		case len(v.Announced) > 0:
			note += ", announced"
		case carries(v.Role) && v.Reason != "":
			note = v.Role + ", not announced"
		}
		cells = append(cells, cell{key: "vip " + name, title: name, note: note, tone: v.tone(), href: "#vips"})
	}
	return cells
}

func serviceCells(r *Report) (cells []cell) {
	for _, name := range r.byVIP() {
		s := r.Services[name]
		note := fmt.Sprintf("%d of %d ready", s.ready(), len(s.Endpoints))
		if len(s.Rejected) > 0 {
			note += fmt.Sprintf(", %d rejected", len(s.Rejected))
		}
		cells = append(cells, cell{key: "service " + name, title: name, note: note, tone: s.tone(), href: "services/" + url.PathEscape(name)})
	}
	return cells
}

func hostCells(r *Report) (cells []cell) {
	tones := make(map[string]map[tone]int)
	for _, s := range r.Services {
		for _, e := range s.Endpoints {
			host := hostOf(r, e.Name)
			if tones[host] == nil {
				tones[host] = make(map[tone]int)
			}
			tones[host][toneOf(e.State)]++
		}
	}
	for _, name := range sorted(r.Hosts) {
		h := r.Hosts[name]
		note := plural(h.Containers, "container")
		if h.State != "connected" {
			note = h.State
		}
		cells = append(cells, cell{key: "host " + name, title: name, note: note, tone: toneOf(h.State), marks: marks(tones[name]), href: "#hosts"})
	}
	if others := tones[""]; others != nil {
		cells = append(cells, cell{key: "host ", title: "other machines", note: "static servers", tone: off, marks: marks(others), href: "#endpoints"})
	}
	return cells
}

// marks shows endpoints by tone: a shape for each, or a shape and their number.
func marks(tones map[tone]int) (list []mark) {
	all := 0
	for _, n := range tones {
		all += n
	}
	for _, t := range []tone{good, warn, bad, off} {
		switch n := tones[t]; {
		case n == 0:
		case all <= mostMarks:
			list = append(list, mark{t, strings.Repeat(t.Shape(), n)})
		default:
			list = append(list, mark{t, fmt.Sprintf("%s %d ", t.Shape(), n)})
		}
	}
	return list
}

// hostOf is the host that a container runs on, "" for a static server.
func hostOf(r *Report, container string) string {
	host, _, _ := strings.Cut(container, "/")
	if _, known := r.Hosts[host]; !known {
		return ""
	}
	return host
}

// column places cells, centred over the height of the longest column.
func (d *drawing) column(x, rows int, title string, cells []cell) {
	d.Titles = append(d.Titles, label{x + boxWidth/2, topMargin / 2, fmt.Sprintf("%s (%d)", title, len(cells))})
	var rest []cell
	if len(cells) > mostRows+1 {
		order := slices.Clone(cells) // of the rest the order stays
		slices.SortStableFunc(order, func(a, b cell) int { return cmp.Compare(urgency(a), urgency(b)) })
		shown := make(map[string]bool)
		for _, c := range order[:mostRows] {
			shown[c.key] = true
		}
		rest = slices.DeleteFunc(slices.Clone(cells), func(c cell) bool { return shown[c.key] })
		cells = slices.DeleteFunc(slices.Clone(cells), func(c cell) bool { return !shown[c.key] })
		cells = append(cells, standIn(title, rest))
	}
	y := topMargin + (rows-len(cells))*rowPitch/2
	for _, c := range cells {
		b := box{X: x, Y: y, W: boxWidth, H: boxHeight, Tone: c.tone, Key: c.key, Title: shorten(c.title, titleRunes), Note: shorten(c.note, noteRunes),
			Full: c.title + ": " + c.note, Href: c.href, Marks: c.marks, Here: c.here}
		d.Boxes = append(d.Boxes, b)
		d.at[c.key] = b
		y += rowPitch
	}
	if len(rest) > 0 {
		for _, c := range rest {
			d.at[c.key] = d.Boxes[len(d.Boxes)-1]
		}
	}
}

// urgency orders what must be seen: trouble first, this node before others.
func urgency(c cell) int {
	if c.here {
		return 0
	}
	return 1 + rankOf(c.tone)
}

// standIn is the box of all that has none of its own.
func standIn(title string, rest []cell) cell {
	worst, fine := good, 0
	for _, c := range rest {
		worst = worse(worst, c.tone)
		if c.tone == good {
			fine++
		}
	}
	word, _, _ := strings.Cut(title, " ")
	note := "all well"
	if fine < len(rest) {
		note = fmt.Sprintf("%d of them well", fine)
	}
	return cell{key: "rest " + word, title: fmt.Sprintf("%d more", len(rest)), note: note, tone: worst, href: "#" + strings.ToLower(word)}
}

// join draws the lines: a node to the routers it speaks to and the VIPs it
// may carry, a VIP to its services, these to the hosts of their endpoints.
func (d *drawing) join(r *Report) {
	d.joinRouters(r)
	for _, name := range sorted(r.nodes()) {
		n := r.nodes()[name]
		for _, vip := range sorted(n.VIPs) {
			t := off
			switch role := n.VIPs[vip]; {
			case carries(role):
				t = good
			case role == "fault":
				t = bad
			}
			d.line("node "+name, "vip "+vip, t)
		}
	}
	for _, name := range r.byVIP() {
		s := r.Services[name]
		d.line("vip "+s.VIP, "service "+name, s.tone())
		onHost := make(map[string]tone)
		for _, e := range s.Endpoints {
			host := hostOf(r, e.Name)
			onHost[host] = worse(cmp.Or(onHost[host], good), toneOf(e.State))
		}
		for _, host := range sorted(onHost) {
			d.line("service "+name, "host "+host, onHost[host])
		}
	}
	for _, ends := range d.order {
		d.curve(d.at[ends[0]], d.at[ends[1]], d.tones[ends])
	}
}

// joinRouters draws what is known: the sessions of this node.
func (d *drawing) joinRouters(r *Report) {
	for _, name := range sorted(r.Components.Speaker.Peers) {
		d.line("peer "+name, "node "+r.Node, r.Components.Speaker.Peers[name].tone())
	}
	if r.Components.FRR != nil {
		for _, name := range sorted(r.Components.FRR.Neighbors) {
			d.line("neighbor "+name, "node "+r.Node, r.Components.FRR.Neighbors[name].tone())
		}
	}
}

// line notes that two things are joined; lines between the same boxes are one,
// with the worst of their tones.
func (d *drawing) line(from, to string, t tone) {
	a, known := d.at[from]
	b, alsoKnown := d.at[to]
	if !known || !alsoKnown {
		return
	}
	ends := [2]string{a.Key, b.Key}
	old, drawn := d.tones[ends]
	if !drawn {
		d.order = append(d.order, ends)
		old = t
	}
	d.tones[ends] = worse(old, t)
	if drawn && (t == good) != (old == good) && (t == off || old == off) {
		d.tones[ends] = good // one that carries and one that stands by
	}
}

func (d *drawing) curve(a, b box, t tone) {
	x1, y1, x2, y2 := a.X+a.W, a.Y+a.H/2, b.X, b.Y+b.H/2
	bend := (x2 - x1) / 2
	d.Lines = append(d.Lines, line{fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2), t, a.Key, b.Key})
}

// shorten cuts what does not fit in a box: SVG text does not wrap.
func shorten(s string, runes int) string {
	if all := []rune(s); len(all) > runes {
		return string(all[:runes-1]) + "…"
	}
	return s
}
