package status

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipilot/vipilot/internal/golden"
)

// crowd is a node of a large fleet: 100 hosts, 1,000 services, four nodes.
func crowd() *Report {
	r := &Report{Node: "lb1", Version: "v1.0.0", Ready: true, Config: Config{Revision: "4f3a2b1c9d8e"}, Hosts: map[string]Host{}, VIPs: map[string]VIP{}, Services: map[string]Service{}, Nodes: map[string]Node{}}
	r.Components.HAProxy = HAProxy{State: "running", PID: 7}
	r.Components.Speaker.Peers = map[string]Peer{"edge1": {State: "established", PrefixesAnnounced: 20}, "edge2": {State: "established", PrefixesAnnounced: 20}}
	for i := range 100 {
		r.Hosts[fmt.Sprintf("app%d", i)] = Host{State: "connected", Containers: 100}
	}
	for i := range 4 {
		n := Node{Address: fmt.Sprintf("10.77.0.%d", 21+i), State: "ready", Here: i == 0, VIPs: map[string]string{}}
		if i == 3 {
			n.State = "unknown"
		}
		r.Nodes[fmt.Sprintf("lb%d", i+1)] = n
	}
	for i := range 20 {
		name := fmt.Sprintf("site%02d", i)
		r.VIPs[name] = VIP{Addresses: []string{fmt.Sprintf("203.0.113.%d", i)}, HA: "vrrp", Role: "master", Announced: []string{fmt.Sprintf("203.0.113.%d/32", i)}}
		r.Nodes["lb1"].VIPs[name], r.Nodes["lb2"].VIPs[name] = "master", "backup"
	}
	for i := range 1000 {
		s := Service{VIP: fmt.Sprintf("site%02d", i%20)}
		for j := range 10 {
			e := Endpoint{Name: fmt.Sprintf("app%d/web-%d", (i+j)%100, i), Address: fmt.Sprintf("10.77.%d.%d:%d", i%100, j, 20000+i), State: "ready"}
			if i == 700 && j < 3 {
				e.State, e.Reason = "down", "fails HAProxy's check"
			}
			s.Endpoints = append(s.Endpoints, e)
		}
		r.Services[fmt.Sprintf("shop-%03d", i)] = s
	}
	return r
}

