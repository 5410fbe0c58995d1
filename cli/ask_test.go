package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/vipilot/vipilot/status"
)

// served has a controller's status server answer on the socket of a run
// directory, with r as its report and one revision that waits.
func served(t *testing.T, r *status.Report) (runDir string) {
	t.Helper()
	runDir = t.TempDir()
	board := status.NewBoard()
	board.Publish(r)
	listener, err := status.Listen("unix:" + runDir + "/" + status.SocketName)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	server := status.NewServer(status.ServerOptions{Board: board, Patience: patience, Approve: func(_ context.Context, revision string) (string, error) {
		if !strings.HasPrefix(*r.Config.Pending, revision) {
			return "", errors.New("another one waits")
		}
		return *r.Config.Pending, nil
	}})
	go func() { done <- server.Serve(ctx, listener, true) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return runDir
}

// waitingReport is of a node with a revision that waits.
func waitingReport() *status.Report {
	pending := "a38a8283b9a6"
	return &status.Report{Node: "lb1", Config: status.Config{Pending: &pending}, Hosts: map[string]status.Host{"app1": {}},
		VIPs: map[string]status.VIP{"public": {}}, Services: map[string]status.Service{"todo": {
			Endpoints: []status.Endpoint{{Name: "app1/web-1"}}, Rejected: []status.Rejection{{Name: "app1/web-9"}}}}}
}

func TestApprove(t *testing.T) {
	runDir := served(t, waitingReport())
	if out, code := said(t, "approve", "a38a", "--run-dir", runDir); code != exitOK || out != "revision a38a8283b9a6 approved\n" {
		t.Errorf("exit code %d, %q", code, out)
	}
	out, code := said(t, "approve", "a38a", "--json", "--run-dir", runDir)
	var a status.Approval
	if err := json.Unmarshal([]byte(out), &a); code != exitOK || err != nil || a.Revision != "a38a8283b9a6" {
		t.Errorf("exit code %d, %v: %q", code, err, out)
	}
	if out, code := said(t, "approve", "beef", "--json", "--run-dir", runDir); code != exitFailed || !strings.Contains(out, "another one waits") {
		t.Errorf("exit code %d, %q", code, out)
	}
}

// Shells offer what a flag or an argument may be, and what the controller
// knows by name.
func TestComplete(t *testing.T) {
	runDir := served(t, waitingReport())
	for line, want := range map[string]string{
		"run --on-exit ":                       "drain leave :4",
		"run --run-dir ":                       ":16",
		"validate --format ":                   "text json github sarif :4",
		"validate ":                            ":0",
		"version ":                             ":4",
		"exec ":                                "haproxy keepalived :4",
		"exec haproxy ":                        ":4",
		"drain ":                               "node host endpoint :4",
		"drain host --run-dir " + runDir + " ": "app1 :4",
		"drain endpoint --run-dir " + runDir + " a":  "app1/web-1 :4",
		"drain node --run-dir " + runDir + " ":       "lb1 :4",
		"approve --run-dir " + runDir + " ":          "a38a8283b9a6 :4",
		"explain --run-dir " + runDir + " ":          "app1 app1/web-1 app1/web-9 public todo :4",
		"explain todo --run-dir " + runDir + " ":     ":4",
		"explain --run-dir " + runDir + "/nowhere t": ":4",
	} {
		out, code := said(t, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		got, _, _ := strings.Cut(strings.Join(strings.Fields(out), " "), " Completion ended")
		if code != exitOK || got != want {
			t.Errorf("%s: exit code %d, %q, want %q", line, code, got, want)
		}
	}
}
