package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vipilot/vipilot/status"
)

// TodoService is the usual service on the VIP public, served by containers
// labelled app=todo. Its site is [TodoSite].
const TodoService = `services:
  todo:
    vip: public
    http: {hosts: [todo.example.net], port: 80}
    backend:
      containers: {labels: {app: todo}}
      port: 8080
      check: {path: /healthz, interval: 500ms, rise: 1, fall: 2}
      drain: 5s
`

// TodoSite is the name under which clients ask for the usual service.
const TodoSite = "todo.example.net"

// A Check looks at a node's report and says what is not as wanted; nil is the
// good answer.
type Check func(status.Report) error

// Await reads the node's report until check is content, and returns the last one.
func (n *Node) Await(ctx context.Context, limit time.Duration, check Check) (seen status.Report, err error) {
	err = Poll(ctx, limit, func(ctx context.Context) error {
		report, err := n.Status(ctx)
		if err != nil {
			return err
		}
		seen = report
		return check(report)
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", n.Name, err)
	}
	return seen, err
}

// Applied checks that everything wanted is in force and HAProxy serves.
func Applied(r status.Report) error {
	if !r.Ready || r.Components.HAProxy.State != "running" {
		return fmt.Errorf("not ready: haproxy %+v, keepalived %+v, speaker %+v, frr %+v, error %q", r.Components.HAProxy,
			r.Components.Keepalived, r.Components.Speaker, r.Components.FRR, Text(r.Config.Error))
	}
	return nil
}

// HostIs checks the state of an application host; one that is unreachable says
// since when.
func HostIs(host, state string) Check {
	return func(r status.Report) error {
		if h := r.Hosts[host]; h.State != state || (state == "unreachable") != (h.StaleSince != nil) {
			return fmt.Errorf("host %s: %+v (error %s), want %s", host, h, Text(h.Error), state)
		}
		return nil
	}
}

// EndpointsReady checks that so many endpoints of the usual service are ready.
func EndpointsReady(want int) Check {
	return func(r status.Report) error {
		ready := 0
		for _, e := range r.Services["todo"].Endpoints {
			if e.State == "ready" {
				ready++
			}
		}
		if ready != want {
			return fmt.Errorf("%d endpoints are ready, want %d", ready, want)
		}
		return nil
	}
}

// HearsRouter checks that the router is the node's OSPF neighbor, in full and,
// where BFD guards it, with BFD up.
func HearsRouter(r status.Report) error {
	if r.Components.FRR != nil {
		for name, n := range r.Components.FRR.Neighbors {
			if n.State == "full" && strings.HasPrefix(name, RouterAddress) && (n.BFD == "" || n.BFD == "up") {
				return nil
			}
		}
	}
	return fmt.Errorf("the router is no full neighbor: frr %+v", r.Components.FRR)
}

// AnotherHAProxy checks that HAProxy runs as another process than old.
func AnotherHAProxy(old int) Check {
	return func(r status.Report) error {
		if p := r.Components.HAProxy; p.State != "running" || p.PID == old {
			return fmt.Errorf("haproxy %+v (%s)", p, Text(p.Error))
		}
		return nil
	}
}

// AnotherKeepalived checks that keepalived runs as another process than old.
func AnotherKeepalived(old int) Check {
	return func(r status.Report) error {
		if k := r.Components.Keepalived; k.State != "running" || k.PID == old {
			return fmt.Errorf("keepalived %+v (%s)", k, Text(k.Error))
		}
		return nil
	}
}

// AnotherSentinel checks that the sentinel runs as another process than old.
func AnotherSentinel(old int) Check {
	return func(r status.Report) error {
		if now := r.Components.Speaker.PID; now == 0 || now == old {
			return fmt.Errorf("sentinel %d", now)
		}
		return nil
	}
}

// Leads checks that the router's kernel has routes of a protocol for an IPv4
// address to exactly these nodes.
func (r *Router) Leads(ctx context.Context, protocol, address string, to ...*Node) error {
	out, err := r.Run(ctx, "ip", "-4", "-j", "route", "show", address, "proto", protocol)
	if err != nil {
		return err
	}
	routes, err := parseRoutes([]byte(cmp.Or(strings.TrimSpace(out), "[]")))
	if err != nil {
		return fmt.Errorf("read the router's routes: %w", err)
	}
	var hops, want []string
	for _, route := range routes {
		for _, hop := range route.NextHops {
			hops = append(hops, hop.String())
		}
	}
	for _, n := range to {
		want = append(want, n.Address)
	}
	slices.Sort(hops)
	slices.Sort(want)
	if !slices.Equal(hops, want) {
		return fmt.Errorf("the router sends %s to %v, want %v", address, hops, want)
	}
	return nil
}

// Ask asks for a site at an address, over a connection of its own, and says
// what came instead of a page.
func (h *Host) Ask(ctx context.Context, address, site string, timeout time.Duration) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	req.Host = site
	resp, err := h.HTTPClient(timeout, false).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// Explain tells what helps to find a fault: reports, logs and routes.
func (l *Lab) Explain(logf func(format string, args ...any)) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, n := range l.Nodes() {
		if report, err := n.Status(ctx); err == nil {
			data, _ := json.Marshal(report)
			logf("status of %s: %s", n.Name, data)
		}
		logf("logs of %s:\n%s", n.Name, n.Logs(40))
	}
	routes, err := l.Router.Run(ctx, "ip", "route")
	logf("router: %s", cmp.Or(routes, fmt.Sprint(err)))
}

// Text is what a report's optional text says, "" for none.
func Text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
