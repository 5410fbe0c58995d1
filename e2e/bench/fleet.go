package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vipilot/vipilot/e2e/lab"
)

// idling measures what the controller uses when nothing happens: from when its
// start is over, with what that took of the memory given back, for as long as
// Go goes at the most without collecting garbage.
func (b *bench) idling(ctx context.Context) error {
	pause(ctx, 15*time.Second)
	pid := b.lab.LB1.Controller().PID()
	before, err := cpu(pid)
	if err != nil {
		return err
	}
	pause(ctx, b.idle)
	after, err := cpu(pid)
	if err != nil {
		return err
	}
	perMinute := time.Duration(float64(after-before) * float64(time.Minute) / float64(b.idle))
	figure("controller, idle: CPU a minute", fmt.Sprintf("%.1f ms", ms(perMinute)), "≤ 20 ms")
	figure("controller, idle: resident", fmt.Sprintf("%.1f MB", resident(pid)), "≤ 40 MB")
	return ctx.Err()
}

// cpu is the time a process has used, by the scheduler's own clock.
func cpu(pid int) (total time.Duration, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	for _, name := range threads {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has just ended
		}
		var ns int64
		if _, err := fmt.Sscan(string(data), &ns); err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		total += time.Duration(ns)
	}
	return total, nil
}

// resident is a process's resident memory in megabytes.
func resident(pid int) float64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := bytes.Cut(data, []byte("VmRSS:"))
	var kb float64
	_, _ = fmt.Sscan(string(rest), &kb)
	return kb / 1024
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// rolling replaces four containers under load, with kept connections and without.
func (b *bench) rolling(ctx context.Context) error {
	apps := b.lab.Apps()
	for i, app := range apps {
		if _, err := app.Launch(ctx, todo(fmt.Sprintf("base-%d", i+3))); err != nil {
			return err
		}
	}
	generation := "base"
	for _, keepAlive := range []bool{true, false} {
		load := lab.Load{From: b.lab.Client, URL: "http://" + lab.VIP + "/", Name: "todo.example.net", Method: http.MethodPost,
			Rate: b.rate, KeepAlive: keepAlive, Timeout: 3 * time.Second}.Start(ctx)
		next := fmt.Sprintf("keep-%v", keepAlive)
		for i := range 4 {
			app := apps[i%2]
			if _, err := app.Launch(ctx, todo(fmt.Sprintf("%s-%d", next, i+1))); err != nil {
				return err
			}
			if err := app.Stop(ctx, fmt.Sprintf("%s-%d", generation, i+1)); err != nil {
				return err
			}
		}
		generation = next
		pause(ctx, time.Second)
		seen := load.Stop()
		figure(fmt.Sprintf("replace 4 under %d/s, keep-alive %v", b.rate, keepAlive),
			fmt.Sprintf("%d of %d failed %v", seen.Failed, seen.OK+seen.Failed, seen.Errors), "0")
	}
	return ctx.Err()
}

// coldStart measures a node's first start with many endpoints.
func (b *bench) coldStart(ctx context.Context) error {
	for _, n := range b.lab.Nodes() {
		if err := n.StopController(); err != nil {
			return err
		}
	}
	if err := b.populate(ctx); err != nil {
		return err
	}
	n := b.lab.LB1
	if err := n.Forget(); err != nil {
		return err
	}
	began := time.Now()
	if err := n.StartVipilot(ctx); err != nil {
		return err
	}
	_, err := n.Await(ctx, 30*time.Second, lab.EndpointsReady(b.endpoints))
	if err != nil {
		return fmt.Errorf("cold start: %w", err)
	}
	figure(fmt.Sprintf("binary started → %d endpoints ready", b.endpoints), fmt.Sprintf("%.0f ms", ms(time.Since(began))), "≤ 500 ms")
	if err := b.answers(ctx, "80", "todo.example.net"); err != nil {
		return err
	}
	figure("  … → first answer (VRRP election, BGP)", fmt.Sprintf("%.0f ms", ms(time.Since(began))), "")
	figure("  controller's resident memory", fmt.Sprintf("%.1f MB", resident(n.Controller().PID())), "")
	return nil
}

// populate starts containers until there are as many as wanted.
func (b *bench) populate(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range b.endpoints - 2 {
		app := b.lab.Apps()[i%2]
		group.Go(func() error {
			_, err := app.Launch(ctx, todo(fmt.Sprintf("many-%d", i)))
			return err
		})
	}
	return group.Wait()
}
