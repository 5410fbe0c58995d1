package status

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func asked(t *testing.T, opts ServerOptions, path string) (int, string) {
	t.Helper()
	opts.Board = NewBoard()
	server := httptest.NewServer(NewServer(opts).handler(false, nil))
	t.Cleanup(server.Close)
	resp, err := http.Get(server.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func TestServeExplain(t *testing.T) {
	explain := func(_ context.Context, q Question) (Answer, error) {
		if q.Subject == "early" {
			return Answer{}, errors.New("nothing is known yet")
		}
		return Answer{Subject: q.Subject, Found: true, Explanation: Explanation{Kind: "url", Verdict: NoTraffic, Reason: strings.Join(q.Resolved, "+") + q.Unresolved},
			Others: []Explanation{{Kind: "vip"}}}, nil
	}
	for _, test := range []struct {
		path, want string
		code       int
		none       bool
	}{
		{"/v1/explain", "name what to explain", 400, false},
		{"/v1/explain?subject=", "name what to explain", 400, false},
		{"/v1/explain?subject=" + strings.Repeat("x", maxSubject+1), "too long", 400, false},
		{"/v1/explain?subject=x" + strings.Repeat("&resolved=1", maxResolved+1), "too long", 400, false},
		{"/v1/explain?subject=early", "nothing is known yet", 503, false},
		{"/v1/explain?subject=x", "does not explain", 501, true},
		{"/v1/explain?subject=http%3A%2F%2Fa%2F&resolved=10.0.0.1&resolved=10.0.0.2", `{"subject":"http://a/","node":"","found":true,"kind":"url","name":"","verdict":"gets no traffic","reason":"10.0.0.1+10.0.0.2","next":"","steps":[],"others":[{"kind":"vip","name":"","verdict":"","reason":"","next":"","steps":[]}],"left_out":0,"did_you_mean":[]}`, 200, false},
	} {
		opts := ServerOptions{Explain: explain}
		if test.none {
			opts.Explain = nil
		}
		if code, body := asked(t, opts, test.path); code != test.code || !strings.Contains(body, test.want) {
			t.Errorf("%.60s: %d %s, want %d %s", test.path, code, body, test.code, test.want)
		}
	}
}

func TestClientExplains(t *testing.T) {
	s := NewServer(ServerOptions{Board: NewBoard(), Explain: func(_ context.Context, q Question) (Answer, error) {
		return Answer{Subject: q.Subject, Found: true, Explanation: Explanation{Name: q.Resolved[0] + q.Unresolved, Steps: []Step{{Step: "dns", Verdict: Warn}}}}, nil
	}})
	server := httptest.NewServer(s.handler(false, nil))
	defer server.Close()
	a, err := NewClient(server.URL).Explain(t.Context(), Question{Subject: "a b&c", Resolved: []string{"10.0.0.1"}, Unresolved: "?"})
	if err != nil || a.Subject != "a b&c" || a.Name != "10.0.0.1?" || a.Steps[0].Verdict != Warn {
		t.Errorf("answer %+v, %v", a, err)
	}
}

// Only a few explanations are made at a time; who waits too long is told so.
func TestExplainersAreFew(t *testing.T) {
	s := NewServer(ServerOptions{Board: NewBoard(), Explain: func(context.Context, Question) (Answer, error) {
		t.Error("one more than allowed")
		return Answer{}, nil
	}})
	for range maxExplainers {
		s.explainers <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	s.serveExplain(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/explain?subject=x", nil))
	if w.Code != 503 || !strings.Contains(w.Body.String(), "ask again") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWriteAnswerInColour(t *testing.T) {
	a := &Answer{Found: true, Node: "lb1", LeftOut: 3, Explanation: Explanation{Kind: "container", Name: "app1/web\x1b[0m", Verdict: NoTraffic, Reason: "a\nb", Next: "c", Steps: []Step{
		{Step: "host", Verdict: OK, Text: "fine"}, {Step: "server", Verdict: Fail, Text: "bad", Detail: []Note{{Verdict: Skip, Text: "note"}}},
	}}}
	var plain, colour bytes.Buffer
	if err := errors.Join(WriteAnswer(&plain, a, false), WriteAnswer(&colour, a, true)); err != nil {
		t.Fatal(err)
	}
	want := "container app1/web?[0m, as lb1 sees it\n\n  ✓ host       fine\n  ✗ server     bad\n               – note\n\n✗ app1/web?[0m gets no traffic: a; b\n→ c\n\nand 3 more; name one in full to see it\n"
	if plain.String() != want {
		t.Errorf("plain\n%s\nwant\n%s", plain.String(), want)
	}
	stripped := colour.String()
	for _, code := range []string{ansi[good], ansi[bad], ansi[off], "\x1b[0m"} {
		if !strings.Contains(stripped, code) {
			t.Errorf("no colour %q", code)
		}
		stripped = strings.ReplaceAll(stripped, code, "")
	}
	if stripped != want {
		t.Errorf("without its colours\n%s\nwant\n%s", stripped, want)
	}
}
