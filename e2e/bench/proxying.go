package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

const (
	upstreams    = 4
	firstServer  = 9001 // port of the first upstream
	manyServices = 1000
	byHand       = "8080" // port of the hand-written proxy
	pairRounds   = 9
	burst        = 3 * time.Second
	connections  = 32
)

// proxying measures what vipilot's configuration costs a request, against the
// best that a person would write by hand for the same upstreams.
func (b *bench) proxying(ctx context.Context) (err error) {
	l, err := lab.NewAlone(ctx, lab.Options{Kind: "bench-proxy", Binary: os.Getenv("VIPILOT_BINARY")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	p := proxies{node: l.LB1, lab: l}
	for _, size := range []struct {
		services int
		wanted   string
	}{{1, "≥ 0.98"}, {manyServices, "≥ 0.95"}} {
		if err := p.start(ctx, size.services); err != nil {
			return fmt.Errorf("%w\n%s", err, l.LB1.Logs(15))
		}
		ours, theirs, err := p.compare(ctx, middle(size.services))
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%d services by map", size.services)
		if size.services == 1 {
			what = "1 service"
		}
		figure(what+": requests/s, vipilot's : hand-written",
			fmt.Sprintf("%.0f : %.0f = %.3f  n=%d", ours.rate, theirs.rate, ours.rate/theirs.rate, pairRounds), size.wanted)
		limit := ""
		if size.services == 1 {
			limit = "≤ 1.02"
		}
		figure("  p99", fmt.Sprintf("%.2f : %.2f ms = %.3f", ours.p99, theirs.p99, ours.p99/theirs.p99), limit)
	}
	return p.reload(ctx)
}

// proxies are vipilot's HAProxy and a hand-written one, side by side on one
// node, in front of the same upstreams.
type proxies struct {
	lab  *lab.Lab
	node *lab.Node
}

// start boots the node anew with upstreams, the hand-written proxy, and
// vipilot with this many services.
func (p proxies) start(ctx context.Context, services int) error {
	if err := p.lab.Reboot(ctx); err != nil {
		return err
	}
	for name, config := range map[string]string{"upstreams": upstreamConfig(), "by-hand": handWritten()} {
		file := filepath.Join(p.node.BinDir(), name+".cfg")
		if err := errors.Join(os.MkdirAll(p.node.BinDir(), 0o755), os.WriteFile(file, []byte(config), 0o600)); err != nil {
			return err
		}
		if _, err := p.node.Run(ctx, "haproxy", "-D", "-f", file); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	}
	if err := p.lab.WriteConfig(map[string]string{"fleet.yaml": staticFleet(services)}); err != nil {
		return err
	}
	if err := p.node.StartVipilot(ctx); err != nil {
		return err
	}
	return lab.Poll(ctx, 30*time.Second, func(ctx context.Context) error {
		for _, port := range []string{"80", byHand} {
			if _, err := p.node.Run(ctx, "curl", "-sSf", "-m", "2", "-H", "Host: "+middle(services), "http://"+lab.VIP+":"+port+"/"); err != nil {
				return err
			}
		}
		return nil
	})
}

// middle is the site that is asked for: neither the first nor the last.
func middle(services int) string { return fmt.Sprintf("s-%d.example.net", services/2) }

// upstreamConfig has one HAProxy be all upstreams: the lightest there is.
func upstreamConfig() string {
	var b strings.Builder
	b.WriteString("global\n  maxconn 4000\ndefaults\n  mode http\n  timeout client 60s\n  timeout http-keep-alive 60s\n  timeout connect 1s\n  timeout server 1s\nfrontend app\n")
	for i := range upstreams {
		fmt.Fprintf(&b, "  bind 10.77.0.11:%d\n", firstServer+i)
	}
	b.WriteString("  http-request return status 200 content-type text/plain string \"hello\\n\"\n")
	return b.String()
}

// handWritten keeps for one site the promises that vipilot's configuration
// keeps, safe retries among them, with nothing that it does not need.
func handWritten() string {
	var b strings.Builder
	fmt.Fprintf(&b, `global
  maxconn 4000
  httpclient.ssl.verify none
defaults
  mode http
  option http-keep-alive
  option idle-close-on-response
  option redispatch 1
  retries 3
  timeout connect 3s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
  timeout http-keep-alive 60s
frontend web
  bind %s:%s
  option forwardfor
  http-request del-header X-Forwarded- -m beg
  http-request del-header Forwarded
  http-request set-header X-Forwarded-Proto http
  acl site req.hdr(host),host_only -i s-0.example.net s-%d.example.net
  http-request return status 404 unless site
  default_backend app
backend app
  balance leastconn
  retry-on conn-failure empty-response
  http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE PUT DELETE }
  default-server check inter 1s
`, lab.VIP, byHand, manyServices/2)
	for i := range upstreams {
		fmt.Fprintf(&b, "  server s%d 10.77.0.11:%d\n", i, firstServer+i)
	}
	return b.String()
}

// staticFleet is one node with this many services on the same upstreams.
func staticFleet(services int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nnodes:\n  lb1: {address: 10.77.0.21, interface: lo}\nvips:\n  public: {addresses: [%s], ha: static}\nservices:\n", lab.VIP)
	for i := range services {
		fmt.Fprintf(&b, "  s-%d:\n    vip: public\n    http: {hosts: [s-%d.example.net], port: 80}\n    backend:\n      balance: leastconn\n      check: {interval: %s}\n      servers: [", i, i, interval(services))
		for j := range upstreams {
			fmt.Fprintf(&b, "\"10.77.0.11:%d\", ", firstServer+j)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// interval keeps the number of checks a second the same: it is requests that
// are measured.
func interval(services int) string {
	return (time.Duration(max(1, services/16)) * time.Second).String()
}

// speed is what a proxy did under full load.
type speed struct{ rate, p99 float64 }

// compare measures both in turn and returns the medians.
func (p proxies) compare(ctx context.Context, site string) (ours, theirs speed, err error) {
	var ourRates, ourTails, theirRates, theirTails []float64
	for i := range pairRounds {
		ports := []string{"80", byHand}
		if i%2 == 1 {
			slices.Reverse(ports) // whoever comes second must not always be the same
		}
		for _, port := range ports {
			s, err := p.press(ctx, site, port)
			if err != nil {
				return ours, theirs, err
			}
			if port == "80" {
				ourRates, ourTails = append(ourRates, s.rate), append(ourTails, s.p99)
			} else {
				theirRates, theirTails = append(theirRates, s.rate), append(theirTails, s.p99)
			}
		}
	}
	return speed{median(ourRates), median(ourTails)}, speed{median(theirRates), median(theirTails)}, nil
}

var wrkForm = regexp.MustCompile(`(?s)99%\s+([0-9.]+)(us|ms|s)\b.*Requests/sec:\s+([0-9.]+)`)

// press sends as many requests as one proxy answers, on kept connections.
func (p proxies) press(ctx context.Context, site, port string) (speed, error) {
	out, err := p.node.Run(ctx, "wrk", "-t1", fmt.Sprintf("-c%d", connections), "-d"+burst.String(), "--latency",
		"-H", "Host: "+site, "http://"+lab.VIP+":"+port+"/")
	if err != nil {
		return speed{}, err
	}
	m := wrkForm.FindStringSubmatch(out)
	if m == nil || strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
		return speed{}, fmt.Errorf("wrk on port %s: %s", port, out)
	}
	tail, err1 := strconv.ParseFloat(m[1], 64)
	rate, err2 := strconv.ParseFloat(m[3], 64)
	tail *= map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[m[2]]
	return speed{rate, tail}, errors.Join(err1, err2)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// rendering prints what the benchmarks of the rooms say about large
// configurations.
func (b *bench) rendering(ctx context.Context) error {
	for _, room := range []struct{ what, benchmark, dir string }{
		{"render of 1,000 services × 10 endpoints", "BenchmarkRender1000x10", "/haproxy"},
		{"validate of 1,000 services for 2 nodes, without daemons", "BenchmarkValidate1000", "/cli"},
	} {
		all, err := results(ctx, room.benchmark, room.dir)
		if err != nil {
			return err
		}
		figure(room.what, spread(all), "≤ 300")
	}
	return nil
}

// results runs one benchmark five times.
func results(ctx context.Context, name, dir string) (all []time.Duration, err error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^"+name+"$", "-benchtime=10x", "-count=5", lab.Source()+dir).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w\n%s", name, err, out)
	}
	for _, m := range regexp.MustCompile(`([0-9]+) ns/op`).FindAllStringSubmatch(string(out), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, err
		}
		all = append(all, time.Duration(n))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("run %s: no result in %s", name, out)
	}
	return all, nil
}
