package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// loads are the two kinds of clients, at a rate that leaves room on two CPUs for
// everything else; make faults and make bench ask more often.
func (f *fleet) loads() (kept, closing *lab.Running) { return f.load(100, true), f.load(100, false) }

// longAnswer asks for an answer that comes in pieces, each of which the client
// acknowledges, and reads it for that long. It returns once the first has come.
func (f *fleet) longAnswer(d time.Duration) <-chan error {
	f.t.Helper()
	asked, began := make(chan error, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(f.ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lab.VIP+"/stream", nil)
	f.must(err)
	req.Host = "todo.example.net"
	client := f.Client.HTTPClient(time.Minute, false)
	go func() {
		defer cancel()
		resp, err := client.Do(req)
		if err == nil {
			defer resp.Body.Close()
			lines, end := bufio.NewScanner(resp.Body), time.Now().Add(d)
			for first := true; (first || time.Now().Before(end)) && err == nil; first = false {
				if !lines.Scan() {
					err = errors.Join(errors.New("it ended: "+resp.Status), lines.Err())
				} else if first {
					close(began)
				}
			}
		}
		asked <- err
	}()
	select {
	case <-began:
	case err := <-asked:
		f.t.Fatalf("an answer in pieces: %v", err)
	}
	return asked
}

// A node that is drained, in the repository or by SIGTERM, hands over in order:
// no request is lost, on kept connections or new ones, and an answer that takes
// longer than the move is not cut. The same holds when it takes its VIP back.
func TestPlannedDrain(t *testing.T) {
	f := pair(t)
	state := func(word string) {
		t.Helper()
		files := f.FleetConfig()
		files["fleet.yaml"] = strings.Replace(files["fleet.yaml"], "lb1: {", "lb1: {state: "+word+", ", 1)
		f.must(f.UpdateConfig(files))
	}
	stage := func(want string) func(status.Report) error {
		return func(r status.Report) error {
			if r.Stage != want {
				return fmt.Errorf("stage %q, want %q", r.Stage, want)
			}
			return nil
		}
	}
	reloads := f.ready(f.LB1).Components.Keepalived.Reloads
	steps := f.listen(f.LB1)
	long := f.longAnswer(6 * time.Second)
	kept, closing := f.loads()
	began := time.Now()
	state("drain")
	f.awaitStatus(f.LB1, "drained", stage("drained"))
	f.awaitMaster(f.LB2)
	f.steady(time.Second)
	f.lossless("drained in the repository, keep-alive", kept)
	f.lossless("drained in the repository, a connection each", closing)
	if err := <-long; err != nil {
		t.Errorf("an answer of 6 s, begun on lb1 before the drain: %v", err)
	}
	if now := f.ready(f.LB1).Components.Keepalived.Reloads; now != reloads {
		t.Errorf("keepalived was reloaded %d times", now-reloads)
	}
	steps.inOrder(began, "withdrawing", "yielding", "drained")

	long = f.longAnswer(6 * time.Second)
	kept, closing = f.loads()
	state("active")
	f.settled()
	f.steady(time.Second)
	f.lossless("taken back, keep-alive", kept)
	f.lossless("taken back, a connection each", closing)
	if err := <-long; err != nil {
		t.Errorf("an answer of 6 s, begun on lb2 before lb1 came back: %v", err)
	}

	kept, closing = f.loads()
	began = time.Now()
	told, err := f.LB1.Vipilot(f.ctx, "drain", "node", "--wait", "--timeout", "90s")
	f.must(err)
	if !strings.Contains(told, "node lb1 is withdrawing") || !strings.Contains(told, "node lb1 is drained") {
		t.Errorf("vipilot drain node said:\n%s", told)
	}
	f.steady(time.Second)
	f.lossless("vipilot drain node, keep-alive", kept)
	f.lossless("vipilot drain node, a connection each", closing)
	steps.inOrder(began, "withdrawing", "yielding", "drained")
	_, err = f.LB1.Vipilot(f.ctx, "drain", "--undo")
	f.must(err)
	f.settled()

	kept, closing = f.loads()
	began = time.Now()
	f.must(f.LB1.StopController())
	if code := f.LB1.Controller().Code(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	f.awaitMaster(f.LB2)
	f.steady(time.Second)
	f.lossless("SIGTERM, keep-alive", kept)
	f.lossless("SIGTERM, a connection each", closing)
	steps.inOrder(began, "withdrawing", "yielding", "leaving")
}

// What is drained by hand, an endpoint or a host, gets nothing new until it is
// taken back, also from the next controller; no request is lost by it and
// HAProxy is not reloaded.
func TestDrainByHand(t *testing.T) {
	f := pair(t)
	before := f.reloads(f.LB1)
	kept, closing := f.loads()
	do := func(says string, args ...string) {
		t.Helper()
		told, err := f.LB1.Vipilot(f.ctx, append([]string{"drain"}, args...)...)
		f.must(err)
		if !strings.Contains(told, says) {
			t.Errorf("vipilot drain %v said:\n%s", args, told)
		}
	}
	restart := func() {
		t.Helper()
		f.LB1.KillController()
		f.must(f.LB1.StartVipilot(f.ctx))
		f.ready(f.LB1)
	}
	alone := func(when, name string) {
		t.Helper()
		seen := make(map[string]bool)
		for range 10 {
			a, err := f.get(lab.VIP, "todo.example.net", "/")
			f.must(err)
			seen[a.Container] = true
		}
		if len(seen) != 1 {
			t.Errorf("%s: answers from %v, want one", when, seen)
		}
		for _, n := range []string{"app1/web-1", "app2/web-2"} {
			want := "drain"
			if n == name {
				want = "ready"
			}
			f.awaitStatus(f.LB1, when, inState(n, want))
		}
	}
	do("is drained", "endpoint", "app1/web-1", "--wait", "--timeout", "90s")
	alone("an endpoint drained", "app2/web-2")
	restart()
	alone("remembered by the next controller", "app2/web-2")
	do("back in service", "endpoint", "app1/web-1", "--undo")
	f.awaitContainers(2)

	do("is drained", "host", "app2", "--wait", "--timeout", "90s")
	alone("a host drained", "app1/web-1")
	restart()
	alone("remembered as well", "app1/web-1")
	f.todo(f.App2, "web-3") // on a drained host
	f.todo(f.App1, "web-4")
	f.awaitContainers(2)
	f.awaitStatus(f.LB1, "a newcomer on a drained host", inState("app2/web-3", "drain"))
	do("back in service", "host", "app2", "--undo")
	f.awaitContainers(4)
	f.lossless("drained by hand, keep-alive", kept)
	f.lossless("drained by hand, a connection each", closing)
	if n := f.reloads(f.LB1) - before; n > 0 {
		t.Errorf("%d reloads", n)
	}
}
