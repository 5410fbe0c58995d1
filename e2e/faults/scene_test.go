package faults

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// options of the lab that all modes share.
var options = lab.Options{Kind: "faults", BGPPassword: "lab-secret", TTLSecurity: true}

var shared *lab.Lab

func TestMain(m *testing.M) {
	os.Exit(lab.Main(options, func(l *lab.Lab) { shared = l }, m.Run))
}

// everything says whether the whole matrix is wanted, and not what is quick.
func everything() bool { return os.Getenv("VIPILOT_FAULTS") == "all" }

// scene is the lab in one mode.
type scene struct {
	*lab.Lab
	t     *testing.T
	ctx   context.Context
	mode  mode
	watch *lab.Watch // nil where nothing is announced
}

// with is the scene for another test.
func (s *scene) with(t *testing.T) *scene { other := *s; other.t = t; return &other }

// open brings the lab into a mode: fleet declared, router ready, both nodes up.
func open(t *testing.T, m mode) *scene {
	t.Helper()
	if os.Getenv("VIPILOT_E2E") != "1" {
		t.Skip("set VIPILOT_E2E=1 to run on real daemons (make faults does)")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	s := &scene{Lab: shared, t: t, ctx: ctx, mode: m}
	t.Cleanup(func() {
		if t.Failed() {
			s.Explain(t.Logf)
		}
		cancel()
	})
	s.must(s.Reset(ctx))
	for _, name := range []string{"zebra", "bgpd"} { // an earlier mode may have ended badly
		s.must(s.Router.StartDaemon(ctx, name))
	}
	if m.router != nil {
		undo, err := m.router(s)
		if undo != nil {
			t.Cleanup(undo)
		}
		s.must(err)
	}
	s.must(s.WriteConfig(s.config()))
	for i, app := range s.Apps() {
		_, err := app.Launch(ctx, lab.Container{Name: fmt.Sprintf("web-%d", i+1), Labels: map[string]string{"app": "todo"}, Publish: 8080})
		s.must(err)
	}
	if m.smallDisks {
		for _, dir := range []string{s.LB1.RunDir, s.LB1.StateDir} {
			_, err := s.LB1.Run(ctx, "sh", "-c", `mkdir -p "$0" && mount -t tmpfs -o size=8m,mode=755 small "$0"`, dir)
			s.must(err)
		}
	}
	if m.ownClock {
		s.must(s.OwnClock(ctx, s.LB1))
	}
	s.must(s.StartVipilot(ctx, "--on-exit", "leave"))
	s.whole()
	if m.protocol != "" {
		w, err := s.WatchVIP(ctx, netip.MustParseAddr(m.address), "todo.example.net")
		s.must(err)
		t.Cleanup(w.Stop)
		s.watch = w
	}
	return s
}

// config is the lab's fleet as the mode wants it.
func (s *scene) config() map[string]string {
	files := s.FleetConfig()
	files["services.yaml"] = strings.Replace(lab.TodoService, "vip: public", "vip: "+s.mode.vip, 1)
	fleet := strings.Replace(files["fleet.yaml"], "advert_interval: 200ms", "advert_interval: 100ms", 1)
	for i := 0; i < len(s.mode.fleet); i += 2 {
		if !strings.Contains(fleet, s.mode.fleet[i]) {
			s.t.Fatalf("the fleet has no %q:\n%s", s.mode.fleet[i], fleet)
		}
		fleet = strings.Replace(fleet, s.mode.fleet[i], s.mode.fleet[i+1], 1)
	}
	if !everything() { // beside other tests, where a node may be silent for 200 ms without being dead
		fleet = strings.NewReplacer("interval: 100ms", "interval: 300ms", "interval: 60ms", "interval: 180ms").Replace(fleet)
	}
	files["fleet.yaml"] = fleet
	return files
}

// whole waits until everything is as it should be: applied on both nodes,
// lb1 the master, the routers told, and all of it for a moment.
func (s *scene) whole() {
	s.t.Helper()
	for _, n := range s.Nodes() {
		s.awaitStatus(n, "everything applied", func(r status.Report) error {
			if err := lab.Applied(r); err != nil {
				return err
			}
			return s.mode.settled(s, n, r)
		})
	}
	s.await("answers at "+s.mode.address, func() error {
		if err := s.routed(s.mode.holders(s)...); err != nil {
			return err
		}
		for range 4 {
			if err := s.ask(); err != nil {
				return err
			}
		}
		return nil
	})
	s.rest(500 * time.Millisecond)
}

// ask is one request of a client.
func (s *scene) ask() error { return s.Client.Ask(s.ctx, s.mode.address, lab.TodoSite, 5*time.Second) }

// routed says whether the router sends the VIP to exactly these nodes.
func (s *scene) routed(nodes ...*lab.Node) error {
	if s.mode.protocol == "" {
		return nil
	}
	return s.Router.Leads(s.ctx, s.mode.protocol, s.mode.address, nodes...)
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// await polls check until it returns nil; past lab.Patience the test ends.
func (s *scene) await(what string, check func() error) time.Duration {
	s.t.Helper()
	began := time.Now()
	if err := lab.Poll(s.ctx, lab.Patience, func(context.Context) error { return check() }); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	return time.Since(began)
}

// awaitStatus waits for a state of a node's report.
func (s *scene) awaitStatus(n *lab.Node, what string, check lab.Check) {
	s.t.Helper()
	if _, err := n.Await(s.ctx, lab.Patience, check); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// status reads a node's report once.
func (s *scene) status(n *lab.Node) status.Report {
	s.t.Helper()
	r, err := n.Status(s.ctx)
	s.must(err)
	return r
}

// rest lets the load run for a while.
func (s *scene) rest(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
		s.t.Fatal(s.ctx.Err())
	}
}

// end kills a process of a node by its number there.
func (s *scene) end(n *lab.Node, pid int) {
	s.t.Helper()
	s.must(n.Signal(s.ctx, "KILL", pid))
}

// find gives the number of a process on a node, as pgrep finds it.
func (s *scene) find(n *lab.Node, how ...string) int {
	s.t.Helper()
	out, err := n.Run(s.ctx, "pgrep", append([]string{"-n"}, how...)...)
	s.must(err)
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	s.must(err)
	return pid
}
