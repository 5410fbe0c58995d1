package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/vipilot/vipilot/e2e/lab"
)

const (
	reloadRounds = 8
	reloadRate   = 500 // requests a second, with kept connections, and as many without
)

// reload measures reloads of the node's HAProxy with many backends, under load.
func (p proxies) reload(ctx context.Context) error {
	site := middle(manyServices)
	load := func(keepAlive bool) *lab.Running {
		return lab.Load{From: p.node.Host, URL: "http://" + lab.VIP + "/", Name: site, Method: http.MethodPost, Rate: reloadRate, KeepAlive: keepAlive}.Start(ctx)
	}
	kept, closing := load(true), load(false)
	var took, workers []time.Duration
	var old, young []float64
	for i := range reloadRounds {
		pause(ctx, 1500*time.Millisecond)
		idle, err := p.idleClient(ctx, site)
		if err != nil {
			return err
		}
		wall, own, err := p.addService(ctx, i)
		if err != nil {
			idle.close()
			return err
		}
		took, workers = append(took, wall), append(workers, own)
		memory, err := p.workerMemory(ctx)
		idle.close()
		if err != nil {
			return err
		}
		if len(memory) < 2 {
			return fmt.Errorf("no old worker beside the new one: %v", memory)
		}
		young, old = append(young, memory[len(memory)-1]), append(old, memory[len(memory)-2])
	}
	pause(ctx, time.Second)
	a, b := kept.Stop(), closing.Stop()
	what := fmt.Sprintf("reload with %d backends", manyServices)
	figure(what+": file written → in force", spread(took), "")
	figure("  of that: check, reload, new worker", spread(workers), "")
	figure("  resident: old worker, new worker", fmt.Sprintf("%.0f MB, %.0f MB", median(old), median(young)), "")
	figure(fmt.Sprintf("  lost of %d requests in %d reloads", a.OK+a.Failed+b.OK+b.Failed, reloadRounds),
		fmt.Sprintf("%d %v %v", a.Failed+b.Failed, a.Errors, b.Errors), "0")
	return ctx.Err()
}

// addService writes one more service and waits until it is in force.
func (p proxies) addService(ctx context.Context, i int) (wall, reload time.Duration, err error) {
	before, err := scrape(ctx, p.node)
	if err != nil {
		return 0, 0, err
	}
	was, err := p.node.Status(ctx)
	if err != nil {
		return 0, 0, err
	}
	yaml := fmt.Sprintf("services:\n  extra-%d:\n    vip: public\n    http: {hosts: [extra-%d.example.net], port: 80}\n    backend: {servers: [\"10.77.0.11:%d\"]}\n", i, i, firstServer)
	began := time.Now()
	if err := p.lab.UpdateConfig(map[string]string{fmt.Sprintf("extra-%d.yaml", i): yaml}); err != nil {
		return 0, 0, err
	}
	err = lab.Poll(ctx, 10*time.Second, func(ctx context.Context) error {
		after, err := scrape(ctx, p.node)
		if err == nil && after["vipilot_haproxy_reloads_total"] == float64(was.Components.HAProxy.Reloads) {
			err = errors.New("not reloaded yet")
		}
		if err != nil {
			return err
		}
		const sum = `vipilot_step_seconds_sum{step="reload"}`
		reload = time.Duration((after[sum] - before[sum]) * float64(time.Second))
		return nil
	})
	return time.Since(began), reload, err
}

// client is one that asked once and stays connected: it keeps the worker it
// reached alive when HAProxy is reloaded.
type client struct{ close func() }

func (p proxies) idleClient(ctx context.Context, site string) (client, error) {
	conn, err := p.node.Dial(ctx, "tcp", lab.VIP+":80")
	if err != nil {
		return client{}, err
	}
	c := client{close: func() { _ = conn.Close() }}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", site); err != nil {
		c.close()
		return c, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		c.close()
		return c, err
	}
	return c, response.Body.Close()
}

// workerMemory is the resident memory of HAProxy's workers in megabytes, the
// newest last.
func (p proxies) workerMemory(ctx context.Context) ([]float64, error) {
	report, err := p.node.Status(ctx)
	if err != nil {
		return nil, err
	}
	out, err := p.node.Run(ctx, "sh", "-c", fmt.Sprintf(`for p in $(pgrep -P %d | sort -n); do sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$p/status; done`, report.Components.HAProxy.PID))
	if err != nil {
		return nil, err
	}
	var all []float64
	for _, text := range strings.Fields(out) {
		kb, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("memory of HAProxy's workers: %w", err)
		}
		all = append(all, kb/1024)
	}
	return all, nil
}
