// Command bench prints vipilot's figures on real daemons: how long a container
// waits for its first request, what a reload costs, what a rolling replacement
// loses, what the controller uses. It judges nothing; the wanted values stand
// beside the measured ones.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

func main() {
	var b bench
	flag.IntVar(&b.changes, "changes", 100, "endpoint changes to measure")
	flag.IntVar(&b.endpoints, "endpoints", 200, "endpoints of the cold start")
	flag.IntVar(&b.rate, "rate", 500, "requests a second during the rolling replacement")
	flag.DurationVar(&b.idle, "idle", 2*time.Minute, "how long to watch the idle controller")
	only := flag.Bool("scale", false, "measure the scale part only")
	proxy := flag.Bool("proxy", false, "measure HAProxy's part only: against a configuration written by hand, and reloads")
	flag.StringVar(&b.only, "only", "", "measure these parts of the fleet only: startup,idling,rolling,reloading,coldStart")
	flag.Func("containers", "of the scale part, once for each size: 100 an engine; default 1000, 10000, 50000", b.addSize)
	flag.IntVar(&b.starts, "starts", 3, "cold starts of the scale part at 10,000 containers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parts := []func(context.Context) error{b.fleet, b.rendering, b.proxying, b.scale}
	switch {
	case *only:
		parts = parts[3:]
	case *proxy:
		parts = parts[1:3]
	case b.only != "":
		parts = parts[:1]
	}
	if err := sequence(ctx, parts); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func sequence(ctx context.Context, parts []func(context.Context) error) error {
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// services is what is measured, with HAProxy's usual checks; others are added beside it.
func services() string {
	return strings.Replace(lab.TodoService, "interval: 500ms, rise: 1, fall: 2", "interval: 1s, rise: 2, fall: 3", 1)
}

// bench is one run: over one lab with real engines, then over simulated ones.
type bench struct {
	changes, endpoints, rate int
	idle                     time.Duration
	only                     string // parts of the fleet; "" = all
	sizes                    []int  // containers of the scale part
	starts                   int

	lab *lab.Lab
}

// fleet measures on a whole fleet.
func (b *bench) fleet(ctx context.Context) (err error) {
	b.lab, err = lab.New(ctx, lab.Options{Kind: "bench", Binary: os.Getenv("VIPILOT_BINARY")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"startup", b.startup}, {"idling", b.idling}, {"rolling", b.rolling}, {"reloading", b.reloading}, {"coldStart", b.coldStart}} {
		if b.only != "" && !slices.Contains(strings.Split(b.only, ","), part.name) {
			continue
		}
		if err := b.begin(ctx); err != nil {
			return err
		}
		if err := part.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// begin is a fresh fleet with a container on each host that answers.
func (b *bench) begin(ctx context.Context) error {
	if err := b.lab.Reset(ctx); err != nil {
		return err
	}
	if err := b.lab.Declare(services()); err != nil {
		return err
	}
	for i, app := range b.lab.Apps() {
		if _, err := app.Launch(ctx, todo(fmt.Sprintf("base-%d", i+1))); err != nil {
			return err
		}
	}
	if err := b.lab.StartVipilot(ctx); err != nil {
		return err
	}
	return b.answers(ctx, "80", "todo.example.net")
}

func todo(name string) lab.Container {
	return lab.Container{Name: name, Labels: map[string]string{"app": "todo"}, Publish: 8080, Env: []string{"GRACE=1s"}}
}

// answers waits until lb1 is where the router sends the VIP and a site answers.
func (b *bench) answers(ctx context.Context, port, site string) error {
	ask := b.asker(port, site, false)
	return lab.Poll(ctx, 20*time.Second, func(ctx context.Context) error {
		if err := b.lab.Router.Leads(ctx, "bgp", lab.VIP, b.lab.LB1); err != nil {
			return err
		}
		_, err := ask(ctx)
		return err
	})
}

// figure prints one line: what, measured, wanted.
func figure(what, measured, wanted string) {
	fmt.Printf("%-52s %-44s %s\n", what, measured, wanted)
}

// spread is the median, the 99th percentile and the worst of some durations.
func spread(all []time.Duration) string {
	slices.Sort(all)
	return fmt.Sprintf("p50 %6.1f ms   p99 %6.1f ms   n=%d", ms(lab.Percentile(all, 50)), ms(lab.Percentile(all, 99)), len(all))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
