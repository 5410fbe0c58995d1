package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/vipilot/vipilot/e2e/fakedocker"
	"github.com/vipilot/vipilot/e2e/lab"
)

const (
	perEngine  = 100 // containers
	perService = 10
	firstPort  = 20_000 // published, on every host
)

// crowd is one node and many simulated engines, all on one machine: each host
// has an address of 10.77.0.0/16, and whatever its containers publish is
// answered by one listener for each port.
type crowd struct {
	lab     *lab.Lab
	size    int
	engines []*fakedocker.Engine
	open    []interface{ Close() error }
}

// newCrowd makes the engines and what they run. The containers of one service
// are on neighbouring hosts.
func newCrowd(l *lab.Lab, size int) *crowd {
	s := &crowd{lab: l, size: size}
	for i := range size / perEngine {
		e := fakedocker.New(host(i))
		for j := range perEngine {
			n := i*perEngine + j
			service := (i/perService*perEngine + j) % (size / perService)
			e.Run(fakedocker.Container{Name: fmt.Sprintf("c-%d", n), Service: fmt.Sprintf("s-%d", service), Port: firstPort + uint16(j)})
		}
		s.engines = append(s.engines, e)
	}
	return s
}

// extra is a container that comes and goes.
func (s *crowd) extra(i int) fakedocker.Container {
	return fakedocker.Container{Name: fmt.Sprintf("extra-%d", i), Service: fmt.Sprintf("s-%d", i*7%(s.size/perService)), Port: firstPort + perEngine}
}

func host(i int) string    { return fmt.Sprintf("h%d", i) }
func address(i int) string { return fmt.Sprintf("10.77.%d.%d", 1+i/200, 1+i%200) }

// boot brings the node up anew, with the engines and the application.
func (s *crowd) boot(ctx context.Context) error {
	s.close()
	if err := s.lab.Reboot(ctx); err != nil {
		return err
	}
	for i, e := range s.engines {
		l, err := s.lab.LB1.Listen(address(i) + ":2375")
		if err != nil {
			return err
		}
		server := &http.Server{Handler: e}
		s.open = append(s.open, server)
		go func() { _ = server.Serve(l) }()
	}
	for i := range uint16(perEngine + 1) {
		l, err := s.lab.LB1.Listen(fmt.Sprintf("0.0.0.0:%d", firstPort+i))
		if err != nil {
			return err
		}
		s.open = append(s.open, l)
		go greet(l)
	}
	return s.lab.WriteConfig(map[string]string{"fleet.yaml": s.fleet(), "services.yaml": s.services()})
}

// greet accepts connections and ends them: enough for a check by TCP.
func greet(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

func (s *crowd) close() {
	for _, c := range s.open {
		_ = c.Close()
	}
	s.open = nil
}

func (s *crowd) fleet() string {
	var b strings.Builder
	b.WriteString("version: 1\nnodes:\n  lb1: {address: 10.77.0.21, interface: lo}\nhosts:\n")
	for i := range s.engines {
		fmt.Fprintf(&b, "  %s: {docker: \"tcp://%s:2375\"}\n", host(i), address(i))
	}
	fmt.Fprintf(&b, "vips:\n  public: {addresses: [%s], ha: static}\n", lab.VIP)
	return b.String()
}

// services are checked seldom: it is the controller that is measured.
func (s *crowd) services() string {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range s.size / perService {
		fmt.Fprintf(&b, "  s-%d:\n    vip: public\n    http: {hosts: [s-%d.example.net], port: 80}\n"+
			"    backend: {containers: {labels: {app: s-%d}}, port: 8080, check: {interval: 60s}, drain: 1s}\n", i, i, i)
	}
	return b.String()
}

func (s *crowd) pid() int { return s.lab.LB1.Controller().PID() }

// served is what all engines answered: lists and inspections.
func (s *crowd) served() (lists, inspections int) {
	for _, e := range s.engines {
		n := e.Served()
		lists += n.Lists
		inspections += n.Inspections
	}
	return lists, inspections
}

// calm waits until the controller uses next to nothing for a second.
func (s *crowd) calm(ctx context.Context) error {
	return lab.Poll(ctx, time.Minute, func(ctx context.Context) error {
		before, err := cpu(s.pid())
		if err != nil {
			return err
		}
		pause(ctx, time.Second)
		after, err := cpu(s.pid())
		if used := after - before; err == nil && used > 150*time.Millisecond {
			err = fmt.Errorf("the controller is busy: %v of a second", used)
		}
		return err
	})
}

// memory is what the controller's runtime says of itself, in megabytes.
type memory struct {
	allocated, heap float64
	all             map[string]float64 // every metric
}

func (s *crowd) metrics(ctx context.Context) (memory, error) {
	values, err := scrape(ctx, s.lab.LB1)
	return memory{values["go_memstats_alloc_bytes_total"] / (1 << 20), values["go_memstats_heap_inuse_bytes"] / (1 << 20), values}, err
}

// peak is the most memory a process ever had resident, in megabytes.
func peak(pid int) float64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := bytes.Cut(data, []byte("VmHWM:"))
	var kb float64
	_, _ = fmt.Sscan(string(rest), &kb)
	return kb / 1024
}
