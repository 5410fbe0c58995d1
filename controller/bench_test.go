package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vipilot/vipilot/config"
	"github.com/vipilot/vipilot/discovery"
	"github.com/vipilot/vipilot/haproxy"
	"github.com/vipilot/vipilot/status"
)

// fleet is 100 hosts of 100 containers each, in 1,000 services.
func fleet(b *testing.B) (Input, []discovery.Container) {
	var yaml strings.Builder
	yaml.WriteString("version: 1\nnodes: {lb1: {address: 10.77.0.21, interface: eth0}}\nvips: {public: {addresses: [203.0.113.10], ha: static}}\nhosts:\n")
	for h := range 100 {
		fmt.Fprintf(&yaml, "  h%d: {docker: \"tcp://10.77.1.%d:2375\"}\n", h, h)
	}
	yaml.WriteString("services:\n")
	for s := range 1000 {
		fmt.Fprintf(&yaml, "  s%d: {vip: public, http: {hosts: [s%d.example.net]}, backend: {containers: {labels: {app: s%d}}, port: 8080}}\n", s, s, s)
	}
	cfg, err := config.Load(config.Tree{"fleet.yaml": []byte(yaml.String())})
	if err != nil {
		b.Fatal(err)
	}
	in := Input{Node: "lb1", Config: cfg, Hosts: make(map[string]discovery.Snapshot), Answered: make(map[string]*Answers)}
	for h := range 100 {
		var containers []discovery.Container
		for c := range 100 {
			one := web(c, "app", fmt.Sprintf("s%d", (100*h+c)%1000))
			one.ID = fmt.Sprintf("%064x", 100*h+c)
			containers = append(containers, one)
		}
		in.Hosts[fmt.Sprintf("h%d", h)] = snapshot(fmt.Sprintf("h%d", h), containers...)
	}
	answerAll(b, &in)
	fewer := append([]discovery.Container(nil), in.Hosts["h7"].Containers[1:]...)
	return in, fewer
}

// BenchmarkOneEvent is what the decision costs when one container of 10,000
// comes or goes.
func BenchmarkOneEvent(b *testing.B) {
	in, fewer := fleet(b)
	all := in.Hosts["h7"].Containers
	var memory planner
	if _, err := memory.desire(in); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		containers := all
		if i%2 == 0 {
			containers = fewer
		}
		in.Hosts["h7"] = snapshot("h7", containers...)
		d, err := memory.desire(in)
		if err != nil || len(d.Pools) != 1000 {
			b.Fatal(err)
		}
	}
}

// BenchmarkRound is the same through the whole loop, with appliers that cost
// nothing: what the controller adds before and after HAProxy's socket.
func BenchmarkRound(b *testing.B) {
	in, fewer := fleet(b)
	all := in.Hosts["h7"].Containers
	l := &loop{
		opts: Options{Node: "lb1", RunDir: b.TempDir()}, log: discard, board: status.NewBoard(), memory: newMemory(b.TempDir(), discard),
		proxy: idleProxy{}, election: idleElection{}, router: idleRouter{}, addresses: idleAddresses{}, authority: idleAuthority{},
		inbox: make(chan event, inboxSize), in: in, prober: newProber(b.Context(), func(probe, time.Duration) {}),
	}
	l.settle(b.Context(), "start")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		containers := all
		if i%2 == 0 {
			containers = fewer
		}
		l.in.Hosts["h7"] = snapshot("h7", containers...)
		l.settle(b.Context(), "event")
	}
}

// BenchmarkExplain is one question among 10,000 containers and 1,000 services.
func BenchmarkExplain(b *testing.B) {
	in, _ := fleet(b)
	known := &facts{in: in, want: answerAll(b, &in), report: &status.Report{}}
	checks := func(string) (map[string]haproxy.CheckResult, error) { return nil, nil }
	for _, subject := range []string{"h7/web-3", "s12", "http://s7.example.net/", "203.0.113.10", "h7", "wbe-3"} {
		b.Run(strings.ReplaceAll(subject, "/", "_"), func(b *testing.B) {
			for b.Loop() {
				explain(known, status.Question{Subject: subject}, checks)
			}
		})
	}
}
