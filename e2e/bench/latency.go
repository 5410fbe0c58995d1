package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"

	"github.com/vipilot/vipilot/e2e/lab"
	"github.com/vipilot/vipilot/status"
)

// checks is how many of HAProxy's own first checks are waited for.
const checks = 20

// startup measures docker start returned → first answer of the new container,
// and how the time divides.
func (b *bench) startup(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := watch(ctx, b.lab)
	before, err := b.lab.LB1.Status(ctx)
	if err != nil {
		return err
	}
	steps, err := scrape(ctx, b.lab.LB1)
	if err != nil {
		return err
	}
	var total, engine, known, ready, checked []time.Duration
	for i := range b.changes / 2 {
		app := b.lab.Apps()[i%2]
		name := fmt.Sprintf("new-%d", i)
		started, answered, err := b.once(ctx, app, name)
		if err != nil {
			return err
		}
		total = append(total, answered.Sub(started))
		seen.mu.Lock()
		engine = seen.since(engine, "engine "+name, started)
		known = seen.since(known, "known "+app.Name+"/"+name, started)
		ready = seen.since(ready, "ready "+app.Name+"/"+name, started)
		seen.mu.Unlock()
		if i < checks {
			at, err := firstCheck(ctx, b.lab.LB1, name)
			if err != nil {
				return err
			}
			checked = append(checked, at.Sub(started))
		}
		if err := app.Docker.ContainerRemove(ctx, name, container.RemoveOptions{Force: true}); err != nil {
			return err
		}
	}
	after, err := b.lab.LB1.Status(ctx)
	if err != nil {
		return err
	}
	stepsAfter, err := scrape(ctx, b.lab.LB1)
	if err != nil {
		return err
	}
	figure("docker start returned → first answer of it", spread(total), "p50 ≤ 15, p99 ≤ 50")
	figure("  … → the engine's start event reaches a subscriber", spread(engine), "")
	figure("  … → vipilot names the endpoint (event, inspect)", spread(known), "")
	figure("  … → vipilot calls it ready (probe, runtime update)", spread(ready), "")
	figure("  … → HAProxy's own first check of it has passed", spread(checked), "")
	figure("  of that: inspection of the container", step("inspect", steps, stepsAfter), "")
	figure("  of that: until it answers vipilot's dial", step("answer", steps, stepsAfter), "")
	figure("  of that: runtime update of HAProxy", step("update", steps, stepsAfter), "")
	figure(fmt.Sprintf("reloads for %d endpoint changes", b.changes),
		fmt.Sprint(after.Components.HAProxy.Reloads-before.Components.HAProxy.Reloads), "0")
	return nil
}

// once starts one container and asks until it answers.
func (b *bench) once(ctx context.Context, app *lab.App, name string) (started, answered time.Time, err error) {
	id, err := app.Create(ctx, todo(name))
	if err != nil {
		return started, answered, err
	}
	ask := b.asker("80", "todo.example.net", true)
	if _, err := ask(ctx); err != nil { // the connection is there before the clock runs
		return started, answered, err
	}
	if err := app.Start(ctx, id); err != nil {
		return started, answered, err
	}
	started = time.Now()
	for limit := started.Add(10 * time.Second); time.Now().Before(limit); {
		by, err := ask(ctx)
		if err != nil {
			return started, answered, err
		}
		if by == id[:12] {
			return started, time.Now(), nil
		}
	}
	return started, answered, fmt.Errorf("%s did not answer within 10s", name)
}

// asker returns a function that asks a site once and says who answered.
func (b *bench) asker(port, site string, keepAlive bool) func(context.Context) (string, error) {
	client := b.lab.Client.HTTPClient(2*time.Second, keepAlive)
	return func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lab.VIP+":"+port+"/healthz", nil)
		if err != nil {
			return "", err
		}
		req.Host = site
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return "", errors.New(resp.Status)
		}
		return resp.Header.Get("X-Container"), nil
	}
}

// reloading measures what a new service takes, from the file's appearance to
// the first answer: one reload.
func (b *bench) reloading(ctx context.Context) error {
	var took []time.Duration
	before, err := b.lab.LB1.Status(ctx)
	if err != nil {
		return err
	}
	const rounds = 15
	for i := range rounds {
		select {
		case <-time.After(1500 * time.Millisecond): // reloads are at most one a second
		case <-ctx.Done():
			return ctx.Err()
		}
		site := fmt.Sprintf("site-%d.example.net", i)
		yaml := strings.NewReplacer("todo:", fmt.Sprintf("site-%d:", i), "todo.example.net", site).Replace(services())
		began := time.Now()
		if err := b.lab.UpdateConfig(map[string]string{fmt.Sprintf("site-%d.yaml", i): yaml}); err != nil {
			return err
		}
		ask := b.asker("80", site, false) // a kept connection would stay with the old worker
		for _, err := ask(ctx); err != nil; _, err = ask(ctx) {
			pause(ctx, 2*time.Millisecond) // leave the processor to those who are measured
			if ctx.Err() != nil || time.Since(began) > 10*time.Second {
				return fmt.Errorf("new service: %w", err)
			}
		}
		took = append(took, time.Since(began))
	}
	after, err := b.lab.LB1.Status(ctx)
	if err != nil {
		return err
	}
	figure("new service written → first answer", spread(took), "p50 ≤ 100")
	figure("  reloads each", fmt.Sprintf("%.1f", float64(after.Components.HAProxy.Reloads-before.Components.HAProxy.Reloads)/rounds), "≤ 1")
	return nil
}

// marks are the moments at which things were first seen.
type marks struct {
	mu    sync.Mutex
	first map[string]time.Time
}

// since appends the time from a start to a mark, where it was seen.
func (m *marks) since(to []time.Duration, mark string, start time.Time) []time.Duration {
	at, seen := m.first[mark]
	if !seen {
		return to
	}
	return append(to, at.Sub(start))
}

func (m *marks) set(mark string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, seen := m.first[mark]; !seen {
		m.first[mark] = at
	}
}

// watch notes when engines and lb1 say something about a container.
func watch(ctx context.Context, l *lab.Lab) *marks {
	m := &marks{first: make(map[string]time.Time)}
	for _, app := range l.Apps() {
		messages, _ := app.Docker.Events(ctx, events.ListOptions{Filters: filters.NewArgs(filters.Arg("event", "start"))})
		go func() {
			for {
				select {
				case message := <-messages:
					m.set("engine "+message.Actor.Attributes["name"], time.Now())
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	go func() {
		_ = l.LB1.Events(ctx, func(e status.Event) {
			words := strings.Fields(e.Subject) // todo app1/new-1
			if e.Kind != "endpoint" || len(words) == 0 {
				return
			}
			name := words[len(words)-1]
			m.set("known "+name, e.Time)
			if e.To == "ready" {
				m.set("ready "+name, e.Time)
			}
		})
	}()
	return m
}
