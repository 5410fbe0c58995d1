package faults

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vipilot/vipilot/e2e/fakedocker"
	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// ofEverythingElse are sessions that flap, disks that are full, revisions that
// break, and engines in a frenzy.
func ofEverythingElse() []fault {
	announced := func(m mode) bool { return m.protocol != "" }
	return []fault{
		{
			name: "sentinel hangs", about: "SIGSTOP; its dead man's switch ends it after four seconds, and the controller starts another", in: announced,
			bound: most(300, 2*time.Second, 500*time.Millisecond),
			strike: func(s *scene) {
				old := s.status(s.LB1).Components.Speaker.PID
				s.must(s.LB1.Signal(s.ctx, "STOP", old))
				s.awaitStatus(s.LB1, "another sentinel", lab.AnotherSentinel(old))
				s.whole()
			},
		},
		{
			name: "peer flaps", about: "the router ends the session with the master, or its OSPF neighborship, once a second, ten times", in: announced,
			bound: most(2500, 6*time.Second, 500*time.Millisecond), // three losses of the session until the node is deaf
			strike: func(s *scene) {
				for range 10 {
					s.must(s.hangUp(s.LB1))
					s.rest(time.Second)
				}
			},
			heal: (*scene).whole,
		},
		{
			name: "broken revision", about: "a configuration that HAProxy refuses, and one that asks for a port another program has; → the old one", bound: nothing, steady: true,
			strike: func(s *scene) {
				files := s.config()
				for _, n := range s.Nodes() {
					s.must(occupy(s, n))
				}
				s.must(s.UpdateConfig(map[string]string{"broken.yaml": "services:\n  broken: {vip: nowhere}\n"}))
				s.awaitStatus(s.LB1, "it is refused", func(r status.Report) error {
					if r.Config.Error == nil {
						return fmt.Errorf("revision %s is in force", r.Config.Revision)
					}
					return nil
				})
				s.must(s.UpdateConfig(map[string]string{"broken.yaml": "", "services.yaml": files["services.yaml"] +
					"  taken: {vip: " + s.mode.vip + ", tcp: {port: 8443}, backend: {servers: [10.77.0.11:9]}}\n"}))
				s.rest(3 * time.Second)
			},
			heal: func(s *scene) {
				s.must(s.WriteConfig(s.config()))
				s.whole()
			},
		},
		{
			name: "disks full", about: "run directory and state directory of the master take no byte any more, while a container comes and goes; → they do", bound: nothing, steady: true,
			in: func(m mode) bool { return m.smallDisks },
			strike: func(s *scene) {
				for _, dir := range []string{s.LB1.RunDir, s.LB1.StateDir} {
					_, err := s.LB1.Run(s.ctx, "sh", "-c", `mountpoint -q "$0" && { dd if=/dev/zero of="$0"/fill bs=4k 2>/dev/null; true; }`, dir)
					s.must(err)
				}
				_, err := s.App1.Launch(s.ctx, lab.Container{Name: "late", Labels: map[string]string{"app": "todo"}, Publish: 8080})
				s.must(err)
				s.rest(2 * time.Second)
				s.must(s.App1.Stop(s.ctx, "late"))
				s.rest(time.Second)
			},
			heal: func(s *scene) {
				for _, dir := range []string{s.LB1.RunDir, s.LB1.StateDir} {
					_, err := s.LB1.Run(s.ctx, "rm", filepath.Join(dir, "fill"))
					s.must(err)
				}
				s.whole()
			},
		},
		{
			name: "1,000 container restarts", about: "20 containers of one engine restart 1,000 times within a minute (a simulated engine; no machine of ours starts real ones that fast)",
			bound: nothing, steady: true,
			strike: frenzy,
			heal:   func(s *scene) { s.must(s.WriteConfig(s.config())); s.whole() },
		},
	}
}

// hangUp has the router end its session with a node; it takes the next one.
func (s *scene) hangUp(n *lab.Node) error {
	program, args := "vtysh", []string{"-d", "bgpd", "-c", "clear bgp " + n.Address}
	switch s.mode.protocol {
	case "ospf":
		args = []string{"-d", "ospfd", "-c", "clear ip ospf neighbor " + n.Address}
	case "bird":
		program, args = "birdc", []string{"-s", "/run/bird.ctl", "restart", n.Name}
	}
	_, err := s.Router.Run(s.ctx, program, args...)
	return err
}

// occupy has another program listen where a service is to be.
func occupy(s *scene, n *lab.Node) error {
	l, err := n.Listen("0.0.0.0:8443")
	if err != nil {
		return err
	}
	context.AfterFunc(s.ctx, func() { _ = l.Close() })
	s.t.Cleanup(func() { _ = l.Close() })
	return nil
}

const (
	crowd     = 20 // containers of the simulated engine
	restarts  = 1000
	frenzyFor = time.Minute
	firstPort = 30000
)

// frenzy adds an engine and has its containers restart without an end.
func frenzy(s *scene) {
	engine := fakedocker.New("app3")
	socket, err := s.App2.Listen("10.77.0.12:2377")
	s.must(err)
	s.t.Cleanup(func() { _ = socket.Close() })
	go func() { _ = http.Serve(socket, engine) }()
	for i := range crowd {
		app, err := s.App2.Listen(fmt.Sprintf("10.77.0.12:%d", firstPort+i))
		s.must(err)
		s.t.Cleanup(func() { _ = app.Close() })
		go func() {
			_ = http.Serve(app, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Container", "fake") }))
		}()
	}
	files := s.config()
	files["fleet.yaml"] = strings.Replace(files["fleet.yaml"], "hosts:\n", "hosts:\n  app3: {docker: \"tcp://10.77.0.12:2377\", address: 10.77.0.12}\n", 1)
	s.must(s.WriteConfig(files))
	reloads := s.status(s.LB1).Components.HAProxy.Reloads
	name := func(i int) string { return fmt.Sprintf("fake-%d", i) }
	run := func(i int) {
		engine.Run(fakedocker.Container{Name: name(i), Service: "todo", Port: uint16(firstPort + i)})
	}
	var all errgroup.Group
	for i := range crowd {
		all.Go(func() error {
			run(i)
			for range restarts / crowd {
				s.rest(frenzyFor / (restarts / crowd) / 2)
				engine.Stop(name(i))
				s.rest(frenzyFor / (restarts / crowd) / 2)
				run(i)
			}
			return nil
		})
	}
	s.must(all.Wait())
	s.awaitStatus(s.LB1, "all containers of the last second", lab.EndpointsReady(crowd+2))
	if now := s.status(s.LB1).Components.HAProxy.Reloads; now != reloads {
		s.t.Errorf("HAProxy was reloaded %d times", now-reloads)
	}
}
