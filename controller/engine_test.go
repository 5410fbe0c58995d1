package controller

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// An engine that is older than what is spoken is a reason for its host, and
// nothing changes for the others.
func TestAnEngineTooOld(t *testing.T) {
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.23") }))
	t.Cleanup(old.Close)
	yaml := strings.Replace(pair, "tcp://10.77.0.12:2375", strings.Replace(old.URL, "http", "tcp", 1), 1)
	cfg := load(t, yaml)
	source, err := dockerSource(slog.New(slog.DiscardHandler))(cfg.Hosts[1], discovery.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	seen := firstRefusal(t, source)
	s := stage(t, yaml, snapshot("app1", web(1, "app", "todo")), seen)
	a := s.ask("app2")
	if !strings.Contains(a.Reason+step(a.Explanation, "host").Text, `API version "1.23" is older than 1.24; upgrade the engine`) {
		t.Errorf("app2 is explained by %s %q, %+v", a.Verdict, a.Reason, a.Steps)
	}
	if a := s.ask("web-1"); a.Verdict != status.GetsTraffic {
		t.Errorf("its neighbour: %s, %s", a.Verdict, a.Reason)
	}
	alone := stage(t, strings.Replace(pair, "  app2: {docker: \"tcp://10.77.0.12:2375\"}\n", "", 1), snapshot("app1", web(1, "app", "todo")))
	if got, want := s.file(), alone.file(); got != want {
		t.Errorf("haproxy.cfg is\n%s\nwithout the old engine\n%s", got, want)
	}
}

// file is the haproxy.cfg of what was applied last.
func (s *scene) file() string {
	s.t.Helper()
	files, err := haproxy.Render(s.loop.applied.want.HAProxy, haproxy.Paths{Dir: "/run/vipilot/haproxy"})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(files[haproxy.ConfigFile])
}

// firstRefusal is the first snapshot that says why an engine is not watched.
func firstRefusal(t *testing.T, source discovery.Source) discovery.Snapshot {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	snapshots, done := make(chan discovery.Snapshot), make(chan error, 1)
	go func() { done <- source.Run(ctx, snapshots) }()
	defer func() { cancel(); <-done }()
	for s := range snapshots {
		if s.Err != nil && strings.Contains(s.Err.Error(), "older") {
			return s
		}
	}
	return discovery.Snapshot{}
}
