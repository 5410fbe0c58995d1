package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// An endpoint is drained by hand under load: requests that run finish, none is
// lost, nothing reloads, and the next controller remembers.
func TestDrainByHand(t *testing.T) {
	f := start(t, todoService)
	f.todo(f.App1, "web-1")
	f.boot()
	f.awaitMaster(f.LB1)
	f.awaitAnswer()
	f.todo(f.App2, "web-2")
	f.awaitContainers(2)
	before := f.reloads(f.LB1)
	load := f.load(200, true)
	slow := make(chan error, 10)
	for range cap(slow) {
		go func() { slow <- f.slow(1500) }()
	}
	f.steady(200 * time.Millisecond) // all have reached a container

	out, err := f.LB1.Vipilot(f.ctx, "drain", "endpoint", "app1/web1")
	if err == nil || !strings.Contains(out+err.Error(), `did you mean "app1/web-1"?`) {
		t.Errorf("an unknown endpoint: %v %s", err, out)
	}
	out, err = f.LB1.Vipilot(f.ctx, "drain", "endpoint", "app1/web-1", "--wait", "--timeout", "20s")
	if err != nil || !strings.Contains(out, "endpoint app1/web-1 gets no new sessions of todo") || !strings.Contains(out, "is drained") {
		t.Errorf("drain: %v\n%s", err, out)
	}
	t.Log(out)
	for range cap(slow) {
		if err := <-slow; err != nil {
			t.Errorf("a slow request during the drain: %v", err)
		}
	}
	f.awaitContainers(1)
	f.lossless("drain by hand", load)
	if after := f.reloads(f.LB1); after != before {
		t.Errorf("HAProxy was reloaded %d times for a drain", after-before)
	}

	f.LB1.KillController()
	f.must(f.LB1.StartVipilot(f.ctx))
	f.awaitStatus(f.LB1, "the successor remembers", 15*time.Second, func(r status.Report) error {
		for _, e := range r.Services["todo"].Endpoints {
			if e.Name == "app1/web-1" && (e.State != "drain" || e.Reason != "drained_by_hand") {
				return fmt.Errorf("endpoint %+v", e)
			}
		}
		if !r.Ready || r.Drained == nil {
			return fmt.Errorf("drained %+v, ready %v", r.Drained, r.Ready)
		}
		return nil
	})
	if out, err := f.LB1.Vipilot(f.ctx, "explain", "app1/web-1"); err != nil || !strings.Contains(out, "vipilot drain endpoint app1/web-1 --undo") {
		t.Errorf("explain: %v\n%s", err, out)
	}
	if out, err := f.LB1.Vipilot(f.ctx, "drain", "endpoint", "app1/web-1", "--undo"); err != nil {
		t.Errorf("undo: %v\n%s", err, out)
	}
	f.awaitContainers(2)
	if out, err := f.LB1.Vipilot(f.ctx, "drain", "host", "app2", "--wait"); err != nil {
		t.Errorf("drain host: %v\n%s", err, out)
	}
	f.awaitContainers(1)
	if a, err := f.get(lab.VIP, "todo.example.net", "/"); err != nil {
		t.Errorf("after the host was drained: %v %v", a, err)
	}
	if after := f.reloads(f.LB1); after != 0 {
		t.Errorf("the successor reloaded HAProxy %d times", after)
	}
}
