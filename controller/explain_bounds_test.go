package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// A container's name may be anything that a hostile engine says, and may be
// there a thousand times.
func TestExplainIsBounded(t *testing.T) {
	var many []discovery.Container
	for i := range 1000 {
		c := web(i, "app", "todo")
		c.Name = "evil\x1b[31m\n"
		many = append(many, c)
	}
	s := stage(t, pair, snapshot("app1", many...), snapshot("app2"))
	a := s.ask("0000")
	if len(a.Others) != maxExplanations-1 || a.LeftOut != 1000-maxExplanations {
		t.Errorf("%d others, %d left out", len(a.Others), a.LeftOut)
	}
	for _, subject := range []string{"0000", "todo", "app1", "public", "10.77.0.11", "203.0.113.10", "http://todo.example.net/"} {
		var text bytes.Buffer
		a := s.ask(subject)
		if err := status.WriteAnswer(&text, &a, false); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text.String(), "\x1b") || text.Len() > 40_000 {
			t.Errorf("%s: %d bytes, %.300q", subject, text.Len(), text.String())
		}
	}
}

func TestExplainBeforeAnythingIsKnown(t *testing.T) {
	l, _ := testLoop(t, newNode(t), nil)
	if _, err := l.explain(t.Context(), status.Question{Subject: "x"}); err == nil || !strings.Contains(err.Error(), "starting") {
		t.Errorf("error %v", err)
	}
}

// FuzzSubject: whatever is typed, the parser gives an error or exactly one
// kind, and an answer comes.
func FuzzSubject(f *testing.F) {
	for _, s := range []string{
		"web-1", "app1/web-1", "deadbeef", "10.0.0.1", "10.0.0.1:80", "[2001:db8::1]:443", "2001:db8::1", "203.0.113.10/32",
		"http://a.example.net/x?y#z", "https://[::1]:8443", "http://u:p@h/%2f", "todo.example.net:80/x", "http://", "://", "http://a:99999/", "fe80::1%eth0",
	} {
		f.Add(s)
	}
	in := input(f, snapshot("app1", web(1, "app", "todo")))
	want := answerAll(f, &in)
	known := &facts{in: in, want: want, report: &status.Report{}, at: time.Unix(1000, 0)}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSubject(text)
		if err == nil {
			kinds := 0
			for _, is := range []bool{s.addr.IsValid(), s.host != "", s.name != ""} {
				if is {
					kinds++
				}
			}
			if kinds != 1 || s.text == "" || s.host != "" && (s.port == 0 || !strings.HasPrefix(s.path, "/") && s.path != "*") {
				t.Fatalf("%q is %+v", text, s)
			}
		}
		a := explain(known, status.Question{Subject: text}, func(string) (map[string]haproxy.CheckResult, error) { return nil, errors.New("no HAProxy") })
		if a.Found != (a.Verdict != "") || !a.Found && a.Reason == "" {
			t.Fatalf("%q: %s", text, fmt.Sprintf("%+v", a))
		}
	})
}

// Questions come while rounds run; the race detector judges.
func TestExplainWhileRoundsRun(t *testing.T) {
	n := newNode(t)
	l, engines := testLoop(t, n, load(t, pair))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = l.listenToParts(ctx) }()
	ended := make(chan error, 2)
	go func() { l.memory.run(ctx); ended <- nil }()
	go func() { ended <- l.run(ctx) }()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for i := range 300 {
			_, _ = l.explain(ctx, status.Question{Subject: []string{"web-1", "todo", "public", "app1", "http://todo.example.net/"}[i%5]})
		}
	}()
	for i := range 100 {
		c := web(1, "app", "todo")
		c.State = []discovery.State{discovery.Running, discovery.Stopping, discovery.Stopped}[i%3]
		engines["app1"].snapshots <- snapshot("app1", c, web(i+2, "app", "todo"))
	}
	<-asked
	cancel()
	if err := errors.Join(<-ended, <-ended); err != nil {
		t.Error(err)
	}
}
