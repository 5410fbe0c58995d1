package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// story is the demo while it is told.
type story struct {
	lab    *lab.Lab
	ctx    context.Context
	out    io.Writer
	colour bool
	began  time.Time
	names  map[string]string // container names by what answers call them
}

// tell goes through the scenes.
func (s *story) tell() error {
	for _, scene := range []func() error{s.start, s.deploy, s.scale, s.replace, s.failOver, s.pages} {
		if err := scene(); err != nil {
			return err
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) start() error {
	s.begin()
	if err := s.declare(); err != nil {
		return err
	}
	if _, err := s.lab.Router.GuardPeers(s.ctx); err != nil {
		return err
	}
	if err := s.lab.StartVipilot(s.ctx); err != nil {
		return err
	}
	for n, role := range map[*lab.Node]string{s.lab.LB1: "master", s.lab.LB2: "backup"} {
		if err := s.settled(n, role); err != nil {
			return err
		}
	}
	report, err := s.lab.LB1.Status(s.ctx)
	if err != nil {
		return err
	}
	s.step("vipilot", "runs on lb1 (master) and lb2 (backup); both have a BGP session with the router, and BFD")
	s.line("", "nothing is announced yet: "+cmp.Or(report.VIPs["public"].Reason, "-"))
	return nil
}

// declare writes the configuration: the lab's fleet, in a hurry to notice that a
// node is dead, and one service.
func (s *story) declare() error {
	files := s.lab.FleetConfig()
	hurry := strings.NewReplacer("hold_time: 3s", "hold_time: 9s, bfd: {interval: 100ms, multiplier: 3}", "advert_interval: 200ms", "advert_interval: 100ms")
	files["fleet.yaml"] = hurry.Replace(files["fleet.yaml"])
	files["services.yaml"] = lab.TodoService
	return s.lab.WriteConfig(files)
}

// settled waits until a node has its role and its session with the router, which
// BFD guards.
func (s *story) settled(n *lab.Node, role string) error {
	_, err := n.Await(s.ctx, 20*time.Second, func(report status.Report) error {
		vip, peer := report.VIPs["public"], report.Components.Speaker.Peers["edge"]
		if vip.Role != role || peer.State != "established" || peer.BFD != "up" {
			return fmt.Errorf("VIP %+v, want role %s; peer %+v", vip, role, peer)
		}
		return nil
	})
	return err
}

func (s *story) deploy() error {
	if err := s.launch(s.lab.App1, "todo-1"); err != nil {
		return err
	}
	s.begin()
	if err := s.answers(); err != nil {
		return err
	}
	s.step("deploy", "todo-1 on app1; from docker start to the first answer over BGP, VIP and HAProxy")
	return s.sample()
}

func (s *story) scale() error {
	s.begin()
	for name, app := range map[string]*lab.App{"todo-2": s.lab.App2, "todo-3": s.lab.App1, "todo-4": s.lab.App2} {
		if err := s.launch(app, name); err != nil {
			return err
		}
	}
	if err := s.serving(4); err != nil {
		return err
	}
	s.step("scale", "four replicas on two hosts, "+s.reloads())
	return s.sample()
}

// replace stops two containers while the public asks.
func (s *story) replace() error {
	s.begin()
	load := s.load().Start(s.ctx)
	if err := errors.Join(s.lab.App1.Stop(s.ctx, "todo-1"), s.lab.App2.Stop(s.ctx, "todo-2"), s.launch(s.lab.App1, "todo-5"),
		s.serving(3)); err != nil {
		return err
	}
	seen := load.Stop()
	s.step("replace", fmt.Sprintf("two stopped, one new: %d requests, %d failed, %s", seen.OK+seen.Failed, seen.Failed, s.reloads()))
	return s.sample()
}

// failOver cuts lb1's power while the public asks.
func (s *story) failOver() error {
	load := s.load().Start(s.ctx)
	defer load.Stop()
	s.begin()
	if err := s.lab.PowerOff(s.ctx, s.lab.LB1); err != nil {
		return err
	}
	if err := s.routed(s.lab.LB2); err != nil {
		return err
	}
	if err := s.answers(); err != nil {
		return err
	}
	seen := load.Stop()
	s.step("lb1 dies", fmt.Sprintf("power off; lb2 took VIP and route over; the public noticed for %.2f s", seen.Trouble().Seconds()))
	if err := s.sample(); err != nil {
		return err
	}
	s.begin()
	load = s.load().Start(s.ctx)
	defer load.Stop()
	if err := errors.Join(s.lab.PowerOn(s.ctx, s.lab.LB1), s.lab.LB1.StartVipilot(s.ctx), s.routed(s.lab.LB1)); err != nil {
		return err
	}
	seen = load.Stop()
	s.step("lb1 is back", fmt.Sprintf("and master again; the public noticed for %.2f s", seen.Trouble().Seconds()))
	return s.sample()
}

// pages prints where the status is.
func (s *story) pages() error {
	for i, n := range s.lab.Nodes() {
		address, err := n.Forward(s.ctx, 9890+i, lab.StatusAddress)
		if err != nil {
			return err
		}
		s.line(n.Name, "http://"+address+"/  (JSON: /v1/status, live: /v1/events)")
	}
	s.line("files", s.lab.Dir+"/repo is the configuration; edit it and watch the page")
	return nil
}

func (s *story) launch(app *lab.App, name string) error {
	id, err := app.Launch(s.ctx, lab.Container{Name: name, Labels: map[string]string{"app": "todo"}, Publish: 8080})
	if err == nil {
		s.names[id[:12]] = app.Name + "/" + name
	}
	return err
}

func (s *story) load() lab.Load {
	return lab.Load{From: s.lab.Client, URL: "http://" + lab.VIP + "/", Name: lab.TodoSite, Rate: 200, Timeout: 2 * time.Second}
}

// answers waits for an answer to the client.
func (s *story) answers() error {
	return lab.Poll(s.ctx, 20*time.Second, func(ctx context.Context) error {
		const patience = 100 * time.Millisecond // shorter than the wait before a lost SYN is sent again
		return s.lab.Client.Ask(ctx, lab.VIP, lab.TodoSite, patience)
	})
}

// serving waits until n endpoints are ready and no other is left.
func (s *story) serving(n int) error {
	_, err := s.lab.LB1.Await(s.ctx, 20*time.Second, lab.EndpointsReady(n))
	return err
}

// routed waits until the router sends the VIP's packets to a node.
func (s *story) routed(n *lab.Node) error {
	return lab.Poll(s.ctx, 20*time.Second, func(ctx context.Context) error {
		return s.lab.Router.Leads(ctx, "bgp", lab.VIP, n)
	})
}

func (s *story) reloads() string {
	report, err := s.lab.LB1.Status(s.ctx)
	if err != nil {
		report = status.Report{}
	}
	p := report.Components.HAProxy
	return fmt.Sprintf("HAProxy: %d runtime updates, %d reloads", p.RuntimeUpdates, p.Reloads)
}

// sample asks for a second and draws who answered.
func (s *story) sample() error {
	seen := s.load().Run(s.ctx, time.Second)
	if seen.OK == 0 && s.ctx.Err() == nil {
		return fmt.Errorf("no answer in a second: %v", seen)
	}
	type bar struct {
		name string
		n    int
	}
	var bars []bar
	for id, n := range seen.Answers {
		bars = append(bars, bar{cmp.Or(s.names[id], id), n})
	}
	slices.SortFunc(bars, func(a, b bar) int { return cmp.Compare(a.name, b.name) })
	for _, b := range bars {
		s.line("", fmt.Sprintf("%-12s %s %d/s", b.name, s.paint("36", strings.Repeat("▇", 1+b.n*40/max(1, seen.OK))), b.n))
	}
	return nil
}

// begin starts the clock of the next step.
func (s *story) begin() { s.began = time.Now() }

// step prints what was done and how long it took.
func (s *story) step(name, text string) {
	took := fmt.Sprintf("%7.0f ms", float64(time.Since(s.began).Microseconds())/1000)
	fmt.Fprintf(s.out, "%s  %s %s\n", s.paint("2", took), s.paint("1;32", fmt.Sprintf("%-12s", name)), text)
}

func (s *story) line(name, text string) {
	fmt.Fprintf(s.out, "%12s%s %s\n", "", s.paint("1", fmt.Sprintf("%-12s", name)), text)
}

func (s *story) title(text string) { fmt.Fprintln(s.out, s.paint("1", text)) }

func (s *story) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func onTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
}
