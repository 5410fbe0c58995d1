// Command demo shows vipilot at work on one machine: it builds the lab, deploys
// a to-do service, scales it, kills the master, and leaves the fleet running
// until Ctrl-C. With DEMO_ONCE=1 it ends when the story is told; with -down it
// ends a demo that runs and removes what it left; with -prepare it only compiles.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/vipilot/vipilot/e2e/lab"
)

func main() {
	down := flag.Bool("down", false, "end a running demo and remove what it left")
	once := flag.Bool("once", os.Getenv("DEMO_ONCE") == "1", "end when the story is told")
	prepare := flag.Bool("prepare", false, "only compile what a lab runs, which takes minutes the first time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	act := func() error { return demo(ctx, *once) }
	switch {
	case *down:
		act = func() error { return end(ctx) }
	case *prepare:
		act = func() error { return lab.Prepare(ctx) }
	}
	err := act()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// end stops demos that run.
func end(ctx context.Context) error {
	n, err := lab.StopAll(ctx, "demo")
	if err == nil {
		fmt.Printf("demo: ended %d, nothing is left\n", n)
	}
	return err
}

// demo builds the fleet, tells the story and cleans up.
func demo(ctx context.Context, once bool) (err error) {
	s := &story{out: os.Stdout, colour: onTerminal(os.Stdout), names: make(map[string]string)}
	s.title("vipilot: two balancers, two Docker hosts and a router on this machine")
	s.begin()
	l, err := lab.New(ctx, lab.Options{Kind: "demo", Binary: os.Getenv("VIPILOT_BINARY"), BGPPassword: "demo"})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() {
		s.begin()
		if closed := errors.Join(l.Close(), l.Leaks()); closed != nil {
			err = errors.Join(err, closed)
			return
		}
		s.step("clean", "every process, namespace and file of the demo is gone")
	}()
	s.lab, s.ctx = l, ctx
	s.step("fleet", "client, router (FRR), lb1 and lb2, app1 and app2 with a Docker engine each")
	if err := s.tell(); ctx.Err() != nil {
		return nil // Ctrl-C
	} else if err != nil {
		for _, n := range l.Nodes() {
			fmt.Fprint(os.Stderr, n.Logs(10))
		}
		return err
	}
	if once {
		return nil
	}
	s.line("", "Ctrl-C ends the demo; so does `make demo-down`.")
	<-ctx.Done()
	return nil
}