// A large fleet stays a page: trouble is shown, the rest is counted, and a
// search finds what is not shown.
func TestPageOfAFleet(t *testing.T) {
	s := NewServer(ServerOptions{Board: boardWith(crowd())})
	whole := body(t, ask(s, false, httptest.NewRequest("GET", "/", nil)))
	for _, want := range []string{">991 more<", ">91 more<", "and 940 more services, all of them well", "7 of 10 ready", "app0/web-700", ">1000/1000</b> services served", ">9997/10000</b> endpoints ready", "Endpoints that are not ready"} {
		if !strings.Contains(strings.ReplaceAll(whole, "</i> ", ">"), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if n := len(whole); n > 600<<10 {
		t.Errorf("the page has %d bytes", n)
	}
	if n := strings.Count(whole, "data-key="); n > 5*(mostRows+1) {
		t.Errorf("%d boxes", n)
	}
	for query, want := range map[string]string{"shop-123": "10 of 10 ready", "DOWN shop": "shop-700", "app42/": "app42/web-", "10.77.5.3:20005": "shop-005", "nothing like it": "<h2 id=\"services-title\">Services</h2>\n<p>none</p>"} {
		text := body(t, ask(s, false, httptest.NewRequest("GET", "/?q="+url.QueryEscape(query), nil)))
		if !strings.Contains(text, want) || !strings.Contains(text, "<b>"+query+"</b>") || len(text) > 600<<10 {
			t.Errorf("the search for %q has no %q", query, want)
		}
	}
	if rows := strings.Split(whole, "<tbody>")[1]; !strings.Contains(strings.SplitN(rows, "</tr>", 2)[0], "shop-700") {
		t.Error("the service in trouble is not the first")
	}
	if all := body(t, ask(s, false, httptest.NewRequest("GET", "/?all=1", nil))); !strings.Contains(all, ">shop-999<") || strings.Contains(all, "more services") {
		t.Error("not all services are listed where all are asked for")
	}
	if answer := ask(s, false, httptest.NewRequest("GET", "/?q="+strings.Repeat("x", 300), nil)); answer.StatusCode != 400 {
		t.Errorf("a long search gave %d", answer.StatusCode)
	}
}

// The page of a service: endpoints with their counters, why, and its events alone.
func TestServicePage(t *testing.T) {
	for name, report := range map[string]*Report{"todo": troubled(), "<b>": troubled()} {
		synctest.Test(t, func(t *testing.T) {
			board := boardWith(report)
			asked := 0
			s := NewServer(ServerOptions{Board: board,
				Traffic: func(_ context.Context, service string) (Traffic, error) {
					asked++
					one := Counters{Sessions: 12345, Rate: 7, Milliseconds: 3, Responses: [5]uint64{0, 12000, 0, 300, 45}, ConnectionErrors: 2}
					return Traffic{Service: service, At: time.Now(), Total: one, Endpoints: map[EndpointID]Counters{IDOf("app1/web-1", "10.77.0.11:32768"): one}}, nil
				},
				Explain: func(_ context.Context, q Question) (Answer, error) {
					step := Step{Step: "vip", Verdict: Fail, Text: "<script>alert(1)</script>", Next: "do it", Detail: []Note{{Warn, "look & see"}}}
					return Answer{Explanation: Explanation{Kind: "host", Name: q.Subject}, Others: []Explanation{{Kind: "service", Name: q.Subject, Verdict: NoTraffic, Reason: "no VIP", Steps: []Step{step}}}}, nil
				}})
			path := "/services/" + url.PathEscape(name)
			text := body(t, ask(s, false, httptest.NewRequest("GET", path, nil)))
			golden.Equal(t, "testdata/service-"+strings.Trim(name, "<>")+".golden", []byte(text))
			if strings.Contains(text, "<script>alert") || strings.Contains(text, "<b>web-1") {
				t.Error("what is foreign became markup")
			}
			ask(s, false, httptest.NewRequest("GET", path, nil))
			if asked != 1 {
				t.Errorf("HAProxy was asked %d times within a second", asked)
			}
			time.Sleep(trafficAge)
			ask(s, false, httptest.NewRequest("GET", "/v1/traffic?service="+url.QueryEscape(name), nil))
			if asked != 2 {
				t.Errorf("old counters were told")
			}
		})
	}
	s := NewServer(ServerOptions{Board: boardWith(troubled())})
	for path, code := range map[string]int{"/services/todo": 200, "/services/none": 404, "/services/": 404, "/v1/traffic?service=todo": 501, "/metrics/haproxy": 501} {
		if got := ask(s, false, httptest.NewRequest("GET", path, nil)).StatusCode; got != code {
			t.Errorf("%s: %d, want %d", path, got, code)
		}
	}
}

func TestTimelineGroupsByCause(t *testing.T) {
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	var events []Event
	for i := range 12 {
		events = append(events, Event{ID: uint64(i), Time: at, Kind: "endpoint", Subject: fmt.Sprint("todo web-", i), To: "down", Cause: "app1: die"})
	}
	events = append(events, Event{ID: 12, Time: at.Add(time.Second), Kind: "vip", Subject: "public", To: "master", Cause: "vrrp"})
	got := timeline(events, 100, at)
	if len(got) != 2 || got[0].Cause != "vrrp" || got[0].Tone != good || got[1].Tone != bad || len(got[1].Changes) != mostChanges || got[1].Left != 4 {
		t.Errorf("%+v", got)
	}
}

func TestTemplatesParse(t *testing.T) {
	if _, err := newPages(); err != nil {
		t.Fatal(err)
	}
}

// A service that another node carries is no trouble of this one; a service in
// trouble is, whatever the VIP's role.
func TestServicePageOfABackup(t *testing.T) {
	vip := Step{Step: "vip", Verdict: Fail, Reason: "backup"}
	for _, test := range []struct {
		role  string
		steps []Step
		want  tone
	}{
		{"backup", []Step{{Step: "endpoints", Verdict: Warn}, vip}, off},
		{"none", []Step{vip}, off},
		{"fault", []Step{vip}, bad},
		{"backup", []Step{{Step: "endpoints", Verdict: Fail}, vip}, bad},
	} {
		v := &serviceView{Title: "todo", VIP: VIP{Role: test.role}}
		v.explain(Explanation{Verdict: NoTraffic, Steps: test.steps}, nil)
		if v.VerdictTone != test.want {
			t.Errorf("%s, %v: %s, want %s", test.role, test.steps, v.VerdictTone, test.want)
		}
	}
}
