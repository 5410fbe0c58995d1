package status

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

// newPages reads the templates, which are part of the program. They name the
// build of what they were made for: a page that was left open while the
// controller was upgraded loads itself anew.
func newPages() (*template.Template, error) {
	hash := sha256.New()
	for _, name := range []string{"page.css", "page.js", "index.html", "service.html", "parts.html"} {
		text, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			return nil, err
		}
		hash.Write(text)
	}
	build := hex.EncodeToString(hash.Sum(nil))[:8]
	words := template.FuncMap{"escape": url.PathEscape, "build": func() string { return build }}
	return template.New("pages").Funcs(words).ParseFS(pageFiles, "page/*.html")
}

// What one page shows at most; a browser takes long over ten thousand rows.
const (
	pageEndpoints = 300
	pageServices  = 60   // unless all are asked for, or so many are in trouble
	allServices   = 2000 // at the most
	pageEvents    = 120
	maxQuery      = 200
)

// pageView is what the template of the overview shows: the report in order and in words.
type pageView struct {
	*Report
	Base     string // from here to /
	Title    string
	Tone     tone
	Reasons  []string
	Applied  string
	Away     string // how far the node is out of service; "" = in service
	Query    string
	All      bool // services are listed that are well, too, however many
	Tally    []tally
	Picture  picture
	NodeRows []pageRow
	VIPRows  []pageRow
	HostRows []pageRow
	Certs    []pageRow
	Parts    []pageRow
	Peers    []pageRow
	Services []serviceRow
	Left     int  // services not shown
	Well     bool // all of these are well
	Rows     endpointRows
	Timeline []moment
	LastID   uint64
}

// pageRow is a line of a table: a name with a state, and words.
type pageRow struct {
	Tone        tone
	Name, State string
	Words       []string
}

// tally is a number with its word, for the line on top.
type tally struct {
	Tone  tone
	Count string
	Word  string
	Href  string
}

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query().Get("q")
	if len(query) > maxQuery {
		plain(w, http.StatusBadRequest, "the search is too long")
		return
	}
	s.render(w, "index.html", newPageView(s.report(), query, r.URL.Query().Has("all"), s.opts.Board.Events(0), time.Now()))
}

func (s *Server) render(w http.ResponseWriter, name string, view any) {
	var body bytes.Buffer
	err := errors.New("no template")
	if s.pages != nil {
		err = s.pages.ExecuteTemplate(&body, name, view)
	}
	if err != nil {
		s.log.Error("render a page", "page", name, "err", err, "bug", true)
		plain(w, http.StatusInternalServerError, "the page cannot be rendered; see the log")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(body.Bytes())
}

// serveServicePage is GET /services/NAME.
func (s *Server) serveServicePage(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	report := s.report()
	if _, known := report.Services[name]; !known {
		plain(w, http.StatusNotFound, "this node knows no such service")
		return
	}
	v := newServiceView(report, name, s.opts.Board.Events(0), time.Now())
	if s.opts.Traffic != nil {
		t, err := s.traffic.of(r.Context(), name)
		v.count(t, err)
	}
	if s.opts.Explain != nil {
		v.explain(s.explainService(r.Context(), name))
	}
	s.render(w, "service.html", v)
}

// explainService is the explanation of a service, not of something else of its name.
func (s *Server) explainService(ctx context.Context, name string) (Explanation, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	select {
	case s.explainers <- struct{}{}:
		defer func() { <-s.explainers }()
	case <-ctx.Done():
		return Explanation{}, errors.New("too many ask for explanations at the same time; load the page again")
	}
	answer, err := s.opts.Explain(ctx, Question{Subject: name})
	if err != nil {
		return Explanation{}, err
	}
	for _, e := range append([]Explanation{answer.Explanation}, answer.Others...) {
		if e.Kind == "service" && e.Name == name {
			return e, nil
		}
	}
	return Explanation{}, errors.New("nothing is known of it yet")
}

func newPageView(whole *Report, query string, all bool, events []Event, now time.Time) pageView {
	query = strings.TrimSpace(query)
	r := search(whole, query)
	v := pageView{Report: r, Query: query, All: all, Title: r.Node + " not ready", Tone: bad, Reasons: whole.Unready(), Picture: draw(r), Tally: whole.tally()}
	if r.Ready {
		v.Title, v.Tone = r.Node+" ready", good
		if v.Reasons = r.Config.troubles(); v.Reasons != nil {
			v.Tone = warn
		}
	}
	if r.Stage != "in service" {
		v.Away = r.Stage
	}
	if at := r.Config.AppliedAt; at != nil {
		v.Applied = age(now.Sub(*at)) + " ago"
	}
	v.rows(r, now)
	v.listServices(r)
	v.Rows = newEndpointRows(r)
	if len(events) > 0 {
		v.LastID = events[len(events)-1].ID
		v.Timeline = timeline(matching(events, query), pageEvents, now)
	}
	return v
}

// listServices lists those in trouble first. Of many that are well, the rest is
// counted: who looks for one searches.
func (v *pageView) listServices(r *Report) {
	for _, name := range r.byVIP() {
		v.Services = append(v.Services, newServiceRow(name, r.Services[name]))
	}
	slices.SortStableFunc(v.Services, func(a, b serviceRow) int { return rankOf(a.Tone) - rankOf(b.Tone) })
	most := pageServices
	if v.All {
		most = allServices
	}
	for most < min(len(v.Services), allServices) && v.Services[most].Tone != good {
		most++
	}
	if v.Left = len(v.Services) - most; v.Left > 0 {
		v.Well = v.Services[most].Tone == good
		v.Services = v.Services[:most]
	}
}

// rows fills the tables whose rows are alike.
func (v *pageView) rows(r *Report, now time.Time) {
	for _, name := range sorted(r.nodes()) {
		n := r.nodes()[name]
		v.NodeRows = append(v.NodeRows, pageRow{n.tone(), name, n.State, []string{n.Address, n.standing()}})
	}
	for _, name := range sorted(r.VIPs) {
		vip := r.VIPs[name]
		v.VIPRows = append(v.VIPRows, pageRow{vip.tone(), name, vip.Role, []string{vip.HA, strings.Join(vip.Addresses, " "), vip.standing()}})
	}
	for _, name := range sorted(r.Hosts) {
		h := r.Hosts[name]
		v.HostRows = append(v.HostRows, pageRow{toneOf(h.State), name, h.State, []string{h.standing(now)}})
	}
	for _, name := range sorted(r.Certificates) {
		c := r.Certificates[name]
		v.Certs = append(v.Certs, pageRow{c.tone(now), name, c.state(now), []string{c.standing(now)}})
	}
	for _, c := range r.components() {
		v.Parts = append(v.Parts, pageRow{toneOf(c.State), c.Name, c.State, []string{c.work(), c.Error}})
	}
	for _, name := range sorted(r.Components.Speaker.Peers) {
		p := r.Components.Speaker.Peers[name]
		v.Peers = append(v.Peers, pageRow{p.tone(), name, p.State, []string{p.standing()}})
	}
}

// serveAsset serves a file of the page.
func serveAsset(kind, name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		http.ServeFileFS(w, r, pageFiles, "page/"+name)
	}
}
