package status

import (
	"bytes"
	_ "embed" // the page, its style and its script
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle []byte
	//go:embed page.js
	pageScript []byte

	pageTemplate = template.Must(template.New("page").Parse(pageText))
)

// What one page shows at most; a browser takes long over ten thousand rows.
const (
	pageEndpoints = 200
	pageEvents    = 30
)

// pageView is what the template shows: the report in order and in words.
type pageView struct {
	*Report
	Title      string
	Tone       tone
	Reasons    []string
	Applied    string
	Picture    picture
	VIPRows    []pageRow
	HostRows   []pageRow
	Certs      []pageRow
	Parts      []pageRow
	Peers      []pageRow
	ServiceSet []pageService
	Events     []Event // newest first
	LastID     uint64
}

// pageRow is a line of a table: a name with a state, and words.
type pageRow struct {
	Tone        tone
	Name, State string
	Words       []string
}

// pageService is a service with its endpoints.
type pageService struct {
	Tone      tone
	Name, VIP string
	Ready     int
	All       int
	Endpoints []pageRow
	Left      int // endpoints not shown
	Rejected  []Rejection
	LeftOut   int // rejections not shown
}

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, newPageView(s.report(), s.opts.Board.Events(0), time.Now())); err != nil {
		s.log.Error("render the status page", "err", err)
		plain(w, http.StatusInternalServerError, "the page cannot be rendered; see the log")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(body.Bytes())
}

func newPageView(r *Report, events []Event, now time.Time) pageView {
	v := pageView{Report: r, Title: r.Node + " not ready", Tone: bad, Reasons: r.Unready(), Picture: draw(r)}
	if r.Ready {
		v.Title, v.Tone = r.Node+" ready", good
		if r.Config.Error != nil {
			v.Reasons, v.Tone = []string{"config: " + *r.Config.Error}, warn
		}
	}
	if at := r.Config.AppliedAt; at != nil {
		v.Applied = age(now.Sub(*at)) + " ago"
	}
	for _, name := range sorted(r.VIPs) {
		vip := r.VIPs[name]
		v.VIPRows = append(v.VIPRows, pageRow{toneOf(vip.Role), name, vip.Role, []string{vip.HA, strings.Join(vip.Addresses, " "), vip.standing()}})
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
		v.Parts = append(v.Parts, pageRow{toneOf(c.State), c.Name, c.State, []string{number(c.PID), c.Detail, c.Error}})
	}
	for _, name := range sorted(r.Components.Speaker.Peers) {
		p := r.Components.Speaker.Peers[name]
		v.Peers = append(v.Peers, pageRow{p.tone(), name, p.State, []string{p.standing()}})
	}
	for _, name := range r.byVIP() {
		v.ServiceSet = append(v.ServiceSet, newPageService(name, r.Services[name]))
	}
	if len(events) > 0 {
		v.LastID = events[len(events)-1].ID
		v.Events = slices.Clone(events[max(0, len(events)-pageEvents):])
		slices.Reverse(v.Events)
	}
	return v
}

func newPageService(name string, s Service) pageService {
	v := pageService{Tone: s.tone(), Name: name, VIP: s.VIP, Ready: s.ready(), All: len(s.Endpoints)}
	var shown []Endpoint
	shown, v.Left = few(s.Endpoints, pageEndpoints)
	for _, e := range shown {
		v.Endpoints = append(v.Endpoints, pageRow{toneOf(e.State), e.Name, e.State, []string{e.place(), e.Reason}})
	}
	v.Rejected = s.Rejected[:min(len(s.Rejected), pageEndpoints)]
	v.LeftOut = len(s.Rejected) - len(v.Rejected)
	return v
}

func serveAsset(kind string, data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Write(data)
	}
}

func (s *Server) serveServicePage(w http.ResponseWriter, r *http.Request) {}
