package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// picture is the way of a request through this node, left to right: routers,
// VIPs, services, hosts. The template draws it as SVG.
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

// box is one thing with its name and state.
type box struct {
	X, Y, W, H  int
	Tone        tone
	Title, Note string
}

// line joins two boxes; Path is the SVG curve.
type line struct {
	Path string
	Tone tone
}

// Measures of the picture, in SVG units.
const (
	boxWidth, boxHeight = 220, 48
	columnPitch         = 320
	rowPitch            = 62
	topMargin           = 34
	mostRows            = 12
	titleRunes          = 22
	noteRunes           = 30
)

// drawing collects the boxes of a picture by the key their lines use.
type drawing struct {
	picture
	at map[string]box
}

// draw lays the report out. Columns longer than a screen end with a box that
// says how many are missing; the tables below the picture have all of them.
func draw(r *Report) picture {
	d := &drawing{at: make(map[string]box)}
	columns := [][]cell{peerCells(r), vipCells(r), serviceCells(r), hostCells(r)}
	rows := 1
	for _, c := range columns {
		rows = max(rows, min(len(c), mostRows+1))
	}
	d.Width = 3*columnPitch + boxWidth + 2
	d.Height = topMargin + rows*rowPitch
	for i, title := range []string{"routers", "VIPs on this node", "services", "hosts"} {
		d.column(1+i*columnPitch, rows, title, columns[i])
	}
	d.join(r)
	return d.picture
}

// cell is a box before it has its place.
type cell struct {
	key, title, note string
	tone             tone
}

func peerCells(r *Report) (cells []cell) {
	for _, name := range sorted(r.Components.Speaker.Peers) {
		p := r.Components.Speaker.Peers[name]
		cells = append(cells, cell{"peer " + name, name, p.State, p.tone()})
	}
	return cells
}

func vipCells(r *Report) (cells []cell) {
	for _, name := range sorted(r.VIPs) {
		v := r.VIPs[name]
		note := cmp.Or(v.Role, "unknown")
		if len(v.Announced) > 0 {
			note += ", announced"
		}
		cells = append(cells, cell{"vip " + name, name, note, toneOf(v.Role)})
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
		cells = append(cells, cell{"service " + name, name, note, s.tone()})
	}
	return cells
}

func hostCells(r *Report) (cells []cell) {
	for _, name := range sorted(r.Hosts) {
		h := r.Hosts[name]
		cells = append(cells, cell{"host " + name, name, h.State + ", " + plural(h.Containers, "container"), toneOf(h.State)})
	}
	for _, s := range r.Services {
		if slices.ContainsFunc(s.Endpoints, func(e Endpoint) bool { return hostOf(r, e) == "" }) {
			return append(cells, cell{"host ", "other machines", "static servers", off})
		}
	}
	return cells
}

// hostOf is the host an endpoint runs on, "" for a static server.
func hostOf(r *Report, e Endpoint) string {
	host, _, _ := strings.Cut(e.Name, "/")
	if _, known := r.Hosts[host]; !known {
		return ""
	}
	return host
}

// column places cells, centred over the height of the longest column.
func (d *drawing) column(x, rows int, title string, cells []cell) {
	d.Titles = append(d.Titles, label{x + boxWidth/2, topMargin / 2, title})
	if more := len(cells) - mostRows; more > 1 {
		cells = append(slices.Clone(cells[:mostRows]), cell{title: fmt.Sprintf("and %d more", more), tone: off})
	}
	y := topMargin + (rows-len(cells))*rowPitch/2
	for _, c := range cells {
		b := box{x, y, boxWidth, boxHeight, c.tone, shorten(c.title, titleRunes), shorten(c.note, noteRunes)}
		d.Boxes = append(d.Boxes, b)
		if c.key != "" {
			d.at[c.key] = b
		}
		y += rowPitch
	}
}

// join draws the lines: an announced VIP to every router, a service to its
// VIP and to each host it has endpoints on.
func (d *drawing) join(r *Report) {
	peers := r.Components.Speaker.Peers
	for _, name := range sorted(r.VIPs) {
		if len(r.VIPs[name].Announced) == 0 {
			continue
		}
		for _, peer := range sorted(peers) {
			d.line("peer "+peer, "vip "+name, peers[peer].tone())
		}
	}
	for _, name := range r.byVIP() {
		s := r.Services[name]
		d.line("vip "+s.VIP, "service "+name, s.tone())
		onHost := make(map[string]Service)
		for _, e := range s.Endpoints {
			part := onHost[hostOf(r, e)]
			part.Endpoints = append(part.Endpoints, e)
			onHost[hostOf(r, e)] = part
		}
		for _, host := range sorted(onHost) {
			d.line("service "+name, "host "+host, onHost[host].tone())
		}
	}
}

func (d *drawing) line(from, to string, t tone) {
	a, known := d.at[from]
	b, alsoKnown := d.at[to]
	if !known || !alsoKnown {
		return // one end is among the "more"
	}
	x1, y1, x2, y2 := a.X+a.W, a.Y+a.H/2, b.X, b.Y+b.H/2
	bend := (x2 - x1) / 2
	d.Lines = append(d.Lines, line{fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2), t})
}

// shorten cuts what does not fit in a box: SVG text does not wrap.
func shorten(s string, runes int) string {
	if all := []rune(s); len(all) > runes {
		return string(all[:runes-1]) + "…"
	}
	return s
}
