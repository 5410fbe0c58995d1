package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

const (
	target = 10_000           // containers for which values are wanted
	relist = 30 * time.Second // how often vipilot compares everything with the engines
	rounds = 50               // single events measured
)

func (b *bench) addSize(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < perEngine || n%perEngine != 0 || n > 200*200*perEngine {
		return fmt.Errorf("%q is not a multiple of %d", text, perEngine)
	}
	b.sizes = append(b.sizes, n)
	return nil
}

// scale measures one node with many engines. They are simulated and run in
// this process, so they take their part of the processors while they answer;
// vipilot, its sentinel and HAProxy are the real ones.
func (b *bench) scale(ctx context.Context) (err error) {
	l, err := lab.NewAlone(ctx, lab.Options{Kind: "bench-scale", Binary: os.Getenv("VIPILOT_BINARY")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	sizes := b.sizes
	if len(sizes) == 0 {
		sizes = []int{1_000, target, 50_000}
	}
	for _, size := range sizes {
		if err := b.scaleTo(ctx, l, size); err != nil {
			return fmt.Errorf("%d containers: %w", size, err)
		}
	}
	return nil
}

// scaleTo measures with one number of containers.
func (b *bench) scaleTo(ctx context.Context, l *lab.Lab, size int) error {
	s := newCrowd(l, size)
	defer s.close()
	starts := 1
	if size == target {
		starts = b.starts
	}
	var known, used, ready []time.Duration
	for range starts {
		if err := s.boot(ctx); err != nil {
			return err
		}
		k, u, r, err := s.coldStart(ctx)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, l.LB1.Logs(15))
		}
		known, used, ready = append(known, k), append(used, u), append(ready, r)
	}
	fmt.Printf("%d containers on %d simulated engines, %d services\n", size, len(s.engines), size/perService)
	s.figure("  binary started → every endpoint known", spread(known), "≤ 3000")
	s.figure("  … CPU of the controller until then", spread(used), "")
	s.figure("  … → every endpoint has answered, in HAProxy", spread(ready), "")
	for _, part := range []func(context.Context) error{s.events, s.relists} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// figure names the wanted value only where it was promised.
func (s *crowd) figure(what, measured, wanted string) {
	if s.size != target {
		wanted = ""
	}
	figure(what, measured, wanted)
}

// coldStart starts vipilot on an empty disk and watches its status until every
// endpoint is known, which used so much of the processors, and until all have
// answered.
func (s *crowd) coldStart(ctx context.Context) (known, used, ready time.Duration, err error) {
	_, before := s.served()
	began := time.Now()
	if err := s.lab.LB1.StartVipilot(ctx); err != nil {
		return 0, 0, 0, err
	}
	for time.Since(began) < 3*time.Minute {
		if _, inspected := s.served(); inspected-before < s.size && ctx.Err() == nil {
			pause(ctx, 5*time.Millisecond) // nobody can know what no engine has told: to look would only take the processors' time
			continue
		}
		report, err := s.lab.LB1.Status(ctx)
		seen := time.Since(began)
		if err != nil && ctx.Err() != nil {
			return 0, 0, 0, err
		}
		all, answered := count(report)
		if all == s.size && known == 0 {
			known = seen
			if used, err = cpu(s.pid()); err != nil {
				return 0, 0, 0, err
			}
		}
		if answered == s.size && report.Ready {
			return known, used, seen, nil
		}
		pause(ctx, 50*time.Millisecond) // each look costs the controller some megabytes of JSON
	}
	report, err := s.lab.LB1.Status(ctx)
	all, answered := count(report)
	return 0, 0, 0, fmt.Errorf("cold start: %d endpoints known, %d ready, HAProxy %+v, err %v", all, answered, report.Components.HAProxy, err)
}

func count(report status.Report) (all, ready int) {
	for _, service := range report.Services {
		all += len(service.Endpoints)
		for _, e := range service.Endpoints {
			if e.State == "ready" {
				ready++
			}
		}
	}
	return all, ready
}

// events measures single changes: from the moment before an engine writes an
// event to the moment vipilot reports what it did about it.
func (s *crowd) events(ctx context.Context) error {
	if err := s.calm(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reported := make(chan status.Event, 64)
	go func() {
		_ = s.lab.LB1.Events(ctx, func(e status.Event) {
			if e.Kind == "endpoint" && strings.Contains(e.Subject, "/extra-") {
				reported <- e
			}
		})
	}()
	before, err := s.metrics(ctx)
	if err != nil {
		return err
	}
	busy, err := cpu(s.pid())
	if err != nil {
		return err
	}
	var known, ready, drained, gone []time.Duration
	for i := range rounds {
		engine, c := s.engines[i%len(s.engines)], s.extra(i)
		steps := []struct {
			do    func() time.Time
			state string
			to    *[]time.Duration
		}{
			{func() time.Time { return engine.Run(c) }, "starting", &known},
			{nil, "ready", &ready},
			{func() time.Time { return engine.Signal(c.Name) }, "drain", &drained},
			{func() time.Time { return engine.Stop(c.Name) }, "removed", &gone},
		}
		var at time.Time
		for _, step := range steps {
			if step.do != nil {
				pause(ctx, 10*time.Millisecond) // single changes, not a burst
				at = step.do()
			}
			seen, err := await(ctx, reported, c.Name, step.state)
			if err != nil {
				return err
			}
			*step.to = append(*step.to, seen.Sub(at))
		}
	}
	after, err := s.metrics(ctx)
	if err != nil {
		return err
	}
	used, err := cpu(s.pid())
	if err != nil {
		return err
	}
	s.figure("  kill event → drained in HAProxy, reported", spread(drained), "p50 ≤ 5")
	s.figure("  die event → out of HAProxy, reported", spread(gone), "p50 ≤ 5")
	s.figure("  start event → endpoint known (one inspection)", spread(known), "p50 ≤ 5")
	s.figure("  … → it answered a dial, in HAProxy, reported", spread(ready), "")
	s.figure("  one change at HAProxy's runtime socket", step("update", before.all, after.all), "≤ 5 ms")
	const changes = rounds * 4
	s.figure("  CPU and allocation of one change", fmt.Sprintf("%.2f ms, %.2f MB", ms((used-busy)/changes), (after.allocated-before.allocated)/changes), "≤ 5 ms")
	return nil
}

// await is the moment at which a container was first reported in a state.
func await(ctx context.Context, reported <-chan status.Event, name, state string) (time.Time, error) {
	limit := time.After(10 * time.Second)
	for {
		select {
		case e := <-reported:
			if strings.HasSuffix(e.Subject, "/"+name) && e.To == state {
				return e.Time, nil
			}
		case <-limit:
			return time.Time{}, fmt.Errorf("%s was not reported as %q within 10s", name, state)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}

// relists measures one period in which every engine is listed once and nothing
// has changed.
func (s *crowd) relists(ctx context.Context) error {
	if err := s.calm(ctx); err != nil {
		return err
	}
	before, err := s.metrics(ctx)
	if err != nil {
		return err
	}
	busy, err := cpu(s.pid())
	if err != nil {
		return err
	}
	lists, inspections := s.served()
	pause(ctx, relist)
	after, err := s.metrics(ctx)
	if err != nil {
		return err
	}
	used, err := cpu(s.pid())
	if err != nil {
		return err
	}
	moreLists, moreInspections := s.served()
	s.figure("  resident; heap in use", fmt.Sprintf("%.0f MB; %.0f MB", resident(s.pid()), after.heap), "< 150 MB")
	s.figure("  most ever resident", fmt.Sprintf("%.0f MB", peak(s.pid())), "")
	s.figure(fmt.Sprintf("  %d re-lists in %v: inspections caused", moreLists-lists, relist), fmt.Sprint(moreInspections-inspections), "0")
	s.figure("  … allocated; CPU", fmt.Sprintf("%.1f MB; %.0f ms", after.allocated-before.allocated, ms(used-busy)), "")
	return ctx.Err()
}
