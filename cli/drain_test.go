package cli

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vipilot/vipilot/status"
)

func sessions(n int) *status.DrainAnswer {
	return &status.DrainAnswer{Kind: "endpoint", Name: "app1/web-1", Drained: true, Changed: true,
		Endpoints: []status.DrainedEndpoint{{Service: "todo", Name: "app1/web-1", Sessions: n}}, Empty: []string{"todo"}}
}

func TestWaitDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		left := 3
		tellDrain(&out, *sessions(left), false)
		_, err := waitDrained(t.Context(), &out, time.Minute, sessions(left), func() (*status.DrainAnswer, error) { left--; return sessions(left), nil })
		want := "endpoint app1/web-1 gets no new sessions of todo; 3 sessions left\nservice todo has no ready endpoint\n2 sessions left\n1 session left\n0 sessions left\nendpoint app1/web-1 is drained\n"
		if err != nil || out.String() != want {
			t.Errorf("%v\n%s", err, out.String())
		}
		_, err = waitDrained(t.Context(), &out, time.Second, sessions(2), func() (*status.DrainAnswer, error) { return sessions(2), nil })
		if err == nil || !strings.Contains(err.Error(), "2 sessions are still on endpoint app1/web-1 after 1s") {
			t.Errorf("at the timeout: %v", err)
		}
	})
}
